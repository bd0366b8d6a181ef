//! The first process of a container that runs one command instead of an init.
//!
//! It is the monitor's own child before any `execve`: it waits for what nobody else waits for,
//! passes signals on, and ends with the command, by which the kernel ends all the rest. No program
//! has to lie in the rootfs for that. As in `child`, everything here is async-signal-safe.

use std::ops::Range;
use std::ptr::null;

use libc::{c_int, c_uint};

/// Goes on in a child, and stays behind as its init. `arguments` is where this process's arguments
/// lie: they are the host's business.
pub(super) fn fork_command(arguments: &Range<usize>) -> Result<(), i32> {
    // SAFETY: no pointers.
    unsafe {
        // Until it is another program, nobody inside may look into it or reach its program file.
        call(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0).into())?;
        // Before there is a command: no signal is lost.
        mask(u64::MAX)?;
        // SIGCHLD alone is a fork on every architecture; without CLONE_VM the child has its own
        // copy of the stack.
        let pid = call(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0))?;
        if pid == 0 {
            return mask(0);
        }
        be_first(pid as c_int, arguments)
    }
}

/// # Safety
/// `arguments` are the bounds of this process's argument strings, as the kernel tells them.
unsafe fn be_first(command: c_int, arguments: &Range<usize>) -> ! {
    // SAFETY: the argument strings lie in writable memory of this process; the other calls get
    // pointers to locals or none.
    unsafe {
        libc::memset(
            arguments.start as *mut libc::c_void,
            0,
            arguments.end.saturating_sub(arguments.start),
        );
        libc::prctl(libc::PR_SET_NAME, c"init".as_ptr());
        // What the command closes must be closed.
        libc::syscall(libc::SYS_close_range, 0, c_uint::MAX, 0);
        let all = u64::MAX;
        loop {
            let signal = libc::syscall(
                libc::SYS_rt_sigtimedwait,
                &raw const all,
                null::<libc::siginfo_t>(),
                null::<libc::timespec>(),
                size_of::<u64>(),
            ) as c_int;
            match signal {
                libc::SIGCHLD => reap(command),
                number if number > 0 => {
                    libc::kill(command, passed_on(number));
                }
                _ => {}
            }
        }
    }
}

/// Waits for everything that has ended; ends with the command.
fn reap(command: c_int) {
    let mut status = 0;
    // SAFETY: the status is a local.
    unsafe {
        loop {
            let pid = libc::waitpid(-1, &raw mut status, libc::WNOHANG);
            if pid <= 0 {
                return;
            }
            if pid == command {
                libc::_exit(if libc::WIFSIGNALED(status) {
                    128 + libc::WTERMSIG(status)
                } else {
                    libc::WEXITSTATUS(status)
                });
            }
        }
    }
}

/// What asks an init to halt asks a command to end.
fn passed_on(signal: c_int) -> c_int {
    if signal == libc::SIGPWR || signal == libc::SIGRTMIN() + 3 {
        libc::SIGTERM
    } else {
        signal
    }
}

/// # Safety
/// None; the kernel's set of signals is a number of 64 bits.
unsafe fn mask(set: u64) -> Result<(), i32> {
    // SAFETY: the set is a local of the size passed.
    call(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const set,
            null::<u64>(),
            size_of::<u64>(),
        )
    })
    .map(drop)
}

fn call(result: libc::c_long) -> Result<libc::c_long, i32> {
    if result < 0 {
        // SAFETY: the C library's errno of this thread.
        Err(unsafe { *libc::__errno_location() })
    } else {
        Ok(result)
    }
}
