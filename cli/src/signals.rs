//! Ctrl-C during long work: a wish, not a death.

use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};
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
