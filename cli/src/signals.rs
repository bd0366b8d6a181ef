//! Ctrl-C during long work: a wish, not a death.

use std::{
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use sampan_plugins::Cancellation;

use crate::failure::{Failure, Outcome};

/// The thread that waits for signals.
pub struct Waiting {
    thread: std::thread::JoinHandle<()>,
}

impl Waiting {
    /// Ends it: from now on signals wait for whoever asks for them next.
    pub fn end(self) {
        if nix::sys::signal::kill(nix::unistd::Pid::this(), END).is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// Ends the thread. Nobody else sends it to this program.
const END: Signal = Signal::SIGUSR1;

/// Turns SIGINT, SIGTERM and SIGHUP of this process into a cancellation. Called before any other
/// thread is started, so that all of them leave these signals to this one.
pub fn cancel_on_signals() -> Outcome<(Arc<Cancellation>, Waiting)> {
    let failed =
        |error: std::io::Error| Failure::new(format!("cannot prepare for signals: {error}"));
    let cancellation = Arc::new(Cancellation::new().map_err(failed)?);
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, END] {
        signals.add(signal);
    }
    signals
        .thread_block()
        .map_err(|errno| failed(errno.into()))?;
    let wish = Arc::clone(&cancellation);
    let thread = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            while signals.wait().is_ok_and(|signal| signal != END) {
                wish.cancel();
            }
        })
        .map_err(failed)?;
    Ok((cancellation, Waiting { thread }))
}

/// Waits this long, or until somebody asks for an end: that is their signal. While no other thread
/// is there.
pub fn sleep(time: Duration) -> Outcome<Option<Signal>> {
    let failed =
        |errno: nix::Error| Failure::new(format!("cannot wait for signals: {}", errno.desc()));
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    let end = Instant::now() + time;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let arrived = SignalFd::with_flags(&signals, flags).map_err(failed)?;
    signals.thread_block().map_err(failed)?;
    let came = loop {
        if let Ok(Some(event)) = arrived.read_signal() {
            break Signal::try_from(event.ssi_signo.cast_signed()).ok();
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break None;
        }
        let mut fds = [PollFd::new(arrived.as_fd(), PollFlags::POLLIN)];
        // Rounded up, and what is longer than it can say waits once more.
        let wait = PollTimeout::try_from(left + Duration::from_millis(1));
        let _ = poll(&mut fds, wait.unwrap_or(PollTimeout::MAX));
    };
    signals.thread_unblock().map_err(failed)?;
    Ok(came)
}
