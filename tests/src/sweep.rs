//! What tests left that were killed, and so could not clean up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{environment::TestEnvironment, machine, world::World};

/// Removes the worlds of killed tests, with all that runs and is mounted in them; what resists is
/// told on standard error, and tried again by the next one.
pub fn sweep() {
    for world in World::abandoned() {
        let path = world.path().to_path_buf();
        eprintln!("a killed test left {}", path.display());
        // A command that was at work would go on making things.
        kill_all(&path, |command| !command.contains(" monitor "));
        let env = TestEnvironment::adopt(world);
        lxc_stop(&env.state());
        let _ = env.destroy_all();
        let _world = env.give_up();
        kill_all(&path, |_| true);
        for mount in machine::mounts_below(&path).iter().rev() {
            let _ = Command::new("umount").arg("--lazy").arg(mount).output();
        }
        for left in machine::leftovers(&path) {
            eprintln!("of a killed test is left: {left}");
        }
    }
    network_namespaces();
    cgroups();
}

/// The same, by the first test of this process.
pub(crate) fn sweep_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(sweep);
}

/// Kills the processes that have this directory in their command line.
fn kill_all(directory: &Path, which: impl Fn(&str) -> bool) {
    let directory = directory.display().to_string();
    for (pid, command) in machine::processes() {
        if command.contains(&directory) && which(&command) {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// Containers in this state directory that run under LXC, whose monitors call themselves
/// `[lxc monitor] STATE NAME`.
fn lxc_stop(state: &Path) {
    for (_, command) in machine::processes() {
        let words: Vec<&str> = command.split_whitespace().collect();
        if let ["[lxc", "monitor]", theirs, name, ..] = words[..]
            && Path::new(theirs) == state
        {
            let _ = Command::new("lxc-stop")
                .arg("-P")
                .arg(state)
                .args(["--kill", "-n", name])
                .output();
        }
    }
}

fn network_namespaces() {
    for path in of_ended_processes("/run/netns") {
        let name = path.file_name().unwrap_or_default();
        let _ = Command::new("ip").args(["netns", "del"]).arg(name).output();
    }
}

fn cgroups() {
    for top in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
        for path in of_ended_processes(top) {
            let _ = fs::remove_dir(path);
        }
    }
}

/// What is called `sampan-e2e-PID` or `sampan-e2e-PID-…` and whose process has ended.
fn of_ended_processes(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let rest = name.strip_prefix("sampan-e2e-");
            let pid = rest.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
            pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        })
        .map(|entry| entry.path())
        .collect()
}
