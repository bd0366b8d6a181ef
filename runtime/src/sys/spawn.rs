//! Starting a [`Plan`] in a child, and watching it until its program runs.

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::child::{self, FAILED, FORKED, Report};
use super::pidfd;
use super::plan::{Plan, explain};
use crate::error::{Error, Result, Tried};

/// linux/sched.h. The libc crate declares it as a `c_int`, which it does not fit in.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child on its way to `execve`. Killed and reaped when dropped before [`Child::wait_for_exec`]
/// has succeeded.
pub(crate) struct Child {
    pid: i32,
    pidfd: Option<OwnedFd>,
    go: OwnedFd,
    report: File,
    sentences: Vec<String>,
}

/// A process that runs its program.
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// The child's other end is gone; held so that a sandbox can be told apart from a dead parent.
    _go: OwnedFd,
}

/// A failed start.
pub(crate) enum StartFailure {
    /// The program could not be executed; the errno.
    Exec(i32, Error),
    /// Something else.
    Other(Error),
}

impl From<StartFailure> for Error {
    fn from(failure: StartFailure) -> Error {
        match failure {
            StartFailure::Exec(_, error) | StartFailure::Other(error) => error,
        }
    }
}

/// Starts the child with `clone3`; `namespaces` are `CLONE_NEW*` flags.
pub(crate) fn spawn(
    plan: Plan,
    namespaces: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Child> {
    let sentences = plan.sentences();
    let mut pidfd: RawFd = -1;
    let mut flags = namespaces as u64 | libc::CLONE_PIDFD as u64;
    let mut into = 0;
    if let Some(cgroup) = cgroup {
        flags |= CLONE_INTO_CGROUP;
        into = cgroup.as_raw_fd() as u64;
    }
    // Handlers of this program must not run in the child; it resets them before unblocking.
    let old = SigSet::all()
        .thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)
        .tried(|| "block signals".to_owned())?;
    // SAFETY: all-zero is a valid clone_args; without CLONE_VM the child has its own copy of all
    // memory, and `child::run` only makes async-signal-safe calls and never returns.
    let pid = unsafe {
        let mut args: libc::clone_args = zeroed();
        args.flags = flags;
        args.pidfd = (&raw mut pidfd) as u64;
        args.exit_signal = libc::SIGCHLD as u64;
        args.cgroup = into;
        let pid = libc::syscall(libc::SYS_clone3, &args, size_of::<libc::clone_args>());
        if pid == 0 {
            child::run(&plan);
        }
        super::check(pid)
    };
    // A mask that was in force can be set again.
    let _ = old.thread_set_mask();
    let pid = pid.map_err(|cause| {
        let error = Error::os("could not start a process in new namespaces", cause);
        match cause_hint(&error) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    })?;
    let Plan {
        report_read,
        go_parent,
        ..
    } = plan;
    Ok(Child {
        pid: pid as i32,
        pidfd: Some(super::owned(pidfd.into())),
        go: go_parent,
        report: File::from(report_read),
        sentences,
    })
}

fn cause_hint(error: &Error) -> Option<&'static str> {
    let cause = std::error::Error::source(error)?.downcast_ref::<io::Error>()?;
    match cause.raw_os_error()? {
        libc::ENOSPC | libc::EUSERS => Some(
            "a limit on namespaces is reached: see `sysctl user.max_user_namespaces` and the other user.max_*_namespaces",
        ),
        libc::EINVAL | libc::ENOSYS => {
            Some("the kernel lacks user namespaces or clone3: Sampan needs Linux 5.15 or later")
        }
        libc::EAGAIN => Some("the limit of processes is reached (ulimit -u, pids cgroup)"),
        _ => None,
    }
}

impl Child {
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets the child go on, with descriptors for its slots 0, 1, …
    pub(crate) fn go(&self, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control: &[ControlMessage<'_>] = if numbers.is_empty() { &[] } else { &rights };
        sendmsg::<()>(
            self.go.as_raw_fd(),
            &[IoSlice::new(b"g")],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .tried(|| "let the new process go on".to_owned())?;
        Ok(())
    }

    /// Waits until the program runs; a failed step is an error that names it.
    pub(crate) fn wait_for_exec(mut self) -> Result<Running, StartFailure> {
        let mut forked = None;
        loop {
            let mut bytes = [0u8; size_of::<Report>()];
            match self.report.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(e) => {
                    return Err(StartFailure::Other(Error::os(
                        "could not read the new process's report",
                        e,
                    )));
                }
            }
            let word = |at: usize| {
                u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            let (tag, step, value) = (word(0), word(4), word(8) as i32);
            if tag == FORKED {
                let fd = pidfd::open(value)
                    .tried(|| format!("open a pidfd of process {value}"))
                    .map_err(StartFailure::Other)?;
                forked = Some((value, fd));
            }
            if tag == FAILED {
                if let Some((_, fd)) = &forked {
                    let _ = pidfd::wait(fd.as_fd());
                }
                let error = explain(&self.sentences, step, value);
                return Err(if step as usize + 1 == self.sentences.len() {
                    StartFailure::Exec(value, error)
                } else {
                    StartFailure::Other(error)
                });
            }
        }
        // Both are present until here: only this method and drop take them.
        let Some(first) = self.pidfd.take() else {
            return Err(StartFailure::Other(Error::internal("the process is gone")));
        };
        let go = match self.go.try_clone() {
            Ok(go) => go,
            Err(e) => {
                self.pidfd = Some(first);
                return Err(StartFailure::Other(Error::os(
                    "could not copy a descriptor",
                    e,
                )));
            }
        };
        let (pid, pidfd) = match forked {
            Some(second) => {
                // It exited right after the fork.
                let _ = pidfd::wait(first.as_fd());
                second
            }
            None => (self.pid, first),
        };
        Ok(Running {
            pid,
            pidfd,
            _go: go,
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            let _ = pidfd::signal(pidfd.as_fd(), Signal::SIGKILL);
            let _ = pidfd::wait(pidfd.as_fd());
        }
    }
}

/// Sets a resource limit of another process (`prlimit(2)`).
pub(crate) fn set_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the new limit is read, no old one is asked for.
    super::check(unsafe { libc::prlimit64(pid, resource, &limit, std::ptr::null_mut()) }.into())
        .map(drop)
}

/// Goes on in the background: a child in a session of its own takes over, and this process exits
/// with status 0. Only for a process without other threads.
pub(crate) fn detach() -> io::Result<()> {
    // SAFETY: the caller is single-threaded (a freshly executed monitor), so the child's copy of
    // all locks and of the allocator is consistent.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { .. } => std::process::exit(0),
        nix::unistd::ForkResult::Child => {
            nix::unistd::setsid()?;
            Ok(())
        }
    }
}
