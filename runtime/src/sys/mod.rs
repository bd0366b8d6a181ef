//! The one place of this crate with `unsafe`: system calls that no safe crate offers, and the
//! child that runs between `clone3` and `execve`.
//!
//! Everything here has a safe surface; the rest of the crate is `deny(unsafe_code)`.

pub(crate) mod bpf;
pub(crate) mod btrfs;
pub(crate) mod child;
pub(crate) mod confine;
pub(crate) mod file;
mod first;
pub(crate) mod inherited;
pub(crate) mod loop_device;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod pidfd;
pub(crate) mod plan;
pub(crate) mod rights;
pub(crate) mod seccomp;
pub(crate) mod spawn;
pub(crate) mod tty;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Turns a system call's result into `io::Result`.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Takes ownership of a descriptor that the kernel has just returned.
fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: callers pass only a descriptor freshly returned by a successful system call, which
    // nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// Standard input (0), output (1) or error (2), without the standard library's buffers.
pub(crate) fn standard_stream(number: RawFd) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: the Rust runtime makes sure at start that 0, 1 and 2 are open, and this crate never
    // closes them.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(number.clamp(0, 2)) }
}
