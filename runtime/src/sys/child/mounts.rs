//! Mounts, and what is written below one.

use std::ffi::{CStr, CString};
use std::mem::{size_of, zeroed};
use std::os::fd::RawFd;
use std::ptr::null;

use libc::{c_int, c_long, c_uint};

use super::{Outcome, call, close, done};
use crate::sys::plan::FileSystem;

pub(super) fn new_file_system(fs: &FileSystem) -> Result<RawFd, i32> {
    // SAFETY: strings live across the calls; a null value goes with the flag command.
    unsafe {
        let context = call(libc::syscall(
            libc::SYS_fsopen,
            fs.kind.as_ptr(),
            libc::FSOPEN_CLOEXEC,
        ))? as RawFd;
        let made = (|| {
            let set = libc::FSCONFIG_SET_STRING as c_uint;
            fsconfig(context, set, c"source".as_ptr(), fs.kind.as_ptr())?;
            for (key, value) in &fs.options {
                let (command, value) = match value {
                    Some(value) => (libc::FSCONFIG_SET_STRING, value.as_ptr()),
                    None => (libc::FSCONFIG_SET_FLAG, null()),
                };
                fsconfig(context, command as c_uint, key.as_ptr(), value)?;
            }
            fsconfig(context, libc::FSCONFIG_CMD_CREATE as c_uint, null(), null())?;
            call(libc::syscall(
                libc::SYS_fsmount,
                context,
                libc::FSMOUNT_CLOEXEC,
                fs.attributes,
            ))
        })();
        close(context);
        Ok(made? as RawFd)
    }
}

/// # Safety
/// `key` and `value` must be null or valid strings, as `command` asks.
pub(super) unsafe fn fsconfig(
    context: RawFd,
    command: c_uint,
    key: *const libc::c_char,
    value: *const libc::c_char,
) -> Outcome {
    // SAFETY: see above.
    call(unsafe { libc::syscall(libc::SYS_fsconfig, context, command, key, value, 0) }).map(drop)
}

pub(super) fn attach(mount: RawFd, target: &CString) -> Outcome {
    let to = open_at(target, libc::O_PATH)?;
    // SAFETY: empty static strings and open descriptors.
    let result = call(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount,
            c"".as_ptr(),
            to,
            c"".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH,
        )
    });
    close(to);
    result.map(drop)
}

pub(super) fn attributes(mount: RawFd, set: u64, clear: u64, recursive: bool) -> Outcome {
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: 0,
        userns_fd: 0,
    };
    set_attr(mount, &attr, recursive)
}

pub(super) fn propagation(mount: RawFd, kind: libc::c_ulong, recursive: bool) -> Outcome {
    let attr = libc::mount_attr {
        attr_set: 0,
        attr_clr: 0,
        propagation: kind,
        userns_fd: 0,
    };
    set_attr(mount, &attr, recursive)
}

pub(super) fn set_attr(mount: RawFd, attr: &libc::mount_attr, recursive: bool) -> Outcome {
    let mut flags = libc::AT_EMPTY_PATH as c_uint;
    if recursive {
        flags |= libc::AT_RECURSIVE as c_uint;
    }
    // SAFETY: the struct and its size belong together.
    call(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount,
            c"".as_ptr(),
            flags,
            attr,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Opens a path, refusing magic links on the way.
pub(super) fn open_at(path: &CStr, flags: c_int) -> Result<RawFd, i32> {
    // SAFETY: all-zero is a valid open_how.
    let mut how: libc::open_how = unsafe { zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = if flags & libc::O_CREAT != 0 { 0o644 } else { 0 };
    how.resolve = libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the struct and its size belong together.
    call(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            &how,
            size_of::<libc::open_how>(),
        )
    })
    .map(|fd| fd as RawFd)
}

pub(super) fn change_root(root: RawFd) -> Outcome {
    // SAFETY: an open descriptor and a static string.
    unsafe {
        done(libc::fchdir(root))?;
        done(libc::chroot(c".".as_ptr()))
    }
}

pub(super) fn write_at(directory: RawFd, path: &CStr, bytes: &[u8]) -> Outcome {
    // SAFETY: all-zero is a valid open_how; the struct and its size, the buffer and its length
    // belong together.
    unsafe {
        let mut how: libc::open_how = zeroed();
        how.flags = (libc::O_WRONLY | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        let file = call(libc::syscall(
            libc::SYS_openat2,
            directory,
            path.as_ptr(),
            &how,
            size_of::<libc::open_how>(),
        ))? as RawFd;
        // The files of proc take a value in one piece.
        let written = call(libc::write(file, bytes.as_ptr().cast(), bytes.len()) as c_long);
        close(file);
        written.map(drop)
    }
}
