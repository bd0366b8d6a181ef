//! Becoming another process, or another program.

use std::mem::{size_of, zeroed};
use std::os::fd::RawFd;

use super::mounts::change_root;
use super::{EXIT_FAILED, FORKED, Outcome, TOO_LONG, call, close, done, last_errno, resolve, send};
use crate::sys::plan::{Exec, Program, SLOTS, Source};

/// Runs a program in a session of its own; returns its status of wait(2).
pub(super) fn run_program(program: &Program, slots: &[RawFd; SLOTS]) -> Result<i32, i32> {
    let root = match program.root {
        Some(slot) => Some(resolve(&Source::Slot(slot), slots)?),
        None => None,
    };
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid clone_args; without CLONE_VM the child has its own copy of the
    // stack and goes on as a fork does. Of it, too, only system calls are asked.
    unsafe {
        let mut args: libc::clone_args = zeroed();
        args.flags = libc::CLONE_PIDFD as u64;
        args.pidfd = (&raw mut pidfd) as u64;
        args.exit_signal = libc::SIGCHLD as u64;
        let pid = call(libc::syscall(
            libc::SYS_clone3,
            &args,
            size_of::<libc::clone_args>(),
        ))? as libc::pid_t;
        if pid == 0 {
            let ready = done(libc::setsid())
                .and_then(|()| root.map_or(Ok(()), change_root))
                .and_then(|()| done(libc::dup2(program.output, 1)))
                .and_then(|()| done(libc::dup2(program.output, 2)));
            if ready.is_ok() {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                exec(&program.exec);
            }
            libc::_exit(EXIT_FAILED);
        }
        let mut poll = libc::pollfd {
            fd: pidfd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut ready = libc::poll(&mut poll, 1, program.limit);
        while ready < 0 && last_errno() == libc::EINTR {
            ready = libc::poll(&mut poll, 1, program.limit);
        }
        close(pidfd);
        if ready == 0 {
            // Its session, which has its number, and itself if it did not get that far.
            libc::kill(-pid, libc::SIGKILL);
            libc::kill(pid, libc::SIGKILL);
        }
        let mut status = 0;
        while libc::waitpid(pid, &mut status, 0) < 0 {
            if last_errno() != libc::EINTR {
                return Err(last_errno());
            }
        }
        Ok(if ready == 0 { TOO_LONG } else { status })
    }
}

pub(super) fn exec(program: &Exec) -> i32 {
    let mut answer = libc::ENOENT;
    for path in &program.candidates {
        // SAFETY: both arrays end with null and point into strings that the plan owns.
        unsafe {
            libc::execve(
                path.as_ptr(),
                program.argv.as_ptr(),
                program.environment.as_ptr(),
            );
        }
        match last_errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            // As execvp(3): remember it, a later directory may have a usable one.
            libc::EACCES => answer = libc::EACCES,
            errno => return errno,
        }
    }
    answer
}

pub(super) fn fork(report: RawFd) -> Outcome {
    // SAFETY: all-zero is a valid clone_args; without CLONE_VM the child has its own copy of the
    // stack and goes on as a fork does.
    unsafe {
        let mut args: libc::clone_args = zeroed();
        // A sibling, so that the caller can wait for it. Its exit signal is ours (clone(2)).
        args.flags = libc::CLONE_PARENT as u64;
        let pid = call(libc::syscall(
            libc::SYS_clone3,
            &args,
            size_of::<libc::clone_args>(),
        ))?;
        if pid > 0 {
            send(report, FORKED, 0, pid as i32);
            libc::_exit(0);
        }
    }
    Ok(())
}
