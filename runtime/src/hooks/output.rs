//! What hooks write: to the monitor's log, and its end into the error of one that failed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::{Error, Result, Tried};

/// How much of the end an error quotes, in bytes.
const TAIL: usize = 400;

/// A pipe for hooks to write to. They get no descriptor of the log itself: those that run inside
/// are the guest's programs.
pub(crate) struct Output {
    read: File,
    /// Kept, so that the pipe has no end that would wake up the reader for ever.
    write: OwnedFd,
    log: File,
    tail: Vec<u8>,
}

impl Output {
    pub(crate) fn new(log: &Path) -> Result<Output> {
        let what = || "open a pipe for the output of hooks".to_owned();
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).tried(what)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).tried(what)?;
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(log)
            .tried(|| format!("open the log {}", log.display()))?;
        Ok(Output {
            read: File::from(read),
            write,
            log,
            tail: Vec::new(),
        })
    }

    /// For the program.
    pub(crate) fn write_end(&self) -> &OwnedFd {
        &self.write
    }

    pub(crate) fn read_end(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// Forgets what was written so far, for the next hook's error.
    pub(crate) fn begin(&mut self) {
        self.take();
        self.tail.clear();
    }

    /// Takes what is there, up to a bound: a hook that floods its output must not keep the monitor
    /// from seeing its time limit.
    pub(crate) fn take(&mut self) {
        let mut buffer = [0u8; 16_384];
        for _ in 0..16 {
            match self.read.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(n) => {
                    // A full disk is no reason to fail a start.
                    let _ = self.log.write_all(&buffer[..n]);
                    self.tail.extend_from_slice(&buffer[..n]);
                    let surplus = self.tail.len().saturating_sub(TAIL);
                    self.tail.drain(..surplus);
                }
            }
        }
    }

    /// The error of a hook, with its last words as the cause.
    pub(crate) fn explain(&mut self, error: Error) -> Error {
        self.take();
        match last_words(&self.tail) {
            words if words.is_empty() => error.with_hint("it wrote nothing"),
            words => error.with_hint(format!("its last words: {words}")),
        }
    }
}

/// The last lines, on one and without control characters.
fn last_words(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_hook_wrote_the_last_three_lines_are_quoted_without_control_characters() {
        assert_eq!(
            last_words(b"one\ntwo\n\nthree\x1b[31m\nfour\r\n"),
            "two / three[31m / four"
        );
        assert_eq!(last_words(b"\n"), "");
    }

    #[test]
    fn all_of_it_is_logged_and_no_more_than_the_end_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut output = Output::new(&path).unwrap();
        let mut writer = File::from(output.write_end().try_clone().unwrap());
        for _ in 0..40 {
            writer.write_all(&[b'x'; 1000]).unwrap();
        }
        output.take();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 40_000);
        assert_eq!(output.tail.len(), TAIL);
    }
}
