//! The monitor's loop: what it waits for while init runs, or until it is started again.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Monitor;
use super::terminal::Terminal;
use crate::error::{Result, Tried};
use crate::sys::pidfd::{self, Ended};

/// How often to look whether an init that boots listens by now.
const BOOT_INTERVAL: Duration = Duration::from_millis(50);
/// How often to look whether everything is frozen. Version 1 tells nobody.
const FREEZE_INTERVAL: Duration = Duration::from_millis(2);

impl Monitor {
    /// Works until init ends; without an init, until that moment, or until the container is to stop:
    /// that is `None`.
    pub(super) fn watch(&mut self, until: Option<Instant>) -> Result<Option<Ended>> {
        loop {
            let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.terminals().flat_map(Terminal::descriptors));
            fds.extend(self.control.descriptors());
            if let Some(init) = &self.init {
                fds.push(PollFd::new(init.pidfd.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, self.patience(until)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e).tried(|| "wait for events".to_owned()),
            }
            let last = fds.last().and_then(PollFd::any).unwrap_or(false);
            let ended = self.init.is_some() && last;
            self.relay_terminals();
            while let Ok(Some(signal)) = self.signals.read_signal() {
                // A host that shuts down asks its containers to halt.
                if signal.ssi_signo as i32 == libc::SIGTERM {
                    self.stop();
                }
            }
            self.answer_requests();
            self.follow_up_halt();
            self.follow_up_kill();
            self.follow_up_freeze();
            match &self.init {
                Some(init) if ended => {
                    return pidfd::wait(init.pidfd.as_fd())
                        .map(Some)
                        .tried(|| "wait for the container's init".to_owned());
                }
                Some(_) => {}
                None if self.stopping || until.is_none_or(|at| Instant::now() >= at) => {
                    return Ok(None);
                }
                None => {}
            }
        }
    }

    fn terminals(&self) -> impl Iterator<Item = &Terminal> {
        [&self.console].into_iter().chain(&self.ttys)
    }

    /// When to look again even if nothing happens.
    fn patience(&self, until: Option<Instant>) -> PollTimeout {
        let terminals = self.terminals().filter_map(Terminal::deadline).min();
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        let waits = [
            until.map(left),
            self.kill_at.map(left),
            terminals.map(left),
            self.unheard.map(|_| BOOT_INTERVAL),
            self.freezing.as_ref().map(|_| FREEZE_INTERVAL),
        ];
        match waits.into_iter().flatten().min() {
            None => PollTimeout::NONE,
            Some(wait) => {
                // Rounded up: a moment too early would be a turn for nothing.
                let milliseconds = wait.as_micros().div_ceil(1000).min(60_000);
                PollTimeout::try_from(milliseconds as i32).unwrap_or(PollTimeout::MAX)
            }
        }
    }
}
