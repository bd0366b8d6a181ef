//! Control groups, on whichever hierarchies the host has.
//!
//! A container has one directory `sampan/NAME-HASH` in the unified hierarchy and one in each
//! version 1 hierarchy. Limits are set there from outside; the guest is root of its unified
//! directory's tree (delegation: the directory and three of its files are its own, the limits are
//! not) and does not see the others.

mod devices;
mod entrance;
mod freezer;
mod hierarchies;
mod keys;
mod limits;
mod sandboxes;
mod tree;
mod usage;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::fstat;
use nix::unistd::{Gid, Uid, chown, geteuid};

pub(crate) use devices::DeviceRules;
pub(crate) use entrance::Entrance;
pub(crate) use hierarchies::Hierarchies;
pub(crate) use keys::{Version, Wanted, bytes};
pub(crate) use limits::Line;
pub(crate) use sandboxes::{SandboxCgroup, can_limit};
pub use usage::{LimitsInForce, Usage};

use crate::error::{Error, Result, Tried};
use crate::sys::pidfd;

/// The directory above all of ours.
const PARENT: &str = "sampan";

/// How long processes that were killed may take to be gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(10);

/// How deep cgroups of a guest may be nested, and how many it may have.
const DEPTH: &str = "32";
const DESCENDANTS: &str = "4096";

/// The cgroup in the guest's tree for commands run from outside.
const EXEC_LEAF: &str = "sampan-exec";

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
        // These files stay ours. Without them a guest could nest or multiply cgroups until nobody
        // can handle them any more.
        for (name, value) in [
            ("cgroup.max.depth", DEPTH),
            ("cgroup.max.descendants", DESCENDANTS),
        ] {
            let path = directory.join(name);
            fs::write(&path, value).tried(|| format!("write \"{value}\" to {}", path.display()))?;
        }
        Ok(())
    }

    /// The directory in the unified hierarchy.
    pub(crate) fn unified(&self) -> Option<PathBuf> {
        let unified = self.hierarchies.unified.as_ref()?;
        Some(unified.root.join(&self.name))
    }

    /// The directory in the unified hierarchy, open.
    pub(crate) fn open_unified(&self) -> Result<Option<OwnedFd>> {
        self.unified().map(|path| open_directory(&path)).transpose()
    }

    /// A leaf in the guest's tree for commands run from outside. Not the directory itself: a guest
    /// that enables controllers for its children may have no process beside them ("no internal
    /// processes" in cgroup-v2.rst).
    ///
    /// It is the host's: one that the guest made could be frozen, or have limits under which no
    /// command starts. The guest can still move a process out of it, so its start is watched.
    pub(crate) fn open_exec_leaf(&self) -> Result<Option<OwnedFd>> {
        let Some(directory) = self.unified() else {
            return Ok(None);
        };
        let leaf = directory.join(EXEC_LEAF);
        if let Some(leaf) = open_own_leaf(&leaf)? {
            return Ok(Some(leaf));
        }
        // The guest took the name. If nothing is in there, it can be taken back.
        let _ = fs::remove_dir(&leaf);
        if let Some(leaf) = open_own_leaf(&leaf)? {
            return Ok(Some(leaf));
        }
        let leaf = directory.join(format!("{EXEC_LEAF}-{:08x}", rand::random::<u32>()));
        open_own_leaf(&leaf)?.map(Some).ok_or_else(|| {
            Error::environment(format!(
                "the container owns the cgroup {}, which was made this moment",
                leaf.display()
            ))
        })
    }

    /// Moves a running process in. New ones enter by themselves: [`Cgroup::entrance`].
    #[cfg(test)]
    pub(crate) fn add(&self, pid: i32) -> Result<()> {
        for hierarchy in self.hierarchies.all() {
            let file = hierarchy.root.join(&self.name).join("cgroup.procs");
            fs::write(&file, pid.to_string())
                .tried(|| format!("write {pid} to {}", file.display()))?;
        }
        Ok(())
    }

    /// Kills every process in it, and waits until they are gone.
    pub(crate) fn kill(&self) -> Result<()> {
        self.kill_within(GONE_TIMEOUT)
    }

    fn kill_within(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(200);
        loop {
            let alive = self.kill_once();
            self.thaw_version_1();
            if matches!(alive, Ok(0)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let alive = alive?;
                return Err(Error::environment(format!(
                    "{alive} killed processes in the cgroup {} do not go away",
                    self.name.display()
                ))
                .with_hint(
                    "they may wait for a device or a network file system; see their state in `ps`",
                ));
            }
            // Version 1 tells nobody when a cgroup gets empty.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Sends SIGKILL to everything in it. Returns how many processes are (at least) there still.
    fn kill_once(&self) -> Result<usize> {
        let mut alive = 0;
        for hierarchy in self.hierarchies.all() {
            let directory = hierarchy.root.join(&self.name);
            // Absent in version 1. It takes what forks meanwhile too, and a tree of any shape.
            if fs::write(directory.join("cgroup.kill"), "1").is_ok() {
                alive += usize::from(is_populated(&directory));
                continue;
            }
            let found = tree::processes(&directory)
                .tried(|| format!("list the processes of the cgroup {}", directory.display()))?;
            alive += found.len();
            for pid in found {
                // The pid may be a stranger's by now: asked once its descriptor is open.
                if let Ok(process) = pidfd::open(pid)
                    && self.holds(pid)
                {
                    let _ = pidfd::signal(process.as_fd(), Signal::SIGKILL);
                }
            }
        }
        Ok(alive)
    }

    fn holds(&self, pid: i32) -> bool {
        // Not from the front: a hierarchy may be mounted from some way down.
        let name = format!("/{}", self.name.display());
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&name))
    }

    /// Removes it with everything below. Goes on past failures and reports the first.
    pub(crate) fn remove(&self) -> Result<()> {
        self.remove_within(GONE_TIMEOUT)
    }

    fn remove_within(&self, patience: Duration) -> Result<()> {
        let mut first = Ok(());
        for hierarchy in self.hierarchies.all() {
            let directory = hierarchy.root.join(&self.name);
            let removed = tree::remove(&directory, patience)
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

/// Whether anything lives in a unified directory or below it.
fn is_populated(directory: &Path) -> bool {
    fs::read_to_string(directory.join("cgroup.events"))
        .is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
}

/// Opens a directory, made if it is missing. `None`: it is not ours.
fn open_own_leaf(leaf: &Path) -> Result<Option<OwnedFd>> {
    make(leaf).map_err(|e| {
        let full = e.raw_os_error() == Some(libc::EAGAIN);
        let error = Error::os(format!("could not create the cgroup {}", leaf.display()), e);
        if full {
            error.with_hint("the container has made as many cgroups as it may")
        } else {
            error
        }
    })?;
    let opened = open_directory(leaf)?;
    let owner = fstat(&opened)
        .tried(|| format!("look at the cgroup {}", leaf.display()))?
        .st_uid;
    Ok((owner == geteuid().as_raw()).then_some(opened))
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
