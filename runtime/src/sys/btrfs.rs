//! The ioctls of btrfs (linux/btrfs.h): subvolumes, snapshots, quota groups.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use super::check;

/// The inode number of every subvolume's root.
pub(crate) const SUBVOLUME_INODE: u64 = 256;

const SUBVOL_CREATE: libc::c_ulong = write_request(14, 4096);
const SNAP_DESTROY: libc::c_ulong = write_request(15, 4096);
const SNAP_CREATE_V2: libc::c_ulong = write_request(23, 4096);
const INO_LOOKUP: libc::c_ulong = read_request(18, 4096) | write_request(18, 4096);
const QUOTA_CTL: libc::c_ulong = read_request(40, 16) | write_request(40, 16);
const QGROUP_LIMIT: libc::c_ulong = read_request(43, 48);
const QUOTA_ENABLE: u64 = 1;
const LIMIT_MAX_REFERENCED: u64 = 1;

/// `_IOW(0x94, number, size)`.
const fn write_request(number: libc::c_ulong, size: libc::c_ulong) -> libc::c_ulong {
    1 << 30 | size << 16 | 0x94 << 8 | number
}

/// `_IOR(0x94, number, size)`.
const fn read_request(number: libc::c_ulong, size: libc::c_ulong) -> libc::c_ulong {
    2 << 30 | size << 16 | 0x94 << 8 | number
}

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct Volume {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct VolumeV2 {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct Lookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_quota_ctl_args`.
#[repr(C)]
struct QuotaControl {
    command: u64,
    status: u64,
}

/// `struct btrfs_ioctl_qgroup_limit_args`.
#[repr(C)]
struct GroupLimit {
    group: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved_referenced: u64,
    reserved_exclusive: u64,
}

/// Makes an empty subvolume.
pub(crate) fn create_subvolume(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut arguments = Volume {
        fd: 0,
        name: fixed(name)?,
    };
    request(parent, SUBVOL_CREATE, &mut arguments)
}

/// Makes a writable snapshot of a subvolume.
pub(crate) fn snapshot(
    source: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> io::Result<()> {
    let mut arguments = VolumeV2 {
        fd: i64::from(source.as_raw_fd()),
        transaction: 0,
        flags: 0,
        unused: [0; 4],
        name: fixed(name)?,
    };
    request(parent, SNAP_CREATE_V2, &mut arguments)
}

/// Removes a subvolume with everything in it; one with subvolumes inside is refused (ENOTEMPTY).
pub(crate) fn destroy_subvolume(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut arguments = Volume {
        fd: 0,
        name: fixed(name)?,
    };
    request(parent, SNAP_DESTROY, &mut arguments)
}

/// Limits what a subvolume may refer to, in bytes. Turns quotas on where they are off: a limit
/// needs them.
pub(crate) fn limit_subvolume(subvolume: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    let mut quota = QuotaControl {
        command: QUOTA_ENABLE,
        status: 0,
    };
    match request(subvolume, QUOTA_CTL, &mut quota) {
        // They are being turned on already.
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
        other => other?,
    }
    let mut lookup = Lookup {
        tree: 0,
        object: SUBVOLUME_INODE,
        name: [0; 4080],
    };
    request(subvolume, INO_LOOKUP, &mut lookup)?;
    let mut limit = GroupLimit {
        group: lookup.tree,
        flags: LIMIT_MAX_REFERENCED,
        max_referenced: bytes,
        max_exclusive: 0,
        reserved_referenced: 0,
        reserved_exclusive: 0,
    };
    request(subvolume, QGROUP_LIMIT, &mut limit)
}

fn request<T>(fd: BorrowedFd<'_>, number: libc::c_ulong, arguments: &mut T) -> io::Result<()> {
    // SAFETY: every caller passes the structure that belongs to the request, whose size is part of
    // the number; the kernel keeps no reference to it.
    check(unsafe {
        libc::c_long::from(libc::ioctl(
            fd.as_raw_fd(),
            number as _,
            std::ptr::from_mut(arguments),
        ))
    })
    .map(drop)
}

/// A name in a fixed array, with the zero byte that ends it.
fn fixed<const N: usize>(name: &OsStr) -> io::Result<[u8; N]> {
    let bytes = name.as_bytes();
    // 255 is the longest name of a directory's entry, and every array is larger.
    if bytes.is_empty() || bytes.len() > 255 || bytes.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut array = [0; N];
    array[..bytes.len()].copy_from_slice(bytes);
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    #[test]
    fn the_structures_have_the_sizes_in_their_requests_numbers() {
        assert_eq!(size_of::<Volume>(), 4096);
        assert_eq!(size_of::<VolumeV2>(), 4096);
        assert_eq!(size_of::<Lookup>(), 4096);
        assert_eq!(size_of::<QuotaControl>(), 16);
        assert_eq!(size_of::<GroupLimit>(), 48);
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        assert!(fixed::<4088>(OsStr::new("")).is_err());
        assert!(fixed::<4088>(OsStr::new(&"x".repeat(256))).is_err());
        assert_eq!(&fixed::<4088>(OsStr::new("ab")).unwrap()[..3], b"ab\0");
    }
}
