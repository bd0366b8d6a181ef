//! The server as its supervisor sees it: started with the sockets, told what is so, started again
//! when it ends.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::server::orders::{OBEYED, Orders};
use super::server::{FIRST_SOCKET, SUPERVISOR};
use crate::error::{Error, Result, Tried};
use crate::idmap::IdRange;
use crate::sandbox::{Sandbox, SandboxProcess};

/// What the server may take. It has 2 MB; a table of 65,534 hosts takes 40.
const MEMORY: u64 = 96 << 20;
/// It obeys within a millisecond. One that does not is stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before it is started again, once it has ended at once: from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// One that has lived this long is no longer one that ends at once.
const SOUND: Duration = Duration::from_secs(60);

/// The words that make this program a server.
pub(super) const COMMAND: [&str; 2] = ["network-service", "serve"];

pub(super) struct Supervised {
    sockets: Vec<(&'static str, OwnedFd)>,
    running: Option<Running>,
    /// When to start it again.
    again: Option<Instant>,
    pause: Duration,
}

struct Running {
    process: SandboxProcess,
    stream: UnixStream,
    since: Instant,
}

impl Supervised {
    /// With the sockets that it will have, not started.
    pub(super) fn new(sockets: Vec<(&'static str, OwnedFd)>) -> Supervised {
        Supervised {
            sockets,
            running: None,
            again: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Tells it what is so, and starts it if it does not run.
    pub(super) fn order(&mut self, orders: &Orders) -> Result<()> {
        let told = match &mut self.running {
            Some(running) => running.order(orders),
            None => self.start().and_then(|mut running| {
                running.order(orders)?;
                self.running = Some(running);
                self.again = None;
                Ok(())
            }),
        };
        if told.is_err() {
            self.fell(Instant::now());
        }
        told
    }

    /// Whether there is nothing to answer on.
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Becomes readable when it has ended.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.process.pidfd())
    }

    /// Looks whether it has ended; returns how.
    pub(super) fn look(&mut self) -> Option<String> {
        let running = self.running.as_mut()?;
        let ended = running.process.try_wait().ok()??;
        self.fell(Instant::now());
        Some(format!("{ended:?}"))
    }

    /// When it is to be started again.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again
    }

    fn fell(&mut self, now: Instant) {
        let sound = self
            .running
            .take()
            .is_some_and(|running| now - running.since >= SOUND);
        if sound {
            self.pause = FIRST_PAUSE;
        }
        self.again = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }

    fn start(&self) -> Result<Running> {
        let (ours, theirs) = UnixStream::pair()
            .and_then(|(ours, theirs)| {
                theirs.set_nonblocking(true)?;
                ours.set_read_timeout(Some(PATIENCE))?;
                ours.set_write_timeout(Some(PATIENCE))?;
                Ok((ours, theirs))
            })
            .tried(|| "make a socket for the server".to_owned())?;
        let copy = |fd: BorrowedFd<'_>| {
            fd.try_clone_to_owned()
                .tried(|| "copy a socket for the server".to_owned())
        };
        let log = copy(std::io::stderr().as_fd())?;
        let ids = IdRange::random_for_build();
        let mut sandbox = Sandbox::new("/proc/self/exe", log, ids);
        sandbox.network = true;
        sandbox.arguments = COMMAND.map(Into::into).to_vec();
        sandbox.fds.push((theirs.into(), SUPERVISOR));
        for (number, (word, socket)) in (FIRST_SOCKET..).zip(&self.sockets) {
            sandbox.arguments.push(word.into());
            sandbox.fds.push((copy(socket.as_fd())?, number));
        }
        if Sandbox::can_limit_memory() {
            sandbox.limit_memory(MEMORY);
        }
        Ok(Running {
            process: sandbox.spawn()?,
            stream: ours,
            since: Instant::now(),
        })
    }
}

impl Running {
    fn order(&mut self, orders: &Orders) -> Result<()> {
        let mut text = serde_json::to_vec(orders)
            .map_err(std::io::Error::from)
            .tried(|| "write to the server".to_owned())?;
        text.push(b'\n');
        let mut answer = [0; OBEYED.len()];
        let obeyed = self
            .stream
            .write_all(&text)
            .and_then(|()| self.stream.read_exact(&mut answer));
        match obeyed {
            Ok(()) if answer == OBEYED => Ok(()),
            _ => Err(
                Error::environment("the server of the network does not answer")
                    .with_hint("its log may tell why: `log` in the service's directory"),
            ),
        }
    }
}
