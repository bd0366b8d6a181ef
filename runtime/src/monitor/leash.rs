//! A monitor in the foreground: it belongs to the process that started it, and ends with that.
//!
//! The leash is a socket, the monitor's standard input. The first thing on it is what to run; then
//! the console is handed over, and it is one more connection to the control socket. When its other
//! end closes, the container is killed.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::protocol::Answer;
use super::terminal::Terminal;
use crate::error::{Result, Tried};
use crate::exec::ExecRequest;
use crate::init::Execution;
use crate::sys::rights;

/// The sender has written it before the monitor starts.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What comes first over the leash.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The command to run instead of init.
    pub(crate) execute: Option<ExecRequest>,
    /// Which of its standard streams come along, in this order; the others are the console.
    pub(crate) streams: Vec<i32>,
}

impl Setup {
    /// Sends it.
    pub(crate) fn send(&self, leash: &UnixStream, streams: &[BorrowedFd<'_>]) -> Result<()> {
        let what = || "write to the monitor".to_owned();
        let mut text = serde_json::to_vec(self)
            .map_err(io::Error::from)
            .tried(what)?;
        text.push(b'\n');
        // Of its own, so that the descriptors come with a message of a known length.
        rights::send(leash, b"!", streams).tried(what)?;
        // As large as a command line: more than a socket may hold before anybody reads.
        let mut leash = leash.try_clone().tried(what)?;
        std::thread::spawn(move || {
            // A monitor that does not read it says why itself.
            let _ = io::Write::write_all(&mut leash, &text);
        });
        Ok(())
    }
}

pub(super) struct Leash {
    stream: UnixStream,
    execution: Option<Execution>,
}

impl Leash {
    /// Takes it, and what comes first.
    pub(super) fn take() -> Result<Leash> {
        let what = || "read what to run in the foreground".to_owned();
        let stdin = io::stdin().as_fd().try_clone_to_owned().tried(what)?;
        let mut stream = UnixStream::from(stdin);
        stream.set_read_timeout(Some(TIMEOUT)).tried(what)?;
        let (_, fds) = rights::receive(&stream, &mut [0]).tried(what)?;
        let mut text = Vec::new();
        let mut part = [0u8; 4096];
        while text.last() != Some(&b'\n') {
            let count = stream.read(&mut part).tried(what)?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).tried(what);
            }
            text.extend_from_slice(&part[..count]);
        }
        let setup: Setup = serde_json::from_slice(&text)
            .map_err(io::Error::from)
            .tried(what)?;
        let streams: Vec<(i32, OwnedFd)> = setup.streams.into_iter().zip(fds).collect();
        let execution = setup.execute.map(|request| Execution { request, streams });
        Ok(Leash { stream, execution })
    }

    /// Hands the console over, and what to run to the monitor.
    pub(super) fn fasten(
        self,
        control: &mut Control,
        console: &mut Terminal,
    ) -> Result<Option<Execution>> {
        let client = control.adopt(self.stream)?;
        let output = console.view(client, control.peer(client))?;
        let fds = [console.master(), output.as_fd()];
        control.tell_with(client, &Answer::Terminal { tty: 0 }, &fds);
        Ok(self.execution)
    }
}
