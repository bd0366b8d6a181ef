//! Talking to a monitor.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::protocol::{Answer, HowEnded, Request, Status};
use crate::container::StopOptions;
use crate::error::{Error, Result, Tried};
use crate::sys::rights;

/// A monitor answers at once; one that does not is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long killing everything and tidying up may take.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// How a container stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stopped {
    /// It halted by itself when asked to.
    Halted,
    /// It was killed, as asked.
    Killed,
    /// It listens to no halt signal and was killed.
    KilledAsItDoesNotListen,
    /// It did not halt in time and was killed.
    KilledAfterTimeout,
}

/// A terminal of the container, handed over.
pub(crate) struct View {
    pub(crate) tty: u32,
    pub(crate) master: OwnedFd,
    /// What the guest shows.
    pub(crate) output: OwnedFd,
}

pub(crate) struct Client {
    stream: BufReader<UnixStream>,
    name: String,
}

impl Client {
    pub(crate) fn new(stream: UnixStream, name: &str) -> Client {
        Client {
            stream: BufReader::new(stream),
            name: name.to_owned(),
        }
    }

    pub(crate) fn status(&mut self) -> Result<Status> {
        self.send(Request::Status)?;
        match self.receive(ANSWER_TIMEOUT)? {
            Received::Answer(Answer::Status(status)) => Ok(status),
            _ => Err(self.silent()),
        }
    }

    pub(crate) fn stop(mut self, options: &StopOptions) -> Result<Stopped> {
        self.send(if options.kill {
            Request::Kill
        } else {
            Request::Stop
        })?;
        let outcome = match self.receive(ANSWER_TIMEOUT)? {
            Received::Answer(Answer::Stopping { signal }) => match signal {
                _ if options.kill => Stopped::Killed,
                None => Stopped::KilledAsItDoesNotListen,
                Some(_) => Stopped::Halted,
            },
            Received::Closed => return Ok(Stopped::Halted),
            _ => return Err(self.silent()),
        };
        let patience = match outcome {
            Stopped::Halted => options.timeout,
            _ => KILL_TIMEOUT,
        };
        if self.until_gone(patience)? {
            return Ok(outcome);
        }
        self.send(Request::Kill)?;
        if self.until_gone(KILL_TIMEOUT)? {
            return Ok(Stopped::KilledAfterTimeout);
        }
        Err(Error::environment(format!(
            "container \"{}\" was killed, but something of it does not go away",
            self.name
        ))
        .with_hint("a process may wait for a device or a network file system: see `ps` and the monitor's log"))
    }

    /// Asks for a terminal: the console (0), a tty, or the first that is free.
    pub(crate) fn view(&mut self, tty: Option<u32>) -> Result<View> {
        self.send(Request::View { tty })?;
        self.receive_view()
    }

    /// Takes a terminal that the monitor hands over.
    pub(crate) fn receive_view(&mut self) -> Result<View> {
        let what = || "read from the monitor".to_owned();
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).tried(what)?;
        // Not through the buffer, which would lose the descriptors; nothing else is on its way.
        let mut buffer = [0u8; 4096];
        let (count, fds) = rights::receive(stream, &mut buffer).tried(what)?;
        let descriptors = <[OwnedFd; 2]>::try_from(fds);
        match (serde_json::from_slice(&buffer[..count]), descriptors) {
            (Ok(Answer::Terminal { tty }), Ok([master, output])) => Ok(View {
                tty,
                master,
                output,
            }),
            (Ok(Answer::Refused { message }), _) => Err(Error::user(format!(
                "container \"{}\": {message}",
                self.name
            ))),
            _ => Err(self.silent()),
        }
    }

    /// After the end of what a terminal showed: whether the monitor ended that session. Otherwise
    /// the container has stopped.
    pub(crate) fn fell_behind(&mut self) -> Result<bool> {
        loop {
            match self.receive(KILL_TIMEOUT)? {
                Received::Answer(Answer::FellBehind) => return Ok(true),
                Received::Closed => return Ok(false),
                Received::TimedOut => return Err(self.silent()),
                Received::Answer(_) => {}
            }
        }
    }

    /// The monitor closes its socket last of all.
    fn until_gone(&mut self, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            match self.receive(deadline.saturating_duration_since(Instant::now()))? {
                Received::Closed => return Ok(true),
                Received::TimedOut => return Ok(false),
                Received::Answer(Answer::Ended(HowEnded::Exited(_) | HowEnded::Signaled(_)))
                | Received::Answer(_) => {}
            }
        }
    }

    fn send(&mut self, request: Request) -> Result<()> {
        let what = || "write to the monitor".to_owned();
        let mut line = serde_json::to_vec(&request)
            .map_err(io::Error::from)
            .tried(what)?;
        line.push(b'\n');
        match self.stream.get_mut().write_all(&line) {
            // It has just ended; reading says so.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.tried(what),
        }
    }

    fn receive(&mut self, patience: Duration) -> Result<Received> {
        let what = || "read from the monitor".to_owned();
        self.stream
            .get_ref()
            .set_read_timeout(Some(patience.max(Duration::from_millis(1))))
            .tried(what)?;
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Ok(Received::Closed),
            Ok(_) => serde_json::from_str(&line)
                .map(Received::Answer)
                .map_err(io::Error::from)
                .tried(what),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                Ok(Received::TimedOut)
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(Received::Closed),
            Err(e) => Err(e).tried(what),
        }
    }

    fn silent(&self) -> Error {
        Error::environment(format!(
            "the monitor of container \"{}\" does not answer",
            self.name
        ))
    }
}

enum Received {
    Answer(Answer),
    TimedOut,
    Closed,
}
