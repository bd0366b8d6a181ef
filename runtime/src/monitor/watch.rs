//! The monitor's loop: what it waits for while init runs.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::terminal::{Terminal, until};
use super::{Monitor, halt};
use crate::error::{Result, Tried};
use crate::sys::pidfd::{self, Ended};

/// How often to look whether an init that boots listens by now, in milliseconds.
const BOOT_INTERVAL: u8 = 50;

impl Monitor {
    /// Works until init ends.
    pub(super) fn watch(&mut self) -> Result<Ended> {
        loop {
            let mut fds = vec![
                PollFd::new(self.init.pidfd.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            let terminals = || [&self.console].into_iter().chain(&self.ttys);
            fds.extend(terminals().flat_map(Terminal::descriptors));
            fds.extend(self.control.descriptors());
            let deadline = terminals().filter_map(Terminal::deadline).min();
            let patience = match (self.unheard, deadline) {
                (Some(_), _) => PollTimeout::from(BOOT_INTERVAL),
                (None, Some(at)) => until(at),
                (None, None) => PollTimeout::NONE,
            };
            match poll(&mut fds, patience) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e).tried(|| "wait for events".to_owned()),
            }
            let ended = fds[0].any().unwrap_or(false);
            self.relay_terminals();
            while let Ok(Some(signal)) = self.signals.read_signal() {
                // A host that shuts down asks its containers to halt.
                if signal.ssi_signo as i32 == libc::SIGTERM {
                    self.stop();
                }
            }
            self.answer_requests();
            if let Some(signal) = self.unheard
                && halt::is_heard(signal, self.init.pid)
            {
                self.ask_to_halt(signal);
            }
            if ended {
                return pidfd::wait(self.init.pidfd.as_fd())
                    .tried(|| "wait for the container's init".to_owned());
            }
        }
    }
}
