//! Processes by descriptor: no signal ever reaches a stranger that got a recycled pid.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl Ended {
    /// The shell's convention: the status, or 128 + the signal.
    pub fn code(self) -> i32 {
        match self {
            Ended::Exited(code) => code,
            Ended::Signaled(signal) => 128 + signal,
        }
    }

    /// Exited with status 0.
    pub fn success(self) -> bool {
        self == Ended::Exited(0)
    }
}

/// `pidfd_open(2)`.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the result is a fresh descriptor.
    super::check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(super::owned)
}

/// `pidfd_send_signal(2)`.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    signal_number(pidfd, signal as i32)
}

/// As [`signal`], for real-time signals too.
pub(crate) fn signal_number(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo asks for the default one.
    super::check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// Whether the process has ended (reaped or not), waiting up to `timeout`; `None` waits for ever.
pub(crate) fn ended(pidfd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    let deadline = timeout.map(|t| Instant::now() + t);
    loop {
        // Not poll(2), whose millisecond is a tenth of a container's start.
        let wait = deadline.map(|at| TimeSpec::from(at.saturating_duration_since(Instant::now())));
        match ppoll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], wait, None) {
            Ok(0) if deadline.is_none_or(|at| Instant::now() < at) => {}
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Reaps a child, waiting for its end. Not nix's `waitid`, which has no word for a death by a
/// real-time signal.
pub(crate) fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Ended> {
    reap(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, 0).map(|(_, ended)| ended)
}

/// How a child has ended, without reaping it.
pub(crate) fn peek(pidfd: BorrowedFd<'_>) -> io::Result<Ended> {
    reap(
        libc::P_PIDFD,
        pidfd.as_raw_fd() as libc::id_t,
        libc::WNOWAIT,
    )
    .map(|(_, ended)| ended)
}

/// Reaps any child: its pid and how it ended. `None` if none has ended (without `block`) or there
/// is none.
pub(crate) fn wait_any(block: bool) -> io::Result<Option<(i32, Ended)>> {
    let flags = if block { 0 } else { libc::WNOHANG };
    match reap(libc::P_ALL, 0, flags) {
        Ok((0, _)) => Ok(None),
        Ok(found) => Ok(Some(found)),
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(e) => Err(e),
    }
}

fn reap(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> io::Result<(i32, Ended)> {
    loop {
        // SAFETY: all-zero is a valid siginfo_t, filled by the kernel; for a child's end the pid
        // and status fields are the ones that hold.
        let (result, pid, code, status) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let result = libc::waitid(kind, id, &mut info, libc::WEXITED | flags);
            (result, info.si_pid(), info.si_code, info.si_status())
        };
        match super::check(result.into()) {
            Ok(_) if code == libc::CLD_EXITED => return Ok((pid, Ended::Exited(status))),
            Ok(_) => return Ok((pid, Ended::Signaled(status))),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
