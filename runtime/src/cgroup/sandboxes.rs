//! Cgroups of sandboxes, which end with their owner even if that is killed.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Cgroup, Entrance, Hierarchies, Limits, PARENT, Version};
use crate::error::{Error, Result};

/// How long the rest of somebody else's sandbox may keep us.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(1);

/// The cgroup of one sandbox: everything in it is killed, and it is removed, when this is dropped.
#[derive(Debug)]
pub(crate) struct SandboxCgroup(Cgroup);

impl SandboxCgroup {
    /// A new one, with its limits set. What is left of sandboxes whose program was killed is killed
    /// and removed on the way.
    pub(crate) fn new(limits: &Limits) -> Result<SandboxCgroup> {
        let hierarchies = Hierarchies::discover()?;
        sweep(&hierarchies);
        let owner = Owner::this_process().ok_or_else(|| {
            Error::environment("could not read this process's start time from /proc/self/stat")
                .with_hint("mount proc at /proc")
        })?;
        let settings = [
            ("memory", "memory.max", limits.memory),
            ("pids", "pids.max", limits.processes),
        ];
        let limited = settings.iter().filter(|(_, _, value)| value.is_some());
        let controllers: Vec<&str> = limited.map(|(controller, ..)| *controller).collect();
        let cgroup = SandboxCgroup(Cgroup {
            hierarchies: needed(hierarchies, &controllers),
            name: Path::new(PARENT).join(owner.name(rand::random())),
        });
        cgroup.0.create()?;
        for (_, key, value) in settings {
            if let Some(value) = value {
                cgroup.0.set(Version::Two, key, &value.to_string())?;
            }
        }
        Ok(cgroup)
    }

    /// Opens it for a new process.
    pub(crate) fn entrance(&self) -> Result<Entrance> {
        self.0.entrance()
    }

    /// Kills what is in it, and does not wait.
    pub(crate) fn kill(&self) {
        // What cannot be listed now is killed in drop, or by a later sweep.
        let _ = self.0.kill_once();
    }
}

impl Drop for SandboxCgroup {
    fn drop(&mut self) {
        // What does not die or go away now, a later sweep finds.
        let _ = self.0.kill();
        let _ = self.0.remove();
    }
}

/// The hierarchies that can hold a sandbox to its limits, and one that can kill what is in it.
fn needed(mut hierarchies: Hierarchies, controllers: &[&str]) -> Hierarchies {
    let has_unified = hierarchies.unified.is_some();
    let mut kept = 0;
    hierarchies.version_1.retain(|hierarchy| {
        let limits = |name: &String| controllers.contains(&name.as_str());
        let keep = hierarchy.controllers.iter().any(limits) || (!has_unified && kept == 0);
        kept += usize::from(keep);
        keep
    });
    hierarchies
}

/// Whether this host has a hierarchy with the controller `pids`, `memory` ….
pub(crate) fn can_limit(controller: &str) -> bool {
    Hierarchies::discover().is_ok_and(|found| found.find(controller).is_some())
}

/// A process that made a sandbox: the pid alone could be a stranger's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// In clock ticks since boot (proc_pid_stat(5), field 22).
    started: u64,
    /// The inode of the pid namespace in which the pid counts.
    namespace: u64,
}

impl Owner {
    fn this_process() -> Option<Owner> {
        let pid = std::process::id();
        Some(Owner {
            pid,
            started: start_time(pid)?,
            namespace: pid_namespace()?,
        })
    }

    fn name(self, random: u32) -> String {
        format!(
            "sandbox.{}.{}.{}.{random:08x}",
            self.pid, self.started, self.namespace
        )
    }

    fn of(name: &OsStr) -> Option<Owner> {
        let parts: Vec<&str> = name.to_str()?.split('.').collect();
        let ["sandbox", pid, started, namespace, random] = parts[..] else {
            return None;
        };
        // A container's cgroup never ends like this.
        if random.len() != 8 || !random.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        Some(Owner {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
            namespace: namespace.parse().ok()?,
        })
    }

    /// Known to be gone: of another pid namespace's processes nothing is known.
    fn is_gone(self) -> bool {
        pid_namespace() == Some(self.namespace)
            && Path::new("/proc/self/stat").exists()
            && start_time(self.pid) != Some(self.started)
    }
}

fn start_time(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

fn pid_namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self/ns/pid").ok().map(|m| m.ino())
}

fn sweep(hierarchies: &Hierarchies) {
    let mut names = Vec::new();
    for hierarchy in hierarchies.all() {
        let listed = fs::read_dir(hierarchy.root.join(PARENT));
        names.extend(
            listed
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name())
                .filter(|name| Owner::of(name).is_some_and(Owner::is_gone)),
        );
    }
    names.sort();
    names.dedup();
    for name in names {
        let leftover = Cgroup {
            hierarchies: hierarchies.clone(),
            name: Path::new(PARENT).join(name),
        };
        // One that does not go is no reason to refuse a new sandbox; the next sweep tries again.
        let _ = leftover.kill_within(SWEEP_TIMEOUT);
        let _ = leftover.remove_within(SWEEP_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner_and_a_containers_name_tells_none() {
        let owner = Owner::this_process().unwrap();
        assert_eq!(Owner::of(owner.name(7).as_ref()), Some(owner));
        assert!(!owner.is_gone());
        let recycled = Owner {
            started: owner.started + 1,
            ..owner
        };
        assert!(recycled.is_gone());
        let elsewhere = Owner {
            namespace: owner.namespace + 1,
            ..recycled
        };
        assert!(!elsewhere.is_gone(), "nothing is known of it");
        for name in ["web-01234567", "sandbox.1.2.3.x-01234567", "sandbox.1.2"] {
            assert_eq!(Owner::of(name.as_ref()), None, "{name}");
        }
    }

    #[test]
    fn a_sandbox_is_only_in_hierarchies_that_it_needs() {
        let Ok(all) = Hierarchies::discover() else {
            return;
        };
        let roots = |controllers: &[&str]| {
            let needed = needed(all.clone(), controllers);
            assert_eq!(needed.unified, all.unified);
            needed.version_1.len()
        };
        let pids = all.version_1.iter().filter(|hierarchy| {
            let mut names = hierarchy.controllers.iter();
            names.any(|name| name == "pids")
        });
        if all.unified.is_some() {
            assert_eq!((roots(&[]), roots(&["pids"])), (0, pids.count()));
        } else {
            assert_eq!(roots(&[]), 1);
        }
    }

    #[test]
    fn what_runs_in_a_leftover_sandbox_is_killed_by_the_next_sweep() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let owner = Owner::this_process().unwrap();
        let gone = Owner {
            started: owner.started + 1,
            ..owner
        };
        let leftover = SandboxCgroup(Cgroup {
            hierarchies: Hierarchies::discover().unwrap(),
            name: Path::new(PARENT).join(gone.name(rand::random())),
        });
        leftover.0.create().unwrap();
        let mut sleeper = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        leftover.0.add(sleeper.id() as i32).unwrap();
        sweep(&leftover.0.hierarchies);
        assert!(!sleeper.wait().unwrap().success());
        // Its zombie may have kept the directory for the moment.
        sweep(&leftover.0.hierarchies);
        assert!(!leftover.0.exists());
    }
}
