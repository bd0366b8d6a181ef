//! Control groups, on whichever hierarchies the host has.
//!
//! A container has one directory `sampan/NAME-HASH` in the unified hierarchy and one in each
//! version 1 hierarchy. Limits are set there from outside; the guest is root of its unified
//! directory's tree (delegation: the directory and three of its files are its own, the limits are
//! not) and does not see the others.

mod hierarchies;
mod keys;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chown};

pub(crate) use hierarchies::Hierarchies;
pub(crate) use keys::Version;

use crate::error::{Error, Result, Tried};
use crate::sys::pidfd;

/// The directory above all of ours.
const PARENT: &str = "sampan";

/// How long processes that were killed may take to be gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(10);

/// Limits of a group of processes; `None` is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Number of processes and threads.
    pub processes: Option<u64>,
}

impl Limits {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

/// One directory in each hierarchy.
#[derive(Debug)]
pub(crate) struct Cgroup {
    hierarchies: Hierarchies,
    /// Relative to each hierarchy's root.
    name: PathBuf,
}

impl Cgroup {
    /// The cgroup of a container, whether it exists or not.
    pub(crate) fn of_container(state: &Path, name: &str) -> Result<Cgroup> {
        let hash = crate::idmap::hash(state, "") as u32;
        Ok(Cgroup {
            hierarchies: Hierarchies::discover()?,
            name: Path::new(PARENT).join(format!("{name}-{hash:08x}")),
        })
    }

    /// A new cgroup for a sandbox, with its limits set. Those of sandboxes whose program was killed
    /// are removed on the way.
    pub(crate) fn for_sandbox(limits: &Limits) -> Result<Cgroup> {
        let hierarchies = Hierarchies::discover()?;
        sweep_sandboxes(&hierarchies);
        let cgroup = Cgroup {
            hierarchies,
            name: Path::new(PARENT).join(format!(
                "sandbox.{}.{:08x}",
                std::process::id(),
                rand::random::<u32>()
            )),
        };
        cgroup.create()?;
        let settings = [
            ("memory.max", limits.memory),
            ("pids.max", limits.processes),
        ];
        for (key, value) in settings {
            if let Some(value) = value
                && let Err(error) = cgroup.set(Version::Two, key, &value.to_string())
            {
                let _ = cgroup.remove();
                return Err(error);
            }
        }
        Ok(cgroup)
    }

    /// Makes the directories. Existing ones are taken over.
    pub(crate) fn create(&self) -> Result<()> {
        for hierarchy in self.hierarchies.all() {
            let directory = hierarchy.root.join(&self.name);
            let what = || format!("create the cgroup {}", directory.display());
            // A concurrent removal of the last sibling may take the parent away in between.
            let mut attempts = 0;
            loop {
                let parent = hierarchy.root.join(PARENT);
                make(&parent).tried(what)?;
                hierarchy.prepare_children(&hierarchy.root);
                hierarchy.inherit_cpuset(&parent);
                hierarchy.prepare_children(&parent);
                match make(&directory) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound && attempts < 100 => {
                        attempts += 1;
                    }
                    other => break other.tried(what)?,
                }
            }
            hierarchy.inherit_cpuset(&directory);
        }
        Ok(())
    }

    /// Gives the unified directory to the guest's root: "Model of Delegation" in the kernel's
    /// cgroup-v2.rst.
    pub(crate) fn delegate(&self, uid: u32, gid: u32) -> Result<()> {
        let Some(directory) = self.unified() else {
            return Ok(());
        };
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        for name in [
            "",
            "cgroup.procs",
            "cgroup.subtree_control",
            "cgroup.threads",
        ] {
            let path = directory.join(name);
            chown(&path, owner.0, owner.1)
                .tried(|| format!("give {} to the container", path.display()))?;
        }
        Ok(())
    }

    /// The directory in the unified hierarchy.
    pub(crate) fn unified(&self) -> Option<PathBuf> {
        let unified = self.hierarchies.unified.as_ref()?;
        Some(unified.root.join(&self.name))
    }

    /// The unified directory, for `CLONE_INTO_CGROUP`.
    pub(crate) fn open_unified(&self) -> Result<Option<OwnedFd>> {
        self.unified().map(|path| open_directory(&path)).transpose()
    }

    /// A leaf in the guest's tree for commands run from outside. Not the directory itself: a guest
    /// that enables controllers for its children may have no process beside them ("no internal
    /// processes" in cgroup-v2.rst).
    pub(crate) fn open_exec_leaf(&self, owner: (u32, u32)) -> Result<Option<OwnedFd>> {
        let Some(directory) = self.unified() else {
            return Ok(None);
        };
        let leaf = directory.join("sampan-exec");
        make(&leaf).tried(|| format!("create the cgroup {}", leaf.display()))?;
        chown(
            &leaf,
            Some(Uid::from_raw(owner.0)),
            Some(Gid::from_raw(owner.1)),
        )
        .tried(|| format!("give {} to the container", leaf.display()))?;
        open_directory(&leaf).map(Some)
    }

    /// Moves a process into the version 1 directories, and into the unified one.
    pub(crate) fn add(&self, pid: i32) -> Result<()> {
        if let Some(unified) = self.unified() {
            write_pid(&unified, pid)?;
        }
        self.add_to_version_1(pid)
    }

