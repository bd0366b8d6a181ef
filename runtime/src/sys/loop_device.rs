//! Loop devices (linux/loop.h): a file as a block device.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const AUTOCLEAR: u32 = 4;
/// Somebody else may take the free device that the kernel has just named.
const ATTEMPTS: usize = 100;

/// `struct loop_config`.
#[repr(C)]
struct Configuration {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// `struct loop_info64`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// Puts a loop device over an open file: the device and its number. It goes away by itself when the
/// last user closes it, however that one ends.
pub(crate) fn attach(file: BorrowedFd<'_>) -> io::Result<(File, u32)> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    for _ in 0..ATTEMPTS {
        // SAFETY: takes no argument; the result is a number.
        let number = check(unsafe {
            libc::c_long::from(libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _))
        })?;
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/dev/loop{number}"))?;
        let configuration = Configuration {
            fd: file.as_raw_fd() as u32,
            block_size: 0,
            info: Info {
                device: 0,
                inode: 0,
                rdevice: 0,
                offset: 0,
                size_limit: 0,
                number: 0,
                encrypt_type: 0,
                encrypt_key_size: 0,
                flags: AUTOCLEAR,
                file_name: [0; 64],
                crypt_name: [0; 64],
                encrypt_key: [0; 32],
                init: [0; 2],
            },
            reserved: [0; 8],
        };
        // SAFETY: the structure is that of the request, and the kernel only reads it.
        let done = check(unsafe {
            libc::c_long::from(libc::ioctl(
                device.as_raw_fd(),
                LOOP_CONFIGURE as _,
                &raw const configuration,
            ))
        });
        match done {
            Ok(_) => return Ok((device, number as u32)),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Info>(), 232);
        assert_eq!(size_of::<Configuration>(), 304);
    }
}
