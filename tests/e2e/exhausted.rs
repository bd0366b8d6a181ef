//! What the machine has too little of, or lets nobody write to: clear errors, sound state.
//!
//! Full disks while something is created are in `mistakes`, a wall clock that jumps is in `clock`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sampan_tests::{Background, Ran, TestEnvironment, deadline_of, leaks};

/// Something mounted over a directory for as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        Self::new(&["-t", "tmpfs", "-o", options, "sampan-e2e"], at)
    }

    fn read_only(at: &Path) -> Self {
        let source = at.display().to_string();
        let mounted = Self::new(&["--bind", &source], at);
        let status = Command::new("mount")
            .args(["-o", "remount,ro,bind"])
            .arg(at)
            .status();
        assert!(status.unwrap().success());
        mounted
    }

    fn new(arguments: &[&str], at: &Path) -> Self {
        let status = Command::new("mount").args(arguments).arg(at).status();
        assert!(status.unwrap().success());
        Self(at.to_path_buf())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A pids cgroup of the test's own, on whichever hierarchy has that controller.
struct PidsCgroup(PathBuf);

impl PidsCgroup {
    fn new() -> Self {
        let version_1 = Path::new("/sys/fs/cgroup/pids");
        let top = if version_1.exists() {
            version_1
        } else {
            Path::new("/sys/fs/cgroup")
        };
        let path = top.join(format!("sampan-e2e-{}", std::process::id()));
        fs::create_dir(&path).expect("a pids cgroup");
        Self(path)
    }

    fn limit(&self, processes: usize) {
        fs::write(self.0.join("pids.max"), processes.to_string()).expect("its limit");
    }
}

impl Drop for PidsCgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// `sampan` after a line of shell.
fn after(env: &TestEnvironment, line: &str, arguments: &[&str]) -> Ran {
    let sampan = env.command(arguments);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{line}; exec \"$@\""), "sh"]);
    command.arg(sampan.get_program()).args(sampan.get_args());
    for (key, value) in sampan.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    Background::start(command, b"").wait()
}

/// A name that cgroups can be looked up by.
fn name(of: &str) -> String {
    format!("{of}{}", std::process::id())
}

#[track_caller]
fn sound(env: &TestEnvironment, name: &str) {
    assert_eq!(env.state_of(name), "stopped");
    deadline_of("nothing of it is left", || {
        leaks::leaks(env.root(), name).is_empty().then_some(())
    });
}

#[test]
fn a_state_directory_without_inodes() {
    let env = TestEnvironment::new();
    env.sampan(&["image", "build", "-t", "naughty"]).ok();
    let mounted = Mounted::tmpfs(&env.state(), "nr_inodes=12");
    let ran = env.sampan(&["create", "web", "-t", "naughty"]).failed();
    assert!(
        ran.stderr.contains("No space left on device"),
        "{}",
        ran.stderr
    );
    let left: Vec<_> = env.state().read_dir().unwrap().flatten().collect();
    assert!(left.is_empty(), "half a container is left: {left:?}");
    drop(mounted);
}

#[test]
fn a_full_run_directory_lets_nothing_start_and_leaves_nothing() {
    let env = TestEnvironment::new();
    let name = name("fullrun");
    env.create_small_guest(&name, &[]);
    // One inode is the directory itself; the container's directory, its lock, its socket follow.
    for inodes in 1..=3 {
        let options = format!("nr_inodes={inodes}");
        let mounted = Mounted::tmpfs(&env.root().join("run/sampan"), &options);
        let ran = env.sampan(&["start", &name]).failed();
        assert!(
            ran.stderr.contains("No space left on device"),
            "{}",
            ran.stderr
        );
        sound(&env, &name);
        drop(mounted);
    }
    env.sampan(&["start", &name]).ok();
}

#[test]
fn a_read_only_state_directory_lets_containers_run_and_keeps_them() {
    let env = TestEnvironment::new();
    let name = name("readonly");
    env.create_small_guest(&name, &[]);
    let mounted = Mounted::read_only(&env.state());
    let ran = env.sampan(&["destroy", &name]).failed();
    assert!(
        ran.stderr.contains("Read-only file system"),
        "{}",
        ran.stderr
    );
    let ran = env.sampan(&["create", "other", "-t", "naughty"]).failed();
    assert!(
        ran.stderr.contains("Read-only file system"),
        "{}",
        ran.stderr
    );
    assert_eq!(env.state_of(&name), "stopped");
    drop(mounted);
    env.sampan(&["start", &name]).ok();
    let mounted = Mounted::read_only(&env.state());
    env.sampan(&["exec", &name, "--", "true"]).ok();
    env.sampan(&["stop", "--kill", &name]).ok();
    sound(&env, &name);
    drop(mounted);
}

#[test]
fn no_processes_left_to_start_with() {
    let env = TestEnvironment::new();
    let name = name("nopids");
    env.create_small_guest(&name, &[]);
    let cgroup = PidsCgroup::new();
    let enter = format!("echo $$ > {}", cgroup.0.join("cgroup.procs").display());
    let mut failures = 0;
    for processes in 1..=8 {
        cgroup.limit(processes);
        let ran = after(&env, &enter, &["start", &name]);
        if ran.code == 0 {
            env.sampan(&["stop", "--kill", &name]).ok();
        } else {
            failures += 1;
            let told = ran.stderr.contains("Resource temporarily unavailable");
            assert!(told, "with {processes} processes: {}", ran.stderr);
        }
        sound(&env, &name);
    }
    assert!(failures > 0, "no limit was too small");
    assert!(failures < 8, "no limit was large enough");
}

#[test]
fn no_file_descriptors_left() {
    let env = TestEnvironment::new();
    let name = name("nofds");
    env.create_small_guest(&name, &[]);
    let (mut failures, mut successes) = (0, 0);
    for descriptors in [5, 6, 8, 10, 12, 16, 24, 64, 200, 206, 256, 1024] {
        let limit = format!("ulimit -n {descriptors}");
        let ran = after(&env, &limit, &["start", &name]);
        if ran.code == 0 {
            successes += 1;
            let ran = after(&env, &limit, &["exec", &name, "--", "true"]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            env.sampan(&["stop", "--kill", &name]).ok();
        } else {
            failures += 1;
            let told = ran.stderr.contains("Too many open files");
            assert!(told, "with {descriptors} descriptors: {}", ran.stderr);
        }
        sound(&env, &name);
    }
    assert!(failures > 0 && successes > 0, "{failures}, {successes}");
}

#[test]
fn a_command_in_another_time_reaches_containers_of_this_one() {
    let env = TestEnvironment::new();
    env.small_guest("web");
    let time = |arguments: &[&str]| {
        let sampan = env.command(arguments);
        let mut command = Command::new("unshare");
        command.args(["--time", "--fork", "--monotonic", "8640000"]);
        command.args(["--boottime", "8640000"]);
        command.arg(sampan.get_program()).args(sampan.get_args());
        command.env("LC_ALL", "C.UTF-8").env_remove("SAMPAN_PATH");
        Background::start(command, b"").wait()
    };
    time(&["exec", "web", "--", "true"]).ok();
    assert!(time(&["info", "web"]).ok().stdout.contains("running"));
    // A deadline that began in the other time is over at once or never.
    time(&["stop", "--kill", "web"]).ok();
    time(&["start", "web"]).ok();
    env.sampan(&["exec", "web", "--", "true"]).ok();
    env.sampan(&["stop", "--kill", "web"]).ok();
    assert_eq!(env.state_of("web"), "stopped");
}
