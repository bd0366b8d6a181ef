//! Detached mounts: `open_tree`, `mount_setattr`, `move_mount`, `fsopen`.

use std::ffi::{CString, c_uint};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null;

use super::plan::FileSystem;
use super::{check, owned};

/// Clones the mount at `path` (a bind mount that is not attached anywhere yet), private: a clone of
/// a shared mount is its peer, and what the guest mounts in a peer appears on the host.
pub(crate) fn open_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let tree = open_tree_at(libc::AT_FDCWD, &path, recursive)?;
    set_propagation(tree.as_fd(), libc::MS_PRIVATE, true)?;
    Ok(tree)
}

/// As [`open_tree`], but a slave: what is mounted there on the host later is seen in the clone.
pub(crate) fn open_slave_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let tree = open_tree_at(libc::AT_FDCWD, &path, recursive)?;
    set_propagation(tree.as_fd(), libc::MS_SLAVE, true)?;
    Ok(tree)
}

/// As [`open_tree`], of an open descriptor.
pub(crate) fn open_tree_fd(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let tree = open_tree_at(fd.as_raw_fd(), c"", recursive)?;
    set_propagation(tree.as_fd(), libc::MS_PRIVATE, true)?;
    Ok(tree)
}

/// Sets how what is mounted below a mount is passed on: one of `MS_PRIVATE`, `MS_SLAVE`,
/// `MS_SHARED`, `MS_UNBINDABLE`.
pub(crate) fn set_propagation(
    mount: BorrowedFd<'_>,
    kind: libc::c_ulong,
    recursive: bool,
) -> io::Result<()> {
    set_attr(
        mount,
        &libc::mount_attr {
            attr_set: 0,
            attr_clr: 0,
            propagation: kind,
            userns_fd: 0,
        },
        recursive,
    )
}

fn open_tree_at(dir: i32, path: &std::ffi::CStr, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC as c_uint;
    if recursive {
        flags |= libc::AT_RECURSIVE as c_uint;
    }
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH as c_uint;
    }
    // SAFETY: a valid string; the result is a fresh descriptor.
    check(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) }).map(owned)
}

/// Sets and clears `MOUNT_ATTR_*` on a mount (and those below it).
pub(crate) fn set_attributes(mount: BorrowedFd<'_>, set: u64, clear: u64) -> io::Result<()> {
    set_attr(
        mount,
        &libc::mount_attr {
            attr_set: set,
            attr_clr: clear,
            propagation: 0,
            userns_fd: 0,
        },
        true,
    )
}

/// Shows the files of a detached mount with the ids of a user namespace.
pub(crate) fn map_ids(
    mount: BorrowedFd<'_>,
    user_namespace: BorrowedFd<'_>,
    recursive: bool,
) -> io::Result<()> {
    set_attr(
        mount,
        &libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_IDMAP,
            attr_clr: 0,
            propagation: 0,
            userns_fd: user_namespace.as_raw_fd() as u64,
        },
        recursive,
    )
}

fn set_attr(mount: BorrowedFd<'_>, attr: &libc::mount_attr, recursive: bool) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH as c_uint;
    if recursive {
        flags |= libc::AT_RECURSIVE as c_uint;
    }
    // SAFETY: the struct and its size belong together.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            attr,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Makes a file system that is not attached anywhere yet.
pub(crate) fn new_file_system(fs: &FileSystem) -> io::Result<OwnedFd> {
    // SAFETY: strings live across the calls; results are fresh descriptors.
    unsafe {
        let context = check(libc::syscall(
            libc::SYS_fsopen,
            fs.kind.as_ptr(),
            libc::FSOPEN_CLOEXEC,
        ))
        .map(owned)?;
        let config = |command: c_uint, key: *const libc::c_char, value: *const libc::c_char| {
            check(libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                command,
                key,
                value,
                0,
            ))
        };
        let set = libc::FSCONFIG_SET_STRING as c_uint;
        // Of most kinds the source is but a name that mountinfo shows.
        if !fs
            .options
            .iter()
            .any(|(key, _)| key.as_c_str() == c"source")
        {
            config(set, c"source".as_ptr(), fs.kind.as_ptr())?;
        }
        for (key, value) in &fs.options {
            match value {
                Some(value) => config(
                    libc::FSCONFIG_SET_STRING as c_uint,
                    key.as_ptr(),
                    value.as_ptr(),
                )?,
                None => config(libc::FSCONFIG_SET_FLAG as c_uint, key.as_ptr(), null())?,
            };
        }
        config(libc::FSCONFIG_CMD_CREATE as c_uint, null(), null())?;
        check(libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            libc::FSMOUNT_CLOEXEC,
            fs.attributes,
        ))
        .map(owned)
    }
}

/// Attaches a detached mount over an open file or directory.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: empty static strings and open descriptors.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH,
        )
    })
    .map(drop)
}
