//! Sessions on a container's console and its other terminals.
//!
//! The monitor hands over the terminal's master, for keys and the window's size, and a pipe with
//! what the guest shows. So what a person types does not pass through the monitor, and everybody
//! who looks at a console sees all of it.

mod escape;
mod follow;
mod raw;
pub(crate) mod relay;

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use self::follow::LogReader;
use self::relay::{Came, Relay};
use crate::container::{Container, must_be_root};
use crate::error::{Error, Result, Tried};
use crate::signals::Signals;

/// Which terminal of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tty {
    /// The console, which any number of sessions share.
    #[default]
    Console,
    /// `/dev/ttyN`, from 1 on; for one session at a time.
    Number(u32),
    /// The first `/dev/ttyN` that nobody uses.
    Free,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The person left, or whoever read the output did.
    Left,
    /// The container stopped.
    Stopped,
    /// By this signal to this process.
    Signaled(i32),
}

impl Container {
    /// Passes on this process's standard input to a terminal of the container, and what is shown
    /// there to its standard output, until the container stops or the person leaves: with
    /// `escape`, a byte, followed by `q`. That key is looked for only where standard input is a
    /// terminal. The end of the input does not end the session.
    ///
    /// `begun` is called with the terminal's number (0: the console) before the terminal becomes
    /// raw; it is as before when this returns. SIGTERM, SIGINT, SIGHUP and SIGQUIT end the session:
    /// call this from the main thread, with these not handled elsewhere.
    ///
    /// # Errors
    /// [`Reason::NotRunning`](crate::Reason::NotRunning); the terminal does not exist or is in use;
    /// the output was not read for so long that the monitor ended the session.
    pub fn console(
        &self,
        tty: Tty,
        escape: Option<u8>,
        begun: impl FnOnce(u32),
    ) -> Result<SessionEnd> {
        must_be_root("open a container's console")?;
        let mut client = self.client()?;
        let number = match tty {
            Tty::Console => Some(0),
            Tty::Number(number) => Some(number),
            Tty::Free => None,
        };
        let view = client.view(number)?;
        // Before the terminal is raw, so that it becomes as before whatever comes.
        let signals = Signals::new()?;
        begun(view.tty);
        let mut relay = Relay::begin(view.master, view.output, true, escape, 1)?;
        loop {
            let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            fds.extend(relay.poll_fds());
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e).tried(|| "wait for the terminal".to_owned()),
            }
            while let Some(signal) = signals.next() {
                if signal != libc::SIGWINCH {
                    return Ok(SessionEnd::Signaled(signal));
                }
                relay.resize();
            }
            match relay.relay() {
                Came::On => {}
                Came::Leave | Came::OutputClosed => return Ok(SessionEnd::Left),
                Came::End => break,
            }
        }
        relay.restore();
        if client.fell_behind()? {
            return Err(Error::environment(format!(
                "the session on container \"{}\" was ended, as nothing of its output was read for too long",
                self.name()
            ))
            .with_hint(format!(
                "the console's log has all of it: sampan logs {}",
                self.name()
            )));
        }
        Ok(SessionEnd::Stopped)
    }
}
