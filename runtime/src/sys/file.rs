//! System calls on files that no safe crate offers.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{check, owned};

/// Makes `target` share the blocks of `source`; the file system copies them when one is written to.
pub(crate) fn reflink(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: FICLONE takes a descriptor by value.
    check(unsafe {
        libc::c_long::from(libc::ioctl(
            target.as_raw_fd(),
            libc::FICLONE,
            source.as_raw_fd(),
        ))
    })
    .map(drop)
}

/// Gives the calling thread mounts of its own, which nobody else sees and which end with it.
pub(crate) fn own_mounts() -> io::Result<()> {
    // SAFETY: takes a number; concerns this thread alone.
    check(unsafe { libc::c_long::from(libc::unshare(libc::CLONE_NEWNS)) })?;
    nix::mount::mount(
        None::<&str>,
        "/",
        None::<&str>,
        nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    Ok(())
}

/// Lets the calling thread make files as this user and group, with all capabilities kept.
pub(crate) fn make_files_as(uid: u32, gid: u32) -> io::Result<()> {
    const NO_SETUID_FIXUP: libc::c_ulong = 4;
    // SAFETY: takes numbers; concerns this thread alone.
    check(unsafe {
        libc::c_long::from(libc::prctl(
            libc::PR_SET_SECUREBITS,
            NO_SETUID_FIXUP,
            0 as libc::c_ulong,
            0 as libc::c_ulong,
            0 as libc::c_ulong,
        ))
    })?;
    nix::unistd::setfsuid(nix::unistd::Uid::from_raw(uid));
    nix::unistd::setfsgid(nix::unistd::Gid::from_raw(gid));
    Ok(())
}

/// Writes a file's contents to disk, but not where they are; begins with that or waits for it.
pub(crate) fn write_contents(file: BorrowedFd<'_>, wait: bool) -> io::Result<()> {
    let mut flags = libc::SYNC_FILE_RANGE_WRITE;
    if wait {
        flags |= libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    }
    // SAFETY: takes a descriptor and numbers by value.
    check(unsafe { libc::c_long::from(libc::sync_file_range(file.as_raw_fd(), 0, 0, flags)) })
        .map(drop)
}

/// `openat` of one name, never following a link.
pub(crate) fn open_at(
    directory: BorrowedFd<'_>,
    name: &std::ffi::OsStr,
    flags: libc::c_int,
    mode: libc::c_uint,
) -> io::Result<OwnedFd> {
    let name = CString::new(std::os::unix::ffi::OsStrExt::as_bytes(name))?;
    // SAFETY: a valid string and an open descriptor; the result is a fresh descriptor.
    check(unsafe {
        libc::c_long::from(libc::openat(
            directory.as_raw_fd(),
            name.as_ptr(),
            flags | libc::O_NOFOLLOW | libc::O_CLOEXEC,
            mode,
        ))
    })
    .map(owned)
}
