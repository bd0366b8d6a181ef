//! A running sandbox.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::Sender;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cgroup::SandboxCgroup;
use crate::error::{Result, Tried};
use crate::storage::RootPath;
use crate::sys::pidfd::{self, Ended};
use crate::sys::spawn::Running;

/// A sandboxed process. Dropping it kills and reaps it, with everything it started.
pub struct SandboxProcess {
    running: Running,
    ended: Option<Ended>,
    /// Killed and removed with this.
    cgroup: Option<SandboxCgroup>,
    /// What it worked on.
    rootfs: Option<RootPath>,
    /// Ends the thread that the process's life is bound to.
    _keeper: Sender<()>,
}

impl SandboxProcess {
    pub(super) fn new(
        running: Running,
        cgroup: Option<SandboxCgroup>,
        rootfs: Option<RootPath>,
        keeper: Sender<()>,
    ) -> SandboxProcess {
        SandboxProcess {
            running,
            ended: None,
            cgroup,
            rootfs,
            _keeper: keeper,
        }
    }

    /// The host's pid.
    pub fn pid(&self) -> i32 {
        self.running.pid
    }

    /// Becomes readable when the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.running.pidfd.as_fd()
    }

    /// Kills it, and with it everything inside. Not an error if it has ended.
    pub fn kill(&self) {
        let _ = pidfd::signal(self.pidfd(), Signal::SIGKILL);
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<Ended> {
        match self.ended {
            Some(ended) => Ok(ended),
            None => {
                let ended =
                    pidfd::wait(self.pidfd()).tried(|| "wait for the sandbox".to_owned())?;
                self.ended = Some(ended);
                Ok(ended)
            }
        }
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<Ended>> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Waits for its end for at most this long.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Ended>> {
        if self.ended.is_none()
            && !pidfd::ended(self.pidfd(), Some(timeout))
                .tried(|| "wait for the sandbox".to_owned())?
        {
            return Ok(None);
        }
        self.wait().map(Some)
    }
}

impl Drop for SandboxProcess {
    fn drop(&mut self) {
        self.kill();
        let _ = self.wait();
        end_work(self.rootfs.as_ref());
    }
}

/// Nobody works on it any more. If that cannot be said to it, the next mount of it fails and tells.
pub(super) fn end_work(rootfs: Option<&RootPath>) {
    if let Some(rootfs) = rootfs {
        let _ = rootfs.end_work();
    }
}
