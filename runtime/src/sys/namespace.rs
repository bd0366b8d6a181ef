//! Entering namespaces, for a process without other threads.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Joins a namespace of this kind (`CLONE_NEW*`).
pub(crate) fn enter(namespace: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: an open descriptor; the kernel checks that it is of this kind.
    super::check(unsafe { libc::setns(namespace.as_raw_fd(), kind) }.into()).map(drop)
}

/// Gives this process a mount namespace of its own, in which the host's later mounts appear but
/// not the other way round.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: no memory is involved but a static string.
    unsafe {
        super::check(libc::unshare(libc::CLONE_NEWNS).into())?;
        super::check(
            libc::mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_SLAVE,
                std::ptr::null(),
            )
            .into(),
        )
        .map(drop)
    }
}
