//! Somebody who looks at a terminal: the output goes to them through a pipe.
//!
//! A viewer that takes something now and then slows the guest down, as a slow terminal does, and
//! loses no byte. One that takes nothing at all is let go: a stuck viewer must not hold a guest.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a viewer may take nothing while there is something for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the pipe should hold; where the system's limits forbid that, it holds less.
const PIPE_SIZE: i32 = 1 << 20;

pub(super) struct Viewer {
    /// The caller on the control socket, and its process.
    pub(super) client: u64,
    pub(super) pid: i32,
    pipe: File,
    /// Shown by the guest and not yet taken; while there is some, the guest is not read from.
    pending: Vec<u8>,
    taken_at: Instant,
}

/// What became of a viewer.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Fate {
    Stays,
    Left,
    /// It took nothing for too long.
    Stuck,
}

impl Viewer {
    /// A viewer, and the end of the pipe that it reads.
    pub(super) fn new(client: u64, pid: i32) -> io::Result<(Viewer, OwnedFd)> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        let viewer = Viewer {
            client,
            pid,
            pipe: File::from(write),
            pending: Vec::new(),
            taken_at: Instant::now(),
        };
        Ok((viewer, read))
    }

    pub(super) fn descriptor(&self) -> PollFd<'_> {
        let events = if self.waits() {
            PollFlags::POLLOUT
        } else {
            // Only the end of the reader.
            PollFlags::empty()
        };
        PollFd::new(self.pipe.as_fd(), events)
    }

    /// Whether there is something that it has not taken.
    pub(super) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When it is let go unless it takes something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waits().then(|| self.taken_at + PATIENCE)
    }

    pub(super) fn show(&mut self, bytes: &[u8]) {
        if !self.waits() {
            self.taken_at = Instant::now();
        }
        self.pending.extend_from_slice(bytes);
        // How it went is seen by the next `serve`.
        let _ = self.write();
    }

    /// Gives it what it takes, without waiting.
    pub(super) fn serve(&mut self) -> Fate {
        if self.waits() && self.write().is_err() || self.is_gone() {
            return Fate::Left;
        }
        match self.deadline() {
            Some(at) if Instant::now() >= at => Fate::Stuck,
            _ => Fate::Stays,
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while self.waits() {
            match self.pipe.write(&self.pending) {
                Ok(n) => {
                    self.pending.drain(..n);
                    self.taken_at = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::empty())];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_viewer_that_reads_gets_everything_and_one_that_closes_has_left() {
        let (mut viewer, read) = Viewer::new(1, 1).unwrap();
        let mut read = File::from(read);
        let block: Vec<u8> = (0..3 << 20).map(|n: u32| n as u8).collect();
        viewer.show(&block);
        assert!(viewer.waits(), "the pipe cannot hold all of it");
        let mut seen = Vec::new();
        let mut part = vec![0; 1 << 16];
        while seen.len() < block.len() {
            let n = read.read(&mut part).unwrap();
            seen.extend_from_slice(&part[..n]);
            assert_eq!(viewer.serve(), Fate::Stays);
        }
        assert!(seen == block);
        assert!(!viewer.waits());
        drop(read);
        assert_eq!(viewer.serve(), Fate::Left);
    }

    #[test]
    fn a_viewer_that_takes_nothing_is_let_go() {
        let (mut viewer, _read) = Viewer::new(1, 1).unwrap();
        viewer.show(&vec![b'x'; 4 << 20]);
        assert_eq!(viewer.serve(), Fate::Stays);
        viewer.taken_at = Instant::now() - PATIENCE;
        assert_eq!(viewer.serve(), Fate::Stuck);
    }
}
