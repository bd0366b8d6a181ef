//! How a new process gets into a cgroup: by itself.
//!
//! Whoever writes another process's pid to a `cgroup.procs` closes a lock that all forks and exits
//! pass, and the kernel waits until every processor has seen it closed: an RCU grace period, 5 to
//! 15 ms. A process that writes 0 for itself to the `tasks` of a version 1 hierarchy needs no such
//! lock (Linux 5.5, `cgroup_procs_write_start` in kernel/cgroup/cgroup.c), nor does `clone3` into
//! the unified one: some 0.03 ms per hierarchy.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::Cgroup;
use crate::error::{Result, Tried};
use crate::sys::plan::{Plan, Step};

/// A cgroup, open for a process that is about to be made.
#[derive(Debug, Default)]
pub(crate) struct Entrance {
    unified: Option<OwnedFd>,
    /// The `tasks` of each version 1 hierarchy.
    version_1: Vec<(PathBuf, OwnedFd)>,
}

impl Cgroup {
    /// Opens it for a new process.
    pub(crate) fn entrance(&self) -> Result<Entrance> {
        self.entrance_at(self.open_unified()?)
    }

    /// As [`Cgroup::entrance`], with another directory of the unified hierarchy.
    pub(crate) fn entrance_at(&self, unified: Option<OwnedFd>) -> Result<Entrance> {
        let version_1 = self.hierarchies.version_1.iter().map(|hierarchy| {
            let path = hierarchy.root.join(&self.name).join("tasks");
            let file = OpenOptions::new().write(true).open(&path);
            let file = file.tried(|| format!("open {}", path.display()))?;
            Ok((path, file.into()))
        });
        Ok(Entrance {
            unified,
            version_1: version_1.collect::<Result<_>>()?,
        })
    }
}

impl Entrance {
    /// For `CLONE_INTO_CGROUP`.
    pub(crate) fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// The way into the others, for the beginning of a plan: while the child is the host's root and
    /// has no other threads.
    pub(crate) fn add_steps(&self, plan: &mut Plan) -> Result<()> {
        for (path, file) in &self.version_1 {
            let kept = plan.keep(file).tried(|| "copy a descriptor".to_owned())?;
            plan.step(
                format!("enter the cgroup of {}", path.display()),
                Step::EnterCgroup(kept),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::path::Path;

    use super::*;
    use crate::sys::pidfd;
    use crate::sys::plan::Exec;
    use crate::sys::spawn::spawn;

    #[test]
    fn a_process_is_in_every_hierarchy_before_it_is_told_to_go_on() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let state = format!("/entrance-{:08x}", rand::random::<u32>());
        let cgroup = Cgroup::of_container(Path::new(&state), "enters").unwrap();
        cgroup.create().unwrap();
        let entrance = cgroup.entrance().unwrap();
        let mut plan = Plan::new().unwrap();
        entrance.add_steps(&mut plan).unwrap();
        let words = |words: &[&str]| -> Vec<CString> {
            words.iter().map(|w| CString::new(*w).unwrap()).collect()
        };
        let exec = Exec::new(words(&["/bin/sleep"]), words(&["sleep", "60"]), vec![]);
        plan.step("execute sleep", Step::Exec(exec));
        let running = spawn(plan, 0, entrance.unified()).unwrap().wait_for_exec();
        let running = running.ok().unwrap();
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", running.pid)).unwrap();
        cgroup.kill().unwrap();
        pidfd::wait(running.pidfd.as_fd()).unwrap();
        cgroup.remove().unwrap();
        let name = format!("/{}", cgroup.name.display());
        let inside = text.lines().filter(|line| line.ends_with(&name)).count();
        assert_eq!(inside, cgroup.hierarchies.all().count(), "{text}");
    }
}
