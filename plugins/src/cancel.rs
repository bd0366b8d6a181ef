//! A person's wish to stop, visible to polls and to async code.

use std::{
    io::{PipeReader, PipeWriter, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::PluginError;

/// Set once, from any thread; never taken back.
#[derive(Debug)]
pub struct Cancellation {
    wished: AtomicBool,
    /// Readable once somebody asked: the byte in it is never read.
    reader: PipeReader,
    writer: PipeWriter,
}

impl Cancellation {
    /// One that nobody has set.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Self {
            wished: AtomicBool::new(false),
            reader,
            writer,
        })
    }

    /// Asks for a stop.
    pub fn cancel(&self) {
        if !self.wished.swap(true, Ordering::SeqCst) {
            // The first byte into an empty pipe with an open reader always fits.
            let _ = (&self.writer).write_all(b"!");
        }
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.wished.load(Ordering::SeqCst)
    }

    /// Becomes readable when somebody asks, and stays so.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Waits this long.
    ///
    /// # Errors
    /// [`PluginError::Cancelled`], at once when somebody asks.
    pub(crate) fn wait(&self, time: Duration) -> Result<(), PluginError> {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait is a short one.
        let _ = poll(
            &mut fds,
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX),
        );
        if self.is_cancelled() {
            return Err(PluginError::Cancelled);
        }
        Ok(())
    }

    /// Ends when somebody asks.
    pub(crate) async fn wished(&self) {
        let watched = self.reader.try_clone().and_then(|reader| {
            tokio::net::unix::pipe::Receiver::from_owned_fd(OwnedFd::from(reader))
        });
        match watched {
            Ok(receiver) => drop(receiver.readable().await),
            // It cannot be watched, so the work is not cut short here; the caller's next look at
            // `is_cancelled` ends it.
            Err(_) => std::future::pending().await,
        }
    }
}
