//! The monitor's end of its control socket.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::protocol::{Answer, Request};
use crate::error::{Result, Tried};
use crate::sys::rights;

/// More callers than this at once are turned away, and so is a request longer than a line of ours.
const CLIENTS: usize = 64;
const LINE: usize = 256;

pub(super) struct Control {
    listener: UnixListener,
    clients: Vec<Client>,
    next: u64,
}

struct Client {
    id: u64,
    stream: UnixStream,
    received: Vec<u8>,
    /// The container is killed when it is closed.
    leash: bool,
}

impl Control {
    pub(super) fn new(listener: UnixListener) -> Result<Control> {
        listener
            .set_nonblocking(true)
            .tried(|| "set up the control socket".to_owned())?;
        Ok(Control {
            listener,
            clients: Vec::new(),
            next: 0,
        })
    }

    /// Takes a connection of the caller whose end is the container's.
    pub(super) fn adopt(&mut self, stream: UnixStream) -> Result<u64> {
        stream
            .set_nonblocking(true)
            .tried(|| "set up the caller's socket".to_owned())?;
        let id = self.next;
        self.next += 1;
        self.clients.push(Client {
            id,
            stream,
            received: Vec::new(),
            leash: true,
        });
        Ok(id)
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = PollFd<'_>> {
        [self.listener.as_fd()]
            .into_iter()
            .chain(self.clients.iter().map(|client| client.stream.as_fd()))
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
    }

    /// Takes what callers have sent.
    pub(super) fn requests(&mut self) -> Vec<(u64, Request)> {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() < CLIENTS && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client {
                    id: self.next,
                    stream,
                    received: Vec::new(),
                    leash: false,
                });
                self.next += 1;
            }
        }
        let mut requests = Vec::new();
        self.clients.retain_mut(|client| {
            let stays = client.read(&mut requests);
            if !stays && client.leash {
                requests.push((client.id, Request::Kill));
            }
            stays
        });
        requests
    }

    pub(super) fn tell(&mut self, id: u64, answer: &Answer) {
        self.tell_with(id, answer, &[]);
    }

    /// The same, with descriptors.
    pub(super) fn tell_with(&mut self, id: u64, answer: &Answer, fds: &[BorrowedFd<'_>]) {
        self.clients
            .retain_mut(|client| client.id != id || client.write(answer, fds));
    }

    /// The process of a caller, for messages.
    pub(super) fn peer(&self, id: u64) -> i32 {
        let client = self.clients.iter().find(|client| client.id == id);
        client
            .and_then(|client| getsockopt(&client.stream, PeerCredentials).ok())
            .map_or(0, |peer| peer.pid())
    }

    pub(super) fn tell_all(&mut self, answer: &Answer) {
        self.clients.retain_mut(|client| client.write(answer, &[]));
    }
}

impl Client {
    /// Whether to keep it.
    fn read(&mut self, requests: &mut Vec<(u64, Request)>) -> bool {
        let mut buffer = [0u8; LINE];
        match self.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(n) => self.received.extend(&buffer[..n]),
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        }
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(request) => requests.push((self.id, request)),
                Err(_) => return false,
            }
        }
        self.received.len() < LINE
    }

    fn write(&mut self, answer: &Answer, fds: &[BorrowedFd<'_>]) -> bool {
        let Ok(mut line) = serde_json::to_vec(answer) else {
            return false;
        };
        line.push(b'\n');
        // A caller that does not read its few short lines is not waited for.
        rights::send(&self.stream, &line, fds).is_ok()
    }
}
