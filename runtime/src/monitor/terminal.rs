//! The console of a container, and its other terminals.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown};

use super::allowance::Allowance;
use super::log::Log;
use super::viewer::{Fate, Viewer};
use crate::error::{Result, Tried};
use crate::sys::tty;

/// How much of a line that the guest has not ended is kept.
const PROMPT: usize = 1024;

/// A terminal whose output is logged, shown to its viewers, or thrown away.
pub(super) struct Terminal {
    master: File,
    /// Kept open: without any slave the master would report a hang-up for ever.
    slave: OwnedFd,
    log: Option<Log>,
    viewers: Vec<Viewer>,
    /// The end of what was shown since the last line break: a prompt, as a rule. Who comes later
    /// sees it.
    prompt: Vec<u8>,
    allowance: Allowance,
}

impl Terminal {
    /// Opens a pair that belongs to these host ids.
    pub(super) fn open(owner: (u32, u32), log: Option<Log>) -> Result<Terminal> {
        let what = || "open a pseudo terminal".to_owned();
        let (master, slave) = tty::open_pair(Path::new("/dev/ptmx")).tried(what)?;
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).tried(what)?;
        fchown(
            &slave,
            Some(Uid::from_raw(owner.0)),
            Some(Gid::from_raw(owner.1)),
        )
        .tried(what)?;
        fchmod(&slave, Mode::from_bits_truncate(0o620)).tried(what)?;
        Ok(Terminal {
            master,
            slave,
            log,
            viewers: Vec::new(),
            prompt: Vec::new(),
            allowance: Allowance::new(Instant::now()),
        })
    }

    pub(super) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    pub(super) fn slave(&self) -> BorrowedFd<'_> {
        self.slave.as_fd()
    }

    /// Who looks at it.
    pub(super) fn viewers(&self) -> impl Iterator<Item = &Viewer> {
        self.viewers.iter()
    }

    /// Shows it to one more: the end of the pipe that they read.
    pub(super) fn view(&mut self, client: u64, pid: i32) -> Result<OwnedFd> {
        let what = || "open a pipe for a terminal's output".to_owned();
        let (mut viewer, read) = Viewer::new(client, pid).tried(what)?;
        viewer.show(&self.prompt);
        self.viewers.push(viewer);
        Ok(read)
    }

    /// What to wait for: output of the guest, unless a viewer has not yet taken the last or the guest
    /// has written more than it may.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.descriptors_if(self.resumes().is_none())
    }

    fn descriptors_if(&self, read: bool) -> impl Iterator<Item = PollFd<'_>> {
        let read = read && !self.viewers.iter().any(Viewer::waits);
        read.then(|| PollFd::new(self.master(), PollFlags::POLLIN))
            .into_iter()
            .chain(self.viewers.iter().map(Viewer::descriptor))
    }

    /// When to look again even if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.patience().into_iter().chain(self.resumes()).min()
    }

    /// When a viewer is let go that takes nothing.
    fn patience(&self) -> Option<Instant> {
        self.viewers.iter().filter_map(Viewer::deadline).min()
    }

    /// Passes on what has been written, up to a bound: a guest that floods its console must not keep
    /// the monitor from its other work. Returns the clients that were let go.
    pub(super) fn relay(&mut self) -> Vec<u64> {
        let stuck = self.serve();
        let left = self.allowance.left(Instant::now(), self.is_watched());
        if left > 0 {
            let read = self.read(left);
            self.allowance.spend(read);
        }
        stuck
    }

    /// The guest has ended: passes on all that it wrote, which is no more than the kernel's buffer
    /// holds. Waits only for viewers that take it.
    pub(super) fn finish(&mut self) -> Vec<u64> {
        let mut stuck = Vec::new();
        loop {
            stuck.extend(self.serve());
            let read = self.read(u64::MAX);
            self.allowance.spend(read);
            let mut fds: Vec<PollFd<'_>> = self.descriptors_if(true).collect();
            let wait = match self.patience() {
                Some(at) => until(at),
                None => PollTimeout::ZERO,
            };
            // Zero: nothing more comes, or somebody's time is over.
            let nothing = poll(&mut fds, wait).unwrap_or(0) == 0;
            if nothing && self.patience().is_none() {
                return stuck;
            }
        }
    }

    fn is_watched(&self) -> bool {
        !self.viewers.is_empty()
    }

    fn resumes(&self) -> Option<Instant> {
        self.allowance.resumes(self.is_watched())
    }

    /// Takes what there is until so much has been taken, or a little more; returns how much it was.
    fn read(&mut self, enough: u64) -> u64 {
        let mut buffer = [0u8; 16_384];
        let mut count = 0;
        for _ in 0..16 {
            if count >= enough || self.viewers.iter().any(Viewer::waits) {
                break;
            }
            match self.master.read(&mut buffer) {
                Ok(n) if n > 0 => {
                    count += n as u64;
                    self.take(&buffer[..n]);
                }
                _ => break,
            }
        }
        count
    }

    fn serve(&mut self) -> Vec<u64> {
        let mut stuck = Vec::new();
        self.viewers.retain_mut(|viewer| {
            let fate = viewer.serve();
            if fate == Fate::Stuck {
                stuck.push(viewer.client);
            }
            fate == Fate::Stays
        });
        stuck
    }

    fn take(&mut self, bytes: &[u8]) {
        if let Some(log) = &mut self.log
            && let Err(error) = log.write(bytes)
        {
            // The container matters more than its log.
            eprintln!("console log {}: {error}", log.path().display());
            self.log = None;
        }
        for viewer in &mut self.viewers {
            viewer.show(bytes);
        }
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                self.prompt.clear();
                self.prompt.extend_from_slice(&bytes[end + 1..]);
            }
            None => self.prompt.extend_from_slice(bytes),
        }
        let excess = self.prompt.len().saturating_sub(PROMPT);
        self.prompt.drain(..excess);
    }
}

