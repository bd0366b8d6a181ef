//! The child between `clone3` and `execve`.
//!
//! Everything here must be async-signal-safe: no allocation, no lock, no panic. The memory is a
//! copy of a process whose other threads have vanished in the middle of whatever they did. That is
//! also why ids are changed by bare system calls: the C library's functions would try to reach
//! those other threads.

mod mounts;
mod process;
mod program;

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null;

use libc::{c_int, c_long, c_uint};

use self::mounts::{
    attach, attributes, change_root, new_file_system, open_at, propagation, write_at,
};
use self::process::{clear_inheritable, enter_cgroup, loopback_up, reset_signals};
use self::program::{exec, fork, run_program};
use super::plan::{BEFORE_FIRST_STEP, FIRST_PRIVATE_FD, Plan, SLOTS, Source, Step};

/// What the report pipe carries.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Report {
    pub(super) tag: u32,
    pub(super) step: u32,
    pub(super) value: i32,
}

/// A step failed; `value` is the errno.
pub(super) const FAILED: u32 = 1;
/// The child goes on as another process; `value` is its pid.
pub(super) const FORKED: u32 = 2;
/// The next call is `execve`. A pipe that closes without this was closed by the child's death.
pub(super) const EXECUTING: u32 = 3;

/// The child waits for another go.
pub(super) const PAUSED: u32 = 4;
/// A program of the plan failed; `value` is its status of wait(2), or [`TOO_LONG`].
pub(super) const PROGRAM_FAILED: u32 = 5;
/// No status of wait(2).
pub(super) const TOO_LONG: i32 = -1;
/// keyctl(2), which libc does not have.
const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;

/// The exit status of a child that could not start its program. Never seen by users.
const EXIT_FAILED: c_int = 127;

type Outcome = Result<(), i32>;

/// Runs the plan. Never returns.
pub(super) fn run(plan: &Plan) -> ! {
    // Our copies of the parent's ends: with them open, the parent's death would go unnoticed.
    close(plan.go_parent.as_raw_fd());
    close(plan.report_read.as_raw_fd());
    let report = plan.report_write.as_raw_fd();
    // All that the plan needs was moved above. What others opened must not be held open here while
    // we wait: a file being written could not be executed, a pipe would not end.
    // SAFETY: no pointers; an error (an old kernel) leaves the descriptors to close-on-exec.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, FIRST_PRIVATE_FD - 1, 0);
    }
    if let Err(errno) = reset_signals() {
        fail(report, BEFORE_FIRST_STEP, errno);
    }
    let mut slots = [-1; SLOTS];
    let mut at = 0;
    while let Some(entry) = plan.entries.get(at) {
        let outcome = match &entry.step {
            Step::Run(program) => match run_program(program, &slots) {
                Ok(0) => Ok(()),
                Ok(status) => {
                    send(report, PROGRAM_FAILED, at as u32, status);
                    // SAFETY: ends this process only.
                    unsafe { libc::_exit(EXIT_FAILED) }
                }
                Err(errno) => Err(errno),
            },
            step => execute(step, &mut slots, plan),
        };
        match outcome {
            Ok(()) => at += 1,
            Err(errno) => match entry.skip {
                Some(further) => at += further,
                None => fail(report, at as u32, errno),
            },
        }
    }
    fail(report, at as u32, libc::ENOEXEC)
}

