//! One test's world.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    machine,
    process::{Background, Ran, wait_until},
    sweep,
    world::World,
};

/// A directory for `--root`, and the binary. Dropped, it destroys what the test made, also when
/// the test panics, and checks that nothing is left. If the test is killed, the next run of tests
/// does it.
pub struct TestEnvironment {
    /// The last to be dropped.
    world: Option<World>,
    root: PathBuf,
    /// A file system of the test's own, which holds the root.
    disk: Option<PathBuf>,
}

impl TestEnvironment {
    /// A fresh world.
    #[track_caller]
    pub fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the end-to-end tests make real containers: run them as root"
        );
        assert!(
            Self::binary().exists() && fixtures().exists(),
            "{} or {} is missing: run `cargo xtask test`",
            Self::binary().display(),
            fixtures().display()
        );
        sweep::sweep_once();
        let world = World::new();
        let root = world.path().join("root");
        std::fs::create_dir(&root).expect("a directory in it");
        without_network(&root);
        Self {
            world: Some(world),
            root,
            disk: None,
        }
    }

    /// That of a test which was killed.
    pub(crate) fn adopt(world: World) -> Self {
        let disk = world.path().join("disk");
        let (root, disk) = match disk.join("root").exists() {
            true => (disk.join("root"), Some(disk)),
            false => (world.path().join("root"), None),
        };
        Self {
            world: Some(world),
            root,
            disk,
        }
    }

    /// A fresh world on a file system of its own, made by `mkfs.KIND` in a file of this size.
    #[track_caller]
    pub fn on_disk(kind: &str, bytes: u64) -> Self {
        let mut env = Self::new();
        let (image, disk) = (env.scratch().join("disk.img"), env.scratch().join("disk"));
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(bytes))
            .and_then(|()| std::fs::create_dir(&disk))
            .expect("a file for the disk");
        let run = |command: &mut Command| {
            let output = command.output().expect("a program of util-linux or mkfs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {said}");
        };
        run(Command::new(format!("/usr/sbin/mkfs.{kind}"))
            .arg("-q")
            .arg(&image));
        run(Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &disk]));
        env.root = disk.join("root");
        env.disk = Some(disk);
        std::fs::create_dir(&env.root).expect("a directory in it");
        without_network(&env.root);
        env
    }

    /// Leaves what there is to the caller.
    pub(crate) fn give_up(mut self) -> Option<World> {
        self.world.take()
    }

    /// The binary under test.
    pub fn binary() -> PathBuf {
        target().join("debug/sampan")
    }

    /// The directory given as `--root`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory of the test's own, outside of the root.
    pub fn scratch(&self) -> &Path {
        self.world.as_ref().map_or(&self.root, |world| world.path())
    }

    /// The cache below the root.
    pub fn cache(&self) -> PathBuf {
        self.root.join("var/cache/sampan")
    }

    /// The state directory below the root.
    pub fn state(&self) -> PathBuf {
        self.root.join("var/lib/sampan")
    }

    /// `sampan` with `--root` and these arguments, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&Self::binary(), arguments)
    }

    /// The same with another binary.
    pub fn command_of(&self, binary: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command
            .arg("--root")
            .arg(&self.root)
            .args(arguments)
            .env("SAMPAN_TEMPLATE_PATH", fixtures())
            .env_remove("SAMPAN_PATH")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs `sampan` to its end.
    #[track_caller]
    pub fn sampan(&self, arguments: &[&str]) -> Ran {
        self.sampan_with(arguments, b"")
    }

    /// Runs `sampan` with this standard input.
    #[track_caller]
    pub fn sampan_with(&self, arguments: &[&str], input: &[u8]) -> Ran {
        Background::start(self.command(arguments), input).wait()
    }

    /// Starts `sampan` and goes on.
    #[track_caller]
    pub fn background(&self, arguments: &[&str]) -> Background {
        Background::start(self.command(arguments), b"")
    }

    /// Shares the downloads with all other tests of this run, so that the mirror is asked once.
    pub fn share_downloads(&self) {
        let shared = target().join("e2e-downloads");
        std::fs::create_dir_all(&shared).expect("a directory for downloads");
        std::fs::create_dir_all(self.cache().join("downloads")).expect("a cache");
        std::os::unix::fs::symlink(shared, self.cache().join("downloads/v1")).expect("a link");
    }

    /// A running busybox guest of the host's own static busybox, made without any download.
    #[track_caller]
    pub fn small_guest(&self, name: &str) {
        self.create_small_guest(name, &["--start"]);
    }

    /// The same, not started, with further arguments.
    #[track_caller]
    pub fn create_small_guest(&self, name: &str, more: &[&str]) {
        let program = "program=/bin/busybox";
        let mut arguments = vec!["-q", "create", name, "-t", "naughty", "-o", program];
        arguments.extend(more);
        self.sampan(&arguments).ok();
    }

    /// The state that `ls` tells of a container.
    #[track_caller]
    pub fn state_of(&self, name: &str) -> String {
        let rows = self.sampan(&["ls", "--format", "json"]).ok().json();
        rows.as_array()
            .and_then(|rows| rows.iter().find(|row| row["name"] == name))
            .map_or("absent".to_owned(), |row| {
                row["state"].as_str().unwrap_or_default().to_owned()
            })
    }

    /// Error output without what differs from run to run.
    pub fn normalize(&self, text: &str) -> String {
        text.replace(&self.root.display().to_string(), "ROOT")
            .replace(&fixtures().display().to_string(), "FIXTURES")
            .replace(&target().display().to_string(), "TARGET")
    }

    pub(crate) fn destroy_all(&self) -> Vec<String> {
        let mut problems = Vec::new();
        // What others build on goes after them: as long as one goes, the next round may do more.
        loop {
            let listed = self.sampan(&["ls", "--format", "json"]);
            let rows: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
            let names: Vec<&str> = rows
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|row| row["name"].as_str())
                .collect();
            let failed: Vec<String> = names
                .iter()
                .filter_map(|name| {
                    let ran = self.sampan(&["destroy", "--force", "--snapshots", name]);
                    (ran.code != 0).then(|| format!("destroy {name}: {}", ran.stderr))
                })
                .collect();
            if failed.is_empty() {
                break;
            }
            if failed.len() == names.len() {
                problems = failed;
                break;
            }
        }
        let second = std::time::Duration::from_secs(5);
        let gone = wait_until(second, || {
            machine::leftovers(&self.root).is_empty().then_some(())
        });
        if gone.is_none() {
            problems.extend(machine::leftovers(&self.root));
        }
        problems
    }
}

impl Default for TestEnvironment {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestEnvironment {
    fn drop(&mut self) {
        if self.world.is_none() {
            return;
        }
        let mut problems = self.destroy_all();
        if let Some(disk) = &self.disk {
            let unmounted = Command::new("umount").arg(disk).output();
            if !unmounted.is_ok_and(|output| output.status.success()) {
                problems.push(format!("{} cannot be unmounted", disk.display()));
            }
        }
        drop(self.world.take());
        if !problems.is_empty() && !std::thread::panicking() {
            panic!("the test left something behind:\n{}", problems.join("\n"));
        }
    }
}

/// No test touches the machine's own network, unless it asks for one in a namespace that plays the
/// host.
fn without_network(root: &Path) {
    let etc = root.join("etc");
    std::fs::create_dir_all(&etc)
        .and_then(|()| std::fs::write(etc.join("sampan.conf"), "network = none\n"))
        .expect("a directory for settings");
}

/// The workspace's target directory.
fn target() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(&here).join("target")
}

/// The libraries that `cargo xtask fixtures` made.
pub(crate) fn fixtures() -> PathBuf {
    target().join("fixtures/lib")
}