    /// Moves a process into the version 1 directories (`clone3` can only enter the unified one).
    pub(crate) fn add_to_version_1(&self, pid: i32) -> Result<()> {
        for hierarchy in &self.hierarchies.version_1 {
            write_pid(&hierarchy.root.join(&self.name), pid)?;
        }
        Ok(())
    }

    /// Sets a key of one version's vocabulary on the hierarchy that has its controller.
    pub(crate) fn set(&self, version: Version, key: &str, value: &str) -> Result<()> {
        for (root, key, value) in keys::translate(&self.hierarchies, version, key, value)? {
            let file = root.join(&self.name).join(&key);
            fs::write(&file, &value).map_err(|e| {
                let wrong = e.raw_os_error() == Some(libc::EINVAL);
                let error = Error::os(
                    format!("could not write \"{value}\" to {}", file.display()),
                    e,
                );
                if wrong {
                    error.with_hint(format!("the kernel does not accept this value for {key}"))
                } else {
                    error
                }
            })?;
        }
        Ok(())
    }

    /// Memory used, and its limit if there is one, in bytes.
    pub(crate) fn memory(&self) -> (Option<u64>, Option<u64>) {
        let Some((root, version)) = self.hierarchies.find("memory") else {
            return (None, None);
        };
        let (now, limit) = match version {
            Version::One => ("memory.usage_in_bytes", "memory.limit_in_bytes"),
            Version::Two => ("memory.current", "memory.max"),
        };
        let read = |file: &str| -> Option<u64> {
            let text = fs::read_to_string(root.join(&self.name).join(file)).ok()?;
            text.trim().parse().ok()
        };
        // Version 1 says "no limit" with the largest multiple of a page.
        (read(now), read(limit).filter(|limit| *limit < 1 << 62))
    }

    /// Kills every process in it, and waits until they are gone.
    pub(crate) fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + GONE_TIMEOUT;
        let mut pause = Duration::from_micros(200);
        loop {
            let mut alive = Vec::new();
            for hierarchy in self.hierarchies.all() {
                alive.extend(processes(&hierarchy.root.join(&self.name)));
            }
            if alive.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::environment(format!(
                    "processes {alive:?} of the container do not die"
                ))
                .with_hint(
                    "they may wait for a device or a network file system; see their state in `ps`",
                ));
            }
            let all_at_once = self
                .unified()
                .is_some_and(|directory| fs::write(directory.join("cgroup.kill"), "1").is_ok());
            if !all_at_once {
                for pid in alive {
                    if let Ok(process) = pidfd::open(pid) {
                        let _ = pidfd::signal(std::os::fd::AsFd::as_fd(&process), Signal::SIGKILL);
                    }
                }
            }
            // Version 1 tells nobody when a cgroup gets empty.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Removes it with everything below. Goes on past failures and reports the first.
    pub(crate) fn remove(&self) -> Result<()> {
        let mut first = Ok(());
        for hierarchy in self.hierarchies.all() {
            let directory = hierarchy.root.join(&self.name);
            let removed = remove_tree(&directory)
                .tried(|| format!("remove the cgroup {}", directory.display()));
            if first.is_ok() {
                first = removed;
            }
            // Only the last one of all succeeds.
            let _ = fs::remove_dir(hierarchy.root.join(PARENT));
        }
        first
    }

    /// Whether anything of it exists.
    pub(crate) fn exists(&self) -> bool {
        self.hierarchies
            .all()
            .any(|hierarchy| hierarchy.root.join(&self.name).exists())
    }
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(path)
        .map(OwnedFd::from)
        .tried(|| format!("open the cgroup {}", path.display()))
}

fn write_pid(directory: &Path, pid: i32) -> Result<()> {
    let file = directory.join("cgroup.procs");
    fs::write(&file, pid.to_string()).tried(|| format!("write {pid} to {}", file.display()))
}

fn processes(directory: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = fs::read_to_string(directory.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for child in subdirectories(directory) {
        found.extend(processes(&child));
    }
    found
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    for child in subdirectories(directory) {
        remove_tree(&child)?;
    }
    let deadline = Instant::now() + GONE_TIMEOUT;
    loop {
        match fs::remove_dir(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A process that has just died is still on its way out.
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

fn sweep_sandboxes(hierarchies: &Hierarchies) {
    for hierarchy in hierarchies.all() {
        for directory in subdirectories(&hierarchy.root.join(PARENT)) {
            let name = directory.file_name().unwrap_or_default().to_string_lossy();
            let mut parts = name.split('.');
            if parts.next() == Some("sandbox")
                && let Some(pid) = parts.next().and_then(|pid| pid.parse::<u32>().ok())
                && !Path::new(&format!("/proc/{pid}")).exists()
            {
                let _ = fs::remove_dir(&directory);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_state_directories_have_different_cgroups_for_one_name() {
        let one = Cgroup::of_container(Path::new("/a"), "web").unwrap();
        let two = Cgroup::of_container(Path::new("/b"), "web").unwrap();
        assert_ne!(one.name, two.name);
        assert!(one.name.starts_with(PARENT));
    }
}