fn execute(step: &Step, slots: &mut [RawFd; SLOTS], plan: &Plan) -> Outcome {
    // SAFETY: (for every call below) pointers come from CStrings, slices and local structs that
    // live across the call; sizes are those of the objects passed.
    unsafe {
        match step {
            Step::EnterCgroup(tasks) => enter_cgroup(*tasks),
            Step::WaitForGo => wait_for_go(plan.go_child.as_raw_fd(), slots),
            Step::PrivateMounts => done(libc::mount(
                null(),
                c"/".as_ptr(),
                null(),
                libc::MS_REC | libc::MS_PRIVATE,
                null(),
            )),
            Step::NewFileSystem(fs, slot) => put(slots, *slot, new_file_system(fs)?),
            Step::Mount(fs, target) => {
                let fd = new_file_system(fs)?;
                let result = attach(fd, target);
                close(fd);
                result
            }
            Step::Attach(source, target) => attach(resolve(source, slots)?, target),
            Step::CloneTree {
                path,
                recursive,
                slot,
            } => {
                let from = open_at(path, libc::O_PATH)?;
                let mut flags = libc::OPEN_TREE_CLONE
                    | libc::OPEN_TREE_CLOEXEC as c_uint
                    | libc::AT_EMPTY_PATH as c_uint;
                if *recursive {
                    flags |= libc::AT_RECURSIVE as c_uint;
                }
                let tree = call(libc::syscall(
                    libc::SYS_open_tree,
                    from,
                    c"".as_ptr(),
                    flags,
                ));
                close(from);
                put(slots, *slot, tree? as RawFd)
            }
            Step::SlotAttributes { slot, set, clear } => {
                attributes(resolve(&Source::Slot(*slot), slots)?, *set, *clear, true)
            }
            Step::SlotPropagation {
                slot,
                kind,
                recursive,
            } => propagation(resolve(&Source::Slot(*slot), slots)?, *kind, *recursive),
            Step::PathAttributes {
                path,
                set,
                clear,
                recursive,
            } => {
                let fd = open_at(path, libc::O_PATH)?;
                let result = attributes(fd, *set, *clear, *recursive);
                close(fd);
                result
            }
            Step::PivotRoot(path) => {
                done(libc::chdir(path.as_ptr()))?;
                call(libc::syscall(
                    libc::SYS_pivot_root,
                    c".".as_ptr(),
                    c".".as_ptr(),
                ))?;
                // The old root now lies over the new one: pivot_root(2), "pivot_root(".", ".")".
                done(libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
                done(libc::chdir(c"/".as_ptr()))
            }
            Step::Mkdir(parent, name, mode) => {
                let dir = open_at(parent, libc::O_PATH | libc::O_DIRECTORY)?;
                let result = done(libc::mkdirat(dir, name.as_ptr(), *mode));
                close(dir);
                allow(result, libc::EEXIST)
            }
            Step::CreateFile(path) => match open_at(path, libc::O_PATH) {
                Ok(fd) => {
                    close(fd);
                    Ok(())
                }
                Err(libc::ENOENT) => {
                    let fd = open_at(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)?;
                    close(fd);
                    Ok(())
                }
                Err(errno) => Err(errno),
            },
            Step::Symlink { target, path } => allow(
                done(libc::symlink(target.as_ptr(), path.as_ptr())),
                libc::EEXIST,
            ),
            Step::Chdir(path) => done(libc::chdir(path.as_ptr())),
            Step::Chroot(path) => done(libc::chroot(path.as_ptr())),
            Step::SetHostname(name) => {
                done(libc::sethostname(name.as_ptr(), name.as_bytes().len()))
            }
            Step::LoopbackUp => loopback_up(),
            Step::Unshare(flags) => done(libc::unshare(*flags)),
            Step::Setns(fd, flags) => done(libc::setns(*fd, *flags)),
            Step::ForkIntoPidNamespace => {
                fork(plan.report_write.as_raw_fd())?;
                // The parent must know of us before we do anything that lasts.
                wait_for_go(plan.go_child.as_raw_fd(), slots)
            }
            Step::ForkCommand { arguments } => super::first::fork_command(arguments),
            Step::SetIds { uid, gid, groups } => {
                call(libc::syscall(
                    libc::SYS_setgroups,
                    groups.len(),
                    groups.as_ptr(),
                ))?;
                call(libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid))?;
                call(libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid))?;
                Ok(())
            }
            Step::Setsid => done(libc::setsid()),
            Step::ControllingTty(fd) => done(libc::ioctl(*fd, libc::TIOCSCTTY, 0)),
            Step::Dup2(from, to) => done(libc::dup2(*from, *to)),
            Step::StandardStreams(path) => {
                let fd = open_at(path, libc::O_RDWR | libc::O_NOCTTY)?;
                for stream in 0..=2 {
                    done(libc::dup2(fd, stream))?;
                }
                Ok(())
            }
            Step::CloseOnExecFrom(first) => call(libc::syscall(
                libc::SYS_close_range,
                *first,
                c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            ))
            .map(drop),
            Step::DropBoundingCapability(number) => {
                done(libc::prctl(libc::PR_CAPBSET_DROP, *number, 0, 0, 0))
            }
            Step::ClearInheritable => clear_inheritable(),
            Step::NoNewPrivileges => done(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
            Step::NewSessionKeyring => {
                let joined = call(libc::syscall(
                    libc::SYS_keyctl,
                    KEYCTL_JOIN_SESSION_KEYRING,
                    null::<libc::c_char>(),
                ));
                // A kernel without keys.
                allow(joined.map(drop), libc::ENOSYS)
            }
            Step::HideFromGuest => done(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0)),
            Step::Seccomp(filter) => super::seccomp::install_filter(filter),
            Step::Umask(mask) => {
                libc::umask(*mask);
                Ok(())
            }
            Step::DieWithParent => {
                done(libc::prctl(
                    libc::PR_SET_PDEATHSIG,
                    libc::SIGKILL as libc::c_ulong,
                    0,
                    0,
                    0,
                ))?;
                // The parent may have died just before; then its end of the socket is closed.
                let mut poll = libc::pollfd {
                    fd: plan.go_child.as_raw_fd(),
                    events: libc::POLLIN,
                    revents: 0,
                };
                if libc::poll(&mut poll, 1, 0) > 0 && poll.revents & libc::POLLHUP != 0 {
                    libc::_exit(EXIT_FAILED);
                }
                Ok(())
            }
            Step::KeepRoot(slot) => {
                let root = open_at(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
                put(slots, *slot, root)
            }
            Step::ReturnToRoot(slot) => change_root(resolve(&Source::Slot(*slot), slots)?),
            Step::WriteAt(directory, path, bytes) => {
                write_at(resolve(directory, slots)?, path, bytes)
            }
            Step::Pause => {
                send(plan.report_write.as_raw_fd(), PAUSED, 0, 0);
                wait_for_go(plan.go_child.as_raw_fd(), &mut [-1; SLOTS])
            }
            // Its outcome is not only an errno: see `run`.
            Step::Run(_) => Err(libc::EINVAL),
            Step::Exec(program) => {
                send(plan.report_write.as_raw_fd(), EXECUTING, 0, 0);
                Err(exec(program))
            }
        }
    }
}

