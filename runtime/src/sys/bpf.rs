//! bpf(2): loading a device program and attaching it to a cgroup.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{check, owned};

// linux/bpf.h, which libc does not have.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Programs above and below in the tree count too: all of them must agree.
const ALLOW_MULTI: u32 = 2;

/// The programs here call no helper, so no licence is asked of them.
const LICENCE: &CStr = c"MIT OR Apache-2.0";

/// One instruction: `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// The destination in the low, the source in the high four bits.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zero.
#[repr(C)]
struct LoadAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Lets a program decide which devices the processes of a cgroup may use. It lives as long as the
/// cgroup.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: &[Instruction],
) -> io::Result<()> {
    let program = load(program)?;
    let attributes = AttachAttributes {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &attributes).map(drop)
}

/// Loads a program that decides about devices, which may be all that was to be tried.
pub(crate) fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = LoadAttributes {
        kind: TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        licence: LICENCE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    bpf(PROG_LOAD, &attributes).map(owned)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads the attributes, whose size is given, and what they point to: both
    // outlive the call. It writes nothing, as no log is asked for.
    check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    })
}
