//! Between our own streams and a terminal of a container.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::escape::Escape;
use super::raw::RawInput;
use crate::error::{Result, Tried};
use crate::sys::{standard_stream, tty};

const BLOCK: usize = 1 << 16;

/// What a pipe takes without waiting once it is ready (PIPE_BUF).
const PIECE: usize = 4096;

/// Keys to the guest, its output to us.
pub(crate) struct Relay {
    master: File,
    output: File,
    /// Typed and not yet taken by the guest's terminal.
    typed: Vec<u8>,
    /// Shown and not yet taken by our output.
    shown: Vec<u8>,
    input_open: bool,
    output_open: bool,
    escape: Escape,
    raw: Option<RawInput>,
    /// The number of the stream that shows the output.
    screen: i32,
}

/// What a relay has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// It goes on.
    On,
    /// The person wants to leave.
    Leave,
    /// Whoever reads our output is gone.
    OutputClosed,
    /// The guest's side is closed and all of it is passed on.
    End,
}

impl Relay {
    /// With `input`, our standard input is passed on; a terminal there becomes raw.
    pub(crate) fn begin(
        master: OwnedFd,
        output: OwnedFd,
        input: bool,
        escape: Option<u8>,
        screen: i32,
    ) -> Result<Relay> {
        let what = || "set up the terminal".to_owned();
        for fd in [&master, &output] {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).tried(what)?;
        }
        let raw = if input { RawInput::begin()? } else { None };
        let relay = Relay {
            master: File::from(master),
            output: File::from(output),
            typed: Vec::new(),
            shown: Vec::new(),
            input_open: input,
            output_open: true,
            // What a script writes is the guest's, byte for byte.
            escape: Escape::new(escape.filter(|_| raw.is_some())),
            raw,
            screen,
        };
        relay.resize();
        Ok(relay)
    }

    /// Gives the guest's terminal the size of ours.
    pub(crate) fn resize(&self) {
        for stream in [1, 0, 2].map(standard_stream) {
            // A window without a size is no reason to fail.
            if stream.is_terminal() && tty::copy_window_size(stream, self.master.as_fd()).is_ok() {
                return;
            }
        }
    }

    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let wanted = [
            (
                self.input_open && self.typed.is_empty(),
                standard_stream(0),
                PollFlags::POLLIN,
            ),
            (
                !self.typed.is_empty(),
                self.master.as_fd(),
                PollFlags::POLLOUT,
            ),
            (
                self.output_open && self.shown.is_empty(),
                self.output.as_fd(),
                PollFlags::POLLIN,
            ),
            (
                !self.shown.is_empty(),
                standard_stream(self.screen),
                PollFlags::POLLOUT,
            ),
        ];
        wanted
            .into_iter()
            .filter(|(wanted, ..)| *wanted)
            .map(|(_, fd, events)| PollFd::new(fd, events))
    }

    /// Moves what there is, without waiting.
    pub(crate) fn relay(&mut self) -> Came {
        if !self.show() {
            return Came::OutputClosed;
        }
        if self.read_input() {
            return Came::Leave;
        }
        self.write_typed();
        if !self.output_open && self.shown.is_empty() {
            return Came::End;
        }
        Came::On
    }

    /// The terminal is ours again.
    pub(crate) fn restore(&mut self) {
        self.raw = None;
        self.input_open = false;
    }

    /// Returns whether the person wants to leave.
    fn read_input(&mut self) -> bool {
        if !self.input_open
            || !self.typed.is_empty()
            || !ready(standard_stream(0), PollFlags::POLLIN)
        {
            return false;
        }
        let mut buffer = [0u8; BLOCK];
        match nix::unistd::read(standard_stream(0), &mut buffer) {
            Ok(n) if n > 0 => self.escape.filter(&buffer[..n], &mut self.typed),
            Err(Errno::EINTR | Errno::EAGAIN) => false,
            _ => {
                self.input_open = false;
                false
            }
        }
    }

    fn write_typed(&mut self) {
        while !self.typed.is_empty() {
            match self.master.write(&self.typed) {
                Ok(n) if n > 0 => {
                    self.typed.drain(..n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => return,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // Nobody reads any more.
                Err(_) => self.typed.clear(),
            }
        }
    }

    /// Returns whether our output takes it.
    fn show(&mut self) -> bool {
        if self.shown.is_empty() && self.output_open {
            let mut buffer = [0u8; BLOCK];
            match self.output.read(&mut buffer) {
                Ok(n) if n > 0 => self.shown.extend_from_slice(&buffer[..n]),
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                _ => self.output_open = false,
            }
        }
        let mut done = 0;
        let mut open = true;
        while done < self.shown.len() && ready(standard_stream(self.screen), PollFlags::POLLOUT) {
            let end = self.shown.len().min(done + PIECE);
            match nix::unistd::write(standard_stream(self.screen), &self.shown[done..end]) {
                Ok(n) => done += n,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => {
                    open = false;
                    break;
                }
            }
        }
        self.shown.drain(..done);
        open
    }
}

fn ready(fd: BorrowedFd<'_>, events: PollFlags) -> bool {
    let mut fds = [PollFd::new(fd, events)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0)
}