fn wait_for_go(socket: RawFd, slots: &mut [RawFd; SLOTS]) -> Outcome {
    let mut byte = 0u8;
    // u64 for the alignment that cmsghdr needs.
    let mut control = [0u64; 16];
    // SAFETY: the message header points at live buffers of the stated sizes; the kernel fills the
    // control buffer with well-formed headers, which the CMSG macros walk within its length.
    unsafe {
        let mut part = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        loop {
            let got = libc::recvmsg(socket, &mut message, libc::MSG_CMSG_CLOEXEC);
            if got > 0 {
                break;
            }
            if got == 0 {
                // The parent gave up, and says why itself.
                libc::_exit(EXIT_FAILED);
            }
            if last_errno() != libc::EINTR {
                return Err(last_errno());
            }
        }
        let header = libc::CMSG_FIRSTHDR(&message);
        if !header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS {
            let bytes = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
            let data = libc::CMSG_DATA(header).cast::<c_int>();
            for (index, slot) in slots
                .iter_mut()
                .enumerate()
                .take(bytes / size_of::<c_int>())
            {
                *slot = data.add(index).read_unaligned();
            }
        }
    }
    Ok(())
}

fn resolve(source: &Source, slots: &[RawFd; SLOTS]) -> Result<RawFd, i32> {
    match source {
        Source::Fd(fd) => Ok(*fd),
        Source::Slot(slot) => match slots.get(*slot) {
            Some(fd) if *fd >= 0 => Ok(*fd),
            _ => Err(libc::EBADF),
        },
    }
}

fn put(slots: &mut [RawFd; SLOTS], slot: usize, fd: RawFd) -> Outcome {
    match slots.get_mut(slot) {
        Some(place) => {
            if *place >= 0 {
                close(*place);
            }
            *place = fd;
            Ok(())
        }
        None => Err(libc::EBADF),
    }
}

fn fail(report: RawFd, step: u32, errno: i32) -> ! {
    send(report, FAILED, step, errno);
    // SAFETY: ends this process only.
    unsafe { libc::_exit(EXIT_FAILED) }
}

fn send(report: RawFd, tag: u32, step: u32, value: i32) {
    let message = Report { tag, step, value };
    // SAFETY: a plain struct of twelve bytes, written in one piece (less than PIPE_BUF).
    unsafe {
        libc::write(report, (&raw const message).cast(), size_of::<Report>());
    }
}

fn close(fd: RawFd) {
    // SAFETY: only descriptors of this process, which nobody uses afterwards.
    unsafe {
        libc::close(fd);
    }
}

fn allow(outcome: Outcome, errno: i32) -> Outcome {
    match outcome {
        Err(e) if e == errno => Ok(()),
        other => other,
    }
}

fn done(result: c_int) -> Outcome {
    call(c_long::from(result)).map(drop)
}

fn call(result: c_long) -> Result<c_long, i32> {
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(result)
    }
}

fn last_errno() -> i32 {
    // SAFETY: the C library's errno of this thread.
    unsafe { *libc::__errno_location() }
}
