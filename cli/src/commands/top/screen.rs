//! The terminal while `top` runs, and its restoration.

use std::{io::Write, os::fd::AsFd, time::Instant};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        termios::{self, LocalFlags, SetArg, SpecialCharacterIndices, Termios},
    },
};

use crate::failure::{Failure, Outcome};

// ECMA-48, and xterm's alternate screen.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K\r\n";
const CLEAR_REST: &str = "\x1b[J";

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A key.
    Key(u8),
    /// The window has another size.
    Resized,
    /// A signal, or the end of input.
    Leave,
    /// Nothing came.
    TimeOut,
}

/// A terminal in top's state; as it was before once this is dropped, also in a panic.
pub struct Screen {
    before: Option<Termios>,
    signals: SignalFd,
}

impl Screen {
    /// Only waits and signals: for output that goes elsewhere.
    pub fn without_terminal() -> Outcome<Self> {
        let failed = |errno| Failure::new(format!("cannot prepare for signals: {errno}"));
        let mut wanted = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGWINCH,
        ] {
            wanted.add(signal);
        }
        wanted.thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            before: None,
            signals: SignalFd::with_flags(&wanted, flags).map_err(failed)?,
        })
    }

    /// Takes the terminal: keys arrive at once and unseen, on a screen of its own.
    pub fn open() -> Outcome<Self> {
        let failed = |errno| Failure::new(format!("cannot set up the terminal: {errno}"));
        let mut screen = Self::without_terminal()?;
        let before = termios::tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        // Stopped, it could not give the screen back.
        raw.control_chars[SpecialCharacterIndices::VSUSP as usize] = 0;
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).map_err(failed)?;
        screen.before = Some(before);
        write(ENTER)?;
        Ok(screen)
    }

    /// Shows a text from the top left on, as much of it as there is room for.
    pub fn show(&self, text: &str) -> Outcome {
        let (columns, rows) = sampan_runtime::window_size().unwrap_or((80, 24));
        let (columns, rows) = (usize::from(columns), usize::from(rows));
        let mut all = HOME.to_owned();
        for line in text.lines().take(rows.saturating_sub(1)) {
            all.extend(line.chars().take(columns.saturating_sub(1)));
            all.push_str(CLEAR_LINE);
        }
        all.push_str(CLEAR_REST);
        write(all.as_bytes())
    }

    /// Waits for what comes first.
    pub fn wait(&self, until: Instant) -> Outcome<Event> {
        let stdin = std::io::stdin();
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up: a wait that ends too early would only come back at once.
        let left = left.as_millis().min(i32::MAX as u128 - 1) as i32 + 1;
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if self.before.is_some() {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(Event::TimeOut),
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Event::Resized),
            Err(errno) => return Err(Failure::new(format!("cannot wait for keys: {errno}"))),
        }
        let mut leave = false;
        let mut resized = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match signal.ssi_signo as i32 {
                n if n == Signal::SIGWINCH as i32 => resized = true,
                _ => leave = true,
            }
        }
        if leave || resized {
            return Ok(if leave { Event::Leave } else { Event::Resized });
        }
        let mut key = [0];
        // Past the standard library's buffer: what is in there, poll does not see.
        match nix::unistd::read(stdin.as_fd(), &mut key) {
            Ok(1) => Ok(Event::Key(key[0])),
            // The terminal is gone.
            _ => Ok(Event::Leave),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that is gone needs no restoration.
            let _ = write(LEAVE);
            let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

fn write(bytes: &[u8]) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::new(format!("cannot write to the terminal: {error}")))
}
