//! Freezing and thawing: `cgroup.freeze` of the unified hierarchy, or version 1's freezer.

use std::fs;
use std::path::PathBuf;

use super::{Cgroup, Version, tree};
use crate::error::{Error, Result, Tried};

impl Cgroup {
    /// Begins to freeze everything in it; [`Cgroup::is_frozen`] tells when that is done.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.write_freezer("1", "FROZEN")
    }

    /// Lets everything in it run again.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.write_freezer("0", "THAWED")
    }

    /// Whether all of it is frozen.
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        let (directory, version) = self.freezer()?;
        let (file, line) = match version {
            Version::Two => ("cgroup.events", "frozen 1"),
            Version::One => ("freezer.state", "FROZEN"),
        };
        let path = directory.join(file);
        let text = fs::read_to_string(&path).tried(|| format!("read {}", path.display()))?;
        Ok(text.lines().any(|found| found == line))
    }

    /// Processes in it that wait where they cannot be frozen, as `123 (name)`.
    pub(crate) fn not_freezing(&self) -> Vec<String> {
        let Ok((directory, _)) = self.freezer() else {
            return Vec::new();
        };
        tree::processes(&directory)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                // The name may hold anything, parentheses too.
                let (before, after) = stat.rsplit_once(") ")?;
                let (_, name) = before.split_once('(')?;
                after.starts_with('D').then(|| format!("{pid} ({name})"))
            })
            .collect()
    }

    /// A frozen process of version 1 does not notice that it is killed.
    pub(super) fn thaw_version_1(&self) {
        if let Some((root, Version::One)) = self.hierarchies.find("freezer") {
            // Absent, or not frozen: then there is nothing to do.
            let _ = fs::write(root.join(&self.name).join("freezer.state"), "THAWED");
        }
    }

    fn freezer(&self) -> Result<(PathBuf, Version)> {
        // The guest cannot write to this file: it is not among those that are given to it.
        if let Some(directory) = self.unified()
            && directory.join("cgroup.freeze").exists()
        {
            return Ok((directory, Version::Two));
        }
        match self.hierarchies.find("freezer") {
            Some((root, Version::One)) => Ok((root.join(&self.name), Version::One)),
            _ => Err(
                Error::environment("this host's cgroups cannot freeze processes").with_hint(
                    "mount a cgroup2 tree (Linux 5.2 or later), or version 1's controller \"freezer\"",
                ),
            ),
        }
    }

    fn write_freezer(&self, version_2: &str, version_1: &str) -> Result<()> {
        let (directory, version) = self.freezer()?;
        let (file, value) = match version {
            Version::Two => ("cgroup.freeze", version_2),
            Version::One => ("freezer.state", version_1),
        };
        let path = directory.join(file);
        fs::write(&path, value).tried(|| format!("write \"{value}\" to {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Freezes a process on some of the host's hierarchies, and kills it while it is frozen.
    fn freeze_and_kill(name: &str, choose: impl Fn(&mut Cgroup)) {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not tried: making cgroups needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut cgroup = Cgroup::of_container(dir.path(), name).unwrap();
        choose(&mut cgroup);
        cgroup.create().unwrap();
        if cgroup.freezer().is_err() {
            cgroup.remove().unwrap();
            eprintln!("not tried: this host has no such freezer");
            return;
        }
        let mut sleeper = Killed(Command::new("sleep").arg("1000").spawn().unwrap());
        let pid = sleeper.0.id() as i32;
        cgroup.add(pid).unwrap();
        let soon = Instant::now() + Duration::from_secs(20);
        let until = |frozen: bool| {
            while cgroup.is_frozen().unwrap() != frozen {
                assert!(Instant::now() < soon, "frozen: {}", !frozen);
                std::thread::yield_now();
            }
        };
        until(false);
        cgroup.freeze().unwrap();
        until(true);
        cgroup.thaw().unwrap();
        until(false);
        cgroup.freeze().unwrap();
        until(true);
        // Reaped meanwhile: a killed process that nobody waits for stays in its cgroup.
        std::thread::scope(|scope| {
            scope.spawn(|| cgroup.kill().unwrap());
            sleeper.0.wait().unwrap();
        });
        cgroup.remove().unwrap();
        assert!(!cgroup.exists());
    }

    #[test]
    fn a_process_is_frozen_and_killed_on_the_unified_hierarchy() {
        freeze_and_kill("v2", |cgroup| cgroup.hierarchies.version_1.clear());
    }

    #[test]
    fn a_process_is_frozen_and_killed_on_version_1() {
        freeze_and_kill("v1", |cgroup| cgroup.hierarchies.unified = None);
    }
}
