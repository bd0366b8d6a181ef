//! Ctrl-C during long work: a wish, not a death.

use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};
use sampan_plugins::Cancellation;

use crate::failure::{Failure, Outcome};

/// Turns SIGINT, SIGTERM and SIGHUP of this process into a cancellation. Called before any other
/// thread is started, so that all of them leave these signals to this one.
pub fn cancel_on_signals() -> Outcome<Arc<Cancellation>> {
    let failed =
        |error: std::io::Error| Failure::new(format!("cannot prepare for signals: {error}"));
    let cancellation = Arc::new(Cancellation::new().map_err(failed)?);
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals
        .thread_block()
        .map_err(|errno| failed(errno.into()))?;
    let wish = Arc::clone(&cancellation);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            while signals.wait().is_ok() {
                wish.cancel();
            }
        })
        .map_err(failed)?;
    Ok(cancellation)
}
