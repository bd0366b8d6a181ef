//! Signals as events while something runs; the mask is put back afterwards.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Result, Tried};

/// SIGTERM, SIGINT, SIGHUP, SIGQUIT and SIGWINCH of the thread that asks.
pub(crate) struct Signals {
    events: SignalFd,
    old: SigSet,
}

/// The signals by which a process that lives long is asked to end, and SIGPIPE, which means nothing to
/// it. They stay blocked; children of `std` and of ours begin without that.
pub(crate) fn to_end() -> Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGPIPE,
    ] {
        mask.add(signal);
    }
    let what = || "set up signals".to_owned();
    mask.thread_block().tried(what)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&mask, flags).tried(what)
}

impl Signals {
    pub(crate) fn new() -> Result<Signals> {
        let what = || "set up signals".to_owned();
        let mut mask = SigSet::empty();
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGWINCH,
        ] {
            mask.add(signal);
        }
        let old = mask.thread_swap_mask(SigmaskHow::SIG_BLOCK).tried(what)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        match SignalFd::with_flags(&mask, flags) {
            Ok(events) => Ok(Signals { events, old }),
            Err(e) => {
                let _ = old.thread_set_mask();
                Err(e).tried(what)
            }
        }
    }

    /// Takes the next signal that has arrived.
    pub(crate) fn next(&self) -> Option<i32> {
        match self.events.read_signal() {
            Ok(Some(event)) => Some(event.ssi_signo as i32),
            _ => None,
        }
    }

    /// Takes what has arrived: a signal that means the end, if there is one. The size of the window
    /// is passed on when the command runs.
    pub(crate) fn ending(&self) -> Option<i32> {
        std::iter::from_fn(|| self.next())
            .filter(|signal| *signal != libc::SIGWINCH)
            .last()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.old.thread_set_mask();
    }
}