/// The time until then, for poll(2); a little more, so that it is over.
pub(super) fn until(at: Instant) -> PollTimeout {
    let left = at.saturating_duration_since(Instant::now()).as_millis() + 1;
    PollTimeout::try_from(left.min(60_000) as i32).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn seen(read: OwnedFd, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        File::from(read).read_exact(&mut bytes).unwrap();
        bytes
    }

    fn shows(terminal: &mut Terminal, text: &[u8]) {
        let mut slave = File::from(terminal.slave.try_clone().unwrap());
        slave.write_all(text).unwrap();
        terminal.finish();
    }

    #[test]
    fn what_a_guest_wrote_before_its_end_is_passed_on_even_if_it_was_too_much() {
        let ids = (
            nix::unistd::getuid().as_raw(),
            nix::unistd::getgid().as_raw(),
        );
        let mut terminal = Terminal::open(ids, None).unwrap();
        terminal.allowance.spend(u64::MAX);
        let mut slave = File::from(terminal.slave.try_clone().unwrap());
        slave.write_all(b"last words").unwrap();
        assert_eq!(terminal.descriptors().count(), 0, "nothing to wait for");
        assert!(terminal.deadline().is_some(), "but for the time");
        terminal.relay();
        assert!(terminal.prompt.is_empty());
        terminal.finish();
        assert_eq!(terminal.prompt, b"last words");
    }

    #[test]
    fn who_comes_later_sees_the_line_that_waits_for_an_answer() {
        let ids = (
            nix::unistd::getuid().as_raw(),
            nix::unistd::getgid().as_raw(),
        );
        let mut terminal = Terminal::open(ids, None).unwrap();
        shows(&mut terminal, b"welcome\nlogin");
        shows(&mut terminal, b": ");
        let read = terminal.view(1, 1).unwrap();
        let other = terminal.view(2, 2).unwrap();
        shows(&mut terminal, b"x");
        assert_eq!(seen(read, 8), b"login: x");
        assert_eq!(seen(other, 8), b"login: x");
        assert!(terminal.relay().is_empty());
        assert_eq!(terminal.viewers().count(), 0, "both have left");
    }
}
