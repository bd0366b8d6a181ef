//! Talking to a monitor.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::protocol::{Answer, Killed, Request, Status};
use crate::container::StopOptions;
use crate::error::{Error, Result, Tried};
use crate::sys::rights;

/// A monitor answers at once; one that does not is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A script of the network may take its time.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(60);
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
    /// It was asked, and may be on its way.
    Asked,
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
        let asked = match self.receive(ANSWER_TIMEOUT)? {
            Received::Answer(Answer::Stopping { signal }) => signal.is_some(),
            Received::Answer(Answer::Ended { killed, .. }) => return Ok(outcome(killed)),
            Received::Closed => return Ok(Stopped::Halted),
            _ => return Err(self.silent()),
        };
        if !options.wait {
            return Ok(Stopped::Asked);
        }
        let patience = if asked { options.timeout } else { KILL_TIMEOUT };
        match self.until_gone(patience)? {
            Some(stopped) => return Ok(stopped),
            None if asked && !options.kill_after => {
                return Err(Error::environment(format!(
                    "container \"{}\" did not halt within {} seconds; it was not killed",
                    self.name,
                    options.timeout.as_secs()
                ))
                .with_hint(format!(
                    "wait for it (sampan wait --state stopped {0}), or kill it: sampan stop --kill {0}",
                    self.name
                )));
            }
            None => {}
        }
        self.send(Request::Kill)?;
        if self.until_gone(KILL_TIMEOUT)?.is_some() {
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
            (Ok(Answer::Refused { message, hint }), _) => {
                Err(self.refused("could not open a terminal of", &message, hint))
            }
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

    /// Asks the guest to reboot, and waits until its init runs again.
    pub(crate) fn reboot(mut self, patience: Duration, wait: bool) -> Result<()> {
        self.send(Request::Reboot)?;
        let deadline = Instant::now() + patience.max(ANSWER_TIMEOUT);
        loop {
            match self.receive(deadline.saturating_duration_since(Instant::now()))? {
                Received::Answer(Answer::Rebooting { .. }) if wait => {}
                Received::Answer(Answer::Rebooting { .. } | Answer::Rebooted) => return Ok(()),
                Received::Answer(Answer::Refused { message, hint }) => {
                    return Err(self.refused("could not reboot", &message, hint));
                }
                Received::Answer(Answer::Ended { exit, .. }) => {
                    return Err(Error::environment(format!(
                        "container \"{}\" stopped instead of rebooting: its init {exit}",
                        self.name
                    ))
                    .with_hint(format!("start it: sampan start {}", self.name)));
                }
                Received::TimedOut => {
                    return Err(Error::environment(format!(
                        "container \"{}\" did not reboot within {} seconds",
                        self.name,
                        patience.as_secs()
                    ))
                    .with_hint(format!("stop and start it: sampan restart {}", self.name)));
                }
                Received::Answer(_) | Received::Closed => return Err(self.silent()),
            }
        }
    }

    /// Freezes everything. `false`: it was frozen.
    pub(crate) fn freeze(mut self, patience: Duration) -> Result<bool> {
        let milliseconds = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.send(Request::Freeze { milliseconds })?;
        match self.receive(patience.saturating_add(ANSWER_TIMEOUT))? {
            Received::Answer(Answer::Frozen { already }) => Ok(!already),
            Received::Answer(Answer::Refused { message, hint }) => {
                Err(self.refused("could not freeze", &message, hint))
            }
            _ => Err(self.silent()),
        }
    }

    /// Lets everything run again. `false`: it was not frozen.
    pub(crate) fn thaw(mut self) -> Result<bool> {
        self.send(Request::Thaw)?;
        match self.receive(ANSWER_TIMEOUT)? {
            Received::Answer(Answer::Thawed { already }) => Ok(!already),
            _ => Err(self.silent()),
        }
    }

    /// Connects a network of its config, or takes it away again.
    pub(crate) fn connect(mut self, network: u32, there: bool) -> Result<()> {
        let (what, request) = match there {
            true => ("could not connect", Request::Connect { network }),
            false => ("could not disconnect", Request::Disconnect { network }),
        };
        self.send(request)?;
        match self.receive(NETWORK_TIMEOUT)? {
            Received::Answer(Answer::Connected) => Ok(()),
            Received::Answer(Answer::Refused { message, hint }) => {
                Err(self.refused(what, &message, hint))
            }
            _ => Err(self.silent()),
        }
    }

    /// The monitor closes its socket last of all. `None`: it has not within that time.
    fn until_gone(&mut self, patience: Duration) -> Result<Option<Stopped>> {
        let deadline = Instant::now() + patience;
        let mut stopped = Stopped::Halted;
        loop {
            match self.receive(deadline.saturating_duration_since(Instant::now()))? {
                Received::Closed => return Ok(Some(stopped)),
                Received::TimedOut => return Ok(None),
                Received::Answer(Answer::Ended { killed, .. }) => stopped = outcome(killed),
                Received::Answer(_) => {}
            }
        }
    }

    pub(crate) fn send(&mut self, request: Request) -> Result<()> {
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

    pub(crate) fn receive(&mut self, patience: Duration) -> Result<Received> {
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

    fn refused(&self, what: &str, message: &str, hint: Option<String>) -> Error {
        let error = Error::environment(format!("{what} container \"{}\": {message}", self.name));
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn silent(&self) -> Error {
        Error::environment(format!(
            "the monitor of container \"{}\" does not answer",
            self.name
        ))
    }
}

fn outcome(killed: Option<Killed>) -> Stopped {
    match killed {
        None => Stopped::Halted,
        Some(Killed::AsAsked) => Stopped::Killed,
        Some(Killed::Deaf) => Stopped::KilledAsItDoesNotListen,
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.get_ref().as_fd()
    }
}

pub(crate) enum Received {
    Answer(Answer),
    TimedOut,
    Closed,
}
