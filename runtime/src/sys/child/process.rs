//! What the process itself has: capabilities, signals, cgroups, a loopback interface.

use std::mem::zeroed;
use std::os::fd::RawFd;
use std::ptr::null_mut;

use libc::{c_int, c_long};

use super::{Outcome, call, close, done};

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

pub(super) fn clear_inheritable() -> Outcome {
    // _LINUX_CAPABILITY_VERSION_3 (linux/capability.h); pid 0 is the caller.
    let header = CapabilityHeader {
        version: 0x2008_0522,
        pid: 0,
    };
    let mut data = [CapabilityData {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: the structs have the layout of capset(2), version 3 (two data elements).
    unsafe {
        call(libc::syscall(libc::SYS_capget, &header, data.as_mut_ptr()))?;
        for part in &mut data {
            part.inheritable = 0;
        }
        call(libc::syscall(libc::SYS_capset, &header, data.as_ptr()))?;
        done(libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
            0,
            0,
            0,
        ))
    }
}

/// Handlers of the parent make no sense here, and an ignored SIGPIPE (as Rust programs have it)
/// would be inherited by the new program.
pub(super) fn reset_signals() -> Outcome {
    // SAFETY: all-zero is SIG_DFL with an empty mask; SIGKILL, SIGSTOP and the C library's own two
    // refuse, which is fine.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=64 {
            libc::sigaction(signal, &action, null_mut());
        }
        let mut none: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut none);
        done(libc::sigprocmask(libc::SIG_SETMASK, &none, null_mut()))
    }
}

pub(super) fn loopback_up() -> Outcome {
    // SAFETY: all-zero is a valid ifreq; the ioctls read and write just that struct.
    unsafe {
        let socket =
            call(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0).into())?
                as RawFd;
        let mut request: libc::ifreq = zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        let result = done(libc::ioctl(socket, libc::SIOCGIFFLAGS, &mut request)).and_then(|()| {
            request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
            done(libc::ioctl(socket, libc::SIOCSIFFLAGS, &mut request))
        });
        close(socket);
        result
    }
}

pub(super) fn enter_cgroup(tasks: RawFd) -> Outcome {
    // SAFETY: an open descriptor, and a static string with its length.
    call(unsafe { libc::write(tasks, c"0".as_ptr().cast(), 1) } as c_long).map(drop)
}
