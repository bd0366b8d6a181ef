//! What both peers work on: the same root file systems, and configs that say the same.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sampan_tests::{
    CachingMirror,
    measure::{seconds, target},
};

/// How many containers run at once.
pub const MANY: usize = 100;

pub const SUITE: &str = "trixie";

/// LXC refuses no system call unless it is told to; Sampan does so always.
const SECCOMP: &str = "lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp\n";

/// Everything is below one scratch directory, and stays until the end: whoever runs while a
/// removed tree is discarded from the disk would pay for it.
pub struct World {
    mirror: CachingMirror,
    scratch: tempfile::TempDir,
    sampan: PathBuf,
}

impl World {
    /// A busybox guest and a trixie one, known to both; nothing runs.
    pub fn new() -> Self {
        let world = Self {
            mirror: CachingMirror::start(),
            scratch: tempfile::Builder::new()
                .prefix("sampan-bench-")
                .tempdir_in("/var/tmp")
                .expect("a scratch directory"),
            sampan: target().join("release/sampan"),
        };
        fs::create_dir(world.lxc_path()).expect("a directory for LXC's containers");
        let mirror = format!("mirror={}", world.mirror.debian());
        // What connects containers is measured by itself: bench network.
        fs::create_dir_all(world.root().join("etc")).expect("a directory for settings");
        fs::write(world.root().join("etc/sampan.conf"), "network = none\n").expect("settings");
        seconds(world.sampan(&["create", "small0", "-t", "busybox", "-o", &mirror]));
        seconds(world.create_debian("debian", &[]));
        let config = world.config("small0");
        for number in 1..MANY {
            let directory = world.state().join(small(number));
            fs::create_dir(&directory).expect("a directory for a container");
            let config = sibling(&config, number);
            fs::write(directory.join("config"), config).expect("its config");
        }
        for name in (0..MANY).map(small).chain(["debian".to_owned()]) {
            let directory = world.lxc_path().join(&name);
            fs::create_dir(&directory).expect("a directory for a container");
            let config = world.config(&name) + SECCOMP;
            fs::write(directory.join("config"), config).expect("its config");
        }
        world
    }

    /// `sampan` with these arguments.
    pub fn sampan(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.sampan);
        command.arg("--root").arg(self.root()).args(arguments);
        command
    }

    /// A program of LXC for the container `name`; what comes after `--` goes last.
    pub fn lxc(&self, program: &str, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-P").arg(self.lxc_path());
        command.args(["-n", name]).args(arguments);
        command
    }

    /// `lxc-start`, kept from newuidmap, which would look for the ids in the host's /etc/subuid:
    /// without it, it writes the maps itself, in less time.
    pub fn lxc_start(&self, name: &str) -> Command {
        let mut command = self.lxc("/usr/bin/lxc-start", name, &[]);
        command.env("PATH", "/usr/sbin:/sbin");
        command
    }

    /// All containers of LXC as a table.
    pub fn lxc_ls(&self) -> Command {
        let mut command = Command::new("lxc-ls");
        command.arg("-P").arg(self.lxc_path()).arg("-f");
        command
    }

    /// `sampan create` of trixie.
    pub fn create_debian(&self, name: &str, more: &[&str]) -> Command {
        let mut command = self.sampan(&["create", name, "-t", "debian"]);
        command
            .args(["-o", &format!("suite={SUITE}")])
            .args(["-o", &format!("mirror={}", self.mirror.debian())])
            .args(more);
        command
    }

    /// `lxc-create` of trixie. Its cache outlives the bench: filling it takes a minute.
    pub fn lxc_create_debian(&self, name: &str) -> Command {
        let debian = self.mirror.debian();
        let mut command = self.lxc("lxc-create", name, &["-t", "debian"]);
        command
            .args(["--", "-r", SUITE])
            .env("LXC_CACHE_PATH", target().join("bench/lxc-cache"))
            .env("MIRROR", &debian)
            .env("SECURITY_MIRROR", format!("{debian}-security"));
        command
    }

    /// `tar -x` of the image that `sampan create` unpacks.
    pub fn untar(&self, name: &str) -> Command {
        let images = self.root().join("var/cache/sampan/images/v1/debian");
        let image = fs::read_dir(&images)
            .expect("the images")
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.to_string_lossy().ends_with(".tar.zst"))
            .expect("an image of trixie");
        let into = self.scratch.path().join(name);
        fs::create_dir(&into).expect("a directory to unpack in");
        let mut command = Command::new("tar");
        // As for Sampan: owners as in the archive, and extended attributes.
        command.args(["-I", "zstd", "--xattrs", "--xattrs-include=*"]);
        command.args(["--numeric-owner", "-p", "-x", "-f"]);
        command.arg(image).arg("-C").arg(into);
        command
    }

    /// Whether this build of Sampan has storage backends.
    pub fn has_overlay(&self) -> bool {
        let help = self.sampan(&["create", "--help"]).output();
        let help = help.expect("sampan").stdout;
        String::from_utf8_lossy(&help).contains("--storage")
    }

    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    pub fn lxc_path(&self) -> PathBuf {
        self.scratch.path().join("lxc")
    }

    fn state(&self) -> PathBuf {
        self.root().join("var/lib/sampan")
    }

    fn config(&self, name: &str) -> String {
        fs::read_to_string(self.state().join(name).join("config")).expect("a config")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Also after a panic: what runs would outlive its files.
        for name in (0..MANY).map(small).chain(["debian".to_owned()]) {
            for mut command in [
                self.sampan(&["stop", "--kill", &name]),
                self.lxc("lxc-stop", &name, &["-k"]),
            ] {
                let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        }
    }
}

/// The name of one of the many small containers.
pub fn small(number: usize) -> String {
    format!("small{number}")
}

/// The config of the first small container as that of another: other name, other ids, same tree.
fn sibling(config: &str, number: usize) -> String {
    let lines = config.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["lxc.idmap", "=", kind, "0", start, count] => {
                let (start, count): (u64, u64) = (
                    start.parse().expect("an id"),
                    count.parse().expect("a number of ids"),
                );
                // Downwards, as the first one's may be the last range there is.
                let start = start.checked_sub(number as u64 * count);
                let start = start.filter(|start| *start > 1 << 20);
                let start = start.unwrap_or(number as u64 * count + (1 << 27));
                format!("lxc.idmap = {kind} 0 {start} {count}")
            }
            ["lxc.uts.name", ..] => format!("lxc.uts.name = {}", small(number)),
            _ => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// Whether a path is a command's argument: which of all monitors are whose.
pub fn is_of(command: &str, path: &Path) -> bool {
    command.contains(&path.display().to_string())
}
