//! A process that gives up everything but the sockets it has, and new ones to ask others.

use std::io;
use std::mem::size_of;

use libc::sock_filter;

use super::check;
use super::seccomp::{
    ARCH, JUMP_EQUAL, JUMP_SET, LOAD, NUMBER, RETURN, SECOND_ARGUMENT, install_filter, jump,
    statement,
};

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// linux/capability.h
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
// Beside the second argument, which the other filters look at too (linux/seccomp.h).
const FIRST_ARGUMENT: u32 = SECOND_ARGUMENT - 8;
const THIRD_ARGUMENT: u32 = SECOND_ARGUMENT + 8;

/// What may be called with whatever arguments. Nothing here takes a path, starts a program or looks
/// at another process.
const CALLS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// From here on this process, which has one thread, can use its descriptors, get memory, and open
/// sockets of the internet families. It has no capabilities and never gets any.
pub(crate) fn to_sockets() -> io::Result<()> {
    // struct __user_cap_header_struct and two of struct __user_cap_data_struct
    let header = [CAPABILITY_VERSION_3, 0];
    let none = [0_u32; 6];
    // SAFETY: the kernel reads the two arrays, which have the sizes of its structs.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
        check(libc::syscall(
            libc::SYS_capset,
            header.as_ptr(),
            none.as_ptr(),
        ))?;
    }
    debug_assert_eq!(size_of::<sock_filter>(), 8);
    install_filter(&filter()).map_err(io::Error::from_raw_os_error)
}

fn filter() -> Vec<sock_filter> {
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let refuse = statement(RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    // Numbers of system calls fit.
    let is = |call: libc::c_long, skip: u8| jump(JUMP_EQUAL, call as u32, 0, skip);
    let mut program = vec![
        statement(LOAD, ARCH),
        jump(JUMP_EQUAL, NATIVE, 1, 0),
        statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        statement(LOAD, NUMBER),
    ];
    for call in CALLS {
        program.extend([is(*call, 1), allow]);
    }
    program.extend([
        is(libc::SYS_socket, 5),
        statement(LOAD, FIRST_ARGUMENT),
        jump(JUMP_EQUAL, libc::AF_INET as u32, 1, 0),
        jump(JUMP_EQUAL, libc::AF_INET6 as u32, 0, 1),
        allow,
        refuse,
        // What the standard library calls to make a socket non-blocking.
        is(libc::SYS_ioctl, 4),
        statement(LOAD, SECOND_ARGUMENT),
        jump(JUMP_EQUAL, libc::FIONBIO as u32, 0, 1),
        allow,
        refuse,
        is(libc::SYS_mmap, 4),
        statement(LOAD, THIRD_ARGUMENT),
        jump(JUMP_SET, libc::PROT_EXEC as u32, 1, 0),
        allow,
        refuse,
        refuse,
    ]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    /// In a thread: the filter, and what is given up, are a thread's.
    fn confined<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(|| {
            to_sockets().unwrap();
            act()
        });
        thread.join().unwrap()
    }

    fn errno<T>(result: io::Result<T>) -> Option<i32> {
        result.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn what_is_confined_opens_no_file_runs_no_program_and_makes_no_other_socket() {
        let refused = confined(|| {
            let kinds = [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET];
            // SAFETY: no pointers but null ones, which are not followed when the call is refused.
            let sockets = kinds.map(|kind| unsafe { libc::socket(kind, libc::SOCK_DGRAM, 0) });
            // SAFETY: as above.
            let others = unsafe {
                [
                    libc::syscall(libc::SYS_execve, 0, 0, 0),
                    libc::syscall(libc::SYS_ptrace, 0, 0, 0),
                    libc::syscall(libc::SYS_mount, 0, 0, 0, 0, 0),
                    libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0),
                    libc::syscall(libc::SYS_kill, 0, 0),
                ]
            };
            (errno(std::fs::File::open("/")), sockets, others)
        });
        assert_eq!(refused, (Some(libc::EPERM), [-1; 3], [-1; 5]));
    }

    #[test]
    fn what_is_confined_asks_and_answers() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let capabilities = confined(move || {
            use nix::sys::socket::*;
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None).unwrap();
            let socket = UdpSocket::from(socket);
            nix::sys::socket::connect(
                std::os::fd::AsRawFd::as_raw_fd(&socket),
                &SockaddrStorage::from(to),
            )
            .unwrap();
            socket.send(b"x").unwrap();
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let much = vec![1_u8; 4 << 20];
            let mut data = [1_u32; 6];
            let header = [CAPABILITY_VERSION_3, 0];
            // SAFETY: arrays of the sizes of the kernel's structs; it is refused here.
            let got =
                unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) };
            (much.len(), got)
        });
        assert_eq!(capabilities, (4 << 20, -1));
        let mut byte = [0];
        assert_eq!(server.recv(&mut byte).unwrap(), 1);
        drop(client);
    }
}
