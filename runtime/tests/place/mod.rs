//! A place for containers made from a static busybox, for the tests that need real ones.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sampan_runtime::config::{NewConfig, default_config};
use sampan_runtime::{Container, Containers, Directories, Info, StartOptions, StopOptions};

/// An init that halts when it gets SIGUSR1 and reboots at SIGUSR2.
const INIT: &str = "#!/bin/sh\n\
    echo console works\n\
    trap 'halt -f' USR1\n\
    trap 'reboot -f' USR2\n\
    while :; do sleep 1000 & wait $!; done\n";

/// A root directory of its own, and the containers in it: killed and removed at the end.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub containers: Containers,
}

impl Place {
    pub fn new() -> Place {
        assert!(
            Path::new("/bin/busybox").exists(),
            "these tests need Debian's busybox-static: apt-get install busybox-static"
        );
        let dir = tempfile::tempdir().unwrap();
        let containers = Containers::new(Directories {
            state: dir.path().join("state"),
            run: dir.path().join("run"),
            log: dir.path().join("log"),
        });
        Place { dir, containers }
    }

    pub fn make(&self, name: &str, lines: &[(&str, &str)]) -> Container {
        let new = self.containers.begin(&name.parse().unwrap()).unwrap();
        fill(new.rootfs());
        let rootfs = new.final_root();
        let mut config = default_config(&NewConfig {
            name,
            rootfs: &rootfs,
            arch: std::env::consts::ARCH,
            ids: Some(new.ids()),
            template: "test",
            image: "test",
            guest: &[("lxc.signal.halt".to_owned(), "SIGUSR1".to_owned())],
            network: &[],
        })
        .unwrap();
        for (key, value) in lines {
            config.push(key, value);
        }
        new.commit(&config).unwrap()
    }

    pub fn exec(&self, name: &str, command: &[&str]) -> Output {
        self.exec_with(name, command, Stdio::null())
    }

    pub fn exec_with(&self, name: &str, command: &[&str], stdin: Stdio) -> Output {
        Command::new(example("container"))
            .arg(self.dir.path())
            .args(["exec", name])
            .args(command)
            .stdin(stdin)
            .output()
            .unwrap()
    }

    /// Everything of this place's containers that must not stay.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let run = self.dir.path().join("run");
        for entry in fs::read_dir(run).into_iter().flatten().flatten() {
            // The journal of events.
            if entry.file_name().to_string_lossy().starts_with(".events") {
                continue;
            }
            found.push(entry.path().display().to_string());
        }
        let names: Vec<String> = self
            .containers
            .list()
            .unwrap()
            .into_iter()
            .map(|info| cgroup_name(&info))
            .collect();
        let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    if names.iter().any(|name| entry.file_name() == name.as_str()) {
                        found.push(entry.path().display().to_string());
                    }
                    directories.push(entry.path());
                }
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = self.dir.path().display().to_string();
        found.extend(
            mounts
                .lines()
                .filter(|l| l.contains(&here))
                .map(String::from),
        );
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for info in self.containers.list().unwrap_or_default() {
            if let Ok(container) = self.containers.open(&info.name.parse().unwrap()) {
                let _ = container.destroy(true);
            }
        }
    }
}

/// The name of the cgroup: `NAME-` and the hash of the state directory (FNV-1a, low half).
pub fn cgroup_name(info: &Info) -> String {
    let state = info.config.parent().unwrap().parent().unwrap();
    let hash = state
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .chain(&[0])
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{}-{:08x}", info.name, hash as u32)
}

pub fn fill(rootfs: &Path) {
    for name in ["bin", "sbin", "proc", "sys", "dev", "tmp"] {
        fs::create_dir(rootfs.join(name)).unwrap();
    }
    // Not fs::copy: what another test's child holds open for writing cannot be executed.
    let copied = Command::new("cp")
        .arg("/bin/busybox")
        .arg(rootfs.join("bin"))
        .status()
        .unwrap();
    assert!(copied.success());
    for applet in [
        "sh", "cat", "sleep", "echo", "id", "halt", "reboot", "dmesg", "ls", "tail", "hostname",
        "kill", "ip", "mount", "env", "mkdir", "rmdir", "mknod", "head",
    ] {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    let mut init = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(rootfs.join("sbin/init"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    init.stdin
        .take()
        .unwrap()
        .write_all(INIT.as_bytes())
        .unwrap();
    assert!(init.wait().unwrap().success());
}

pub fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

pub fn options() -> StartOptions {
    StartOptions {
        monitor_program: example("monitor"),
    }
}

pub fn kill() -> StopOptions {
    StopOptions {
        kill: true,
        ..StopOptions::default()
    }
}

/// Waits for something that another process brings about.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn ready(container: &Container) {
    until("the init script's start", || {
        fs::read_to_string(container.console_log()).is_ok_and(|text| text.contains("works"))
    });
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
