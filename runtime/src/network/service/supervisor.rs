//! The process that holds a network's sockets, and keeps a server that answers on them.
//!
//! It reads nothing that a guest sends. What arrives while there is no server waits in the sockets.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use super::control::{self, Status};
use super::place::Place;
use super::resolvers::Resolvers;
use super::server::orders::Orders;
use super::sockets::Endpoints;
use super::supervised::Supervised;
use super::table::Table;
use crate::error::{Error, Result, Tried};
use crate::monitor::own_session;
use crate::signals;

/// The log is begun anew when it is larger.
const LOG_SIZE: u64 = 256 << 10;
/// For a client to say what it wants.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs until it is ended by a signal. The first thing it does is to leave the caller's process;
/// what it says on standard output is whether it answers.
pub(super) fn supervise(directory: &Path, bridge: &str) -> Result<()> {
    let mut report = own_session()?;
    let place = Place::of(directory);
    let begun = (|| {
        let lock = place.run().lock()?;
        let lock = lock.ok_or_else(|| Error::user("it runs already"))?;
        let begun = Supervisor::begin(&place, bridge);
        if begun.is_err() {
            let _ = place.run().remove();
        }
        Ok((lock, begun?))
    })();
    let problem = begun.as_ref().err().map(control::Problem::of);
    // Whoever asked may be gone.
    let _ = serde_json::to_writer(&mut report, &problem).map(|()| report.flush());
    drop(report);
    let (_lock, mut supervisor) = begun?;
    let ended = supervisor.run();
    drop(supervisor);
    ended.and(place.run().remove())
}

struct Supervisor<'a> {
    place: &'a Place,
    bridge: &'a str,
    index: u32,
    namespace: u64,
    signals: SignalFd,
    control: UnixListener,
    resolvers: Resolvers,
    orders: Orders,
    endpoints: Endpoints,
    server: Supervised,
}

impl<'a> Supervisor<'a> {
    fn begin(place: &'a Place, bridge: &'a str) -> Result<Supervisor<'a>> {
        let signals = signals::to_end()?;
        let table = Table::read(&place.table())?;
        let endpoints = Endpoints::of(&table);
        // Before the sockets: of another bridge of this name they would not be.
        let index = index_of(bridge)?;
        let sockets = endpoints.open(bridge)?;
        let resolvers = Resolvers::watch()?;
        let orders = Orders {
            resolvers: resolvers.of(&table),
            table,
        };
        let mut server = Supervised::new(sockets);
        server.order(&orders)?;
        Ok(Supervisor {
            bridge,
            index,
            namespace: network_namespace()?,
            signals,
            control: place.run().listen()?,
            resolvers,
            orders,
            endpoints,
            server,
            place,
        })
    }

    fn run(&mut self) -> Result<()> {
        loop {
            let mut fds = vec![
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.resolvers.fd(), PollFlags::POLLIN),
            ];
            fds.extend(
                self.server
                    .pidfd()
                    .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
            );
            let timeout = match self.server.again() {
                None => PollTimeout::NONE,
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    PollTimeout::try_from(left.as_millis() as u32 + 1).unwrap_or(PollTimeout::MAX)
                }
            };
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e).tried(|| "wait for events".to_owned()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            drop(fds);
            if ready[0] {
                // Only those were asked for that mean the end, and SIGPIPE, which means nothing.
                while let Ok(Some(signal)) = self.signals.read_signal() {
                    if signal.ssi_signo != Signal::SIGPIPE as u32 {
                        return Ok(());
                    }
                }
            }
            if let Some(how) = self.server.look() {
                self.log(&format!("the server has ended: {how}"));
            }
            if ready[2] {
                self.tell_resolvers();
            }
            if self.server.again().is_some_and(|at| at <= Instant::now())
                && let Err(error) = self.server.order(&self.orders)
            {
                self.log(&error.chain());
            }
            if ready[1] {
                self.answer_client();
            }
        }
    }

    /// The host asks others now, perhaps.
    fn tell_resolvers(&mut self) {
        let now = self.resolvers.of(&self.orders.table);
        if now != self.orders.resolvers {
            self.orders.resolvers = now;
            if let Err(error) = self.server.order(&self.orders) {
                self.log(&error.chain());
            }
        }
    }

    fn answer_client(&mut self) {
        let Ok((mut stream, _)) = self.control.accept() else {
            return;
        };
        if !is_request(&mut stream) {
            return;
        }
        let problem = self.apply().err();
        if let Some(error) = &problem {
            self.log(&error.chain());
        }
        let status = Status {
            bridge: self.bridge.to_owned(),
            index: self.index,
            namespace: self.namespace,
            problem: problem.as_ref().map(control::Problem::of),
        };
        // A client that is gone has no use for it.
        let _ = serde_json::to_writer(&stream, &status);
    }

    /// Lets the server answer from the table as it is now.
    fn apply(&mut self) -> Result<()> {
        let table = Table::read(&self.place.table())?;
        let endpoints = Endpoints::of(&table);
        if endpoints != self.endpoints || self.server.is_empty() {
            // The old ones first: an address cannot be bound twice.
            self.server = Supervised::new(Vec::new());
            self.endpoints = endpoints;
            self.server = Supervised::new(self.endpoints.open(self.bridge)?);
        }
        self.orders = Orders {
            resolvers: self.resolvers.of(&table),
            table,
        };
        self.server.order(&self.orders)
    }

    fn log(&self, line: &str) {
        // Both append, so that what is cut off here is no hole.
        if let Ok(file) = File::options().write(true).open(self.place.log())
            && file
                .metadata()
                .is_ok_and(|metadata| metadata.len() > LOG_SIZE)
        {
            let _ = file.set_len(0);
        }
        eprintln!("{line}");
    }
}

fn is_request(stream: &mut UnixStream) -> bool {
    let mut byte = [0];
    stream.set_read_timeout(Some(PATIENCE)).is_ok()
        && stream.set_write_timeout(Some(PATIENCE)).is_ok()
        && std::io::Read::read_exact(stream, &mut byte).is_ok()
        && byte == *control::APPLY
}

/// The interface of this name in the caller's network namespace.
pub(super) fn index_of(bridge: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(bridge).tried(|| format!("find the bridge {bridge}"))
}

pub(super) fn network_namespace() -> Result<u64> {
    std::fs::metadata("/proc/self/ns/net")
        .map(|metadata| metadata.ino())
        .tried(|| "find the network namespace".to_owned())
}
