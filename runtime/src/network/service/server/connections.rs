//! Guests that ask over a connection: for answers that are too long for a datagram.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use super::exchange::{framed, missing};
use super::poll::{Interest, Poll, Source};
use super::slots::{Key, Slots};
use crate::network::service::dns::answer::LARGEST_QUERY;

/// Connections at a time, of all guests and of one.
const ALL: usize = 64;
const OF_ONE: usize = 16;
/// For a question to come, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

struct Connection {
    stream: TcpStream,
    ip: IpAddr,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// Its question is being answered; the next one waits.
    asking: bool,
    deadline: Instant,
}

pub(super) struct Connections {
    open: Slots<Connection>,
    earliest: Option<Instant>,
}

impl Connections {
    pub(super) fn new() -> Connections {
        Connections {
            open: Slots::new(ALL),
            earliest: None,
        }
    }

    /// Takes a new one; one too many is closed.
    pub(super) fn add(&mut self, stream: TcpStream, ip: IpAddr, poll: &Poll) {
        let of_this = self.open.iter().filter(|(_, c)| c.ip == ip).count();
        if of_this >= OF_ONE {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        let key = self.open.insert(Connection {
            stream,
            ip,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            asking: false,
            deadline,
        });
        if let Some(key) = key
            && let Some(connection) = self.open.get(key)
        {
            let source = Source::Connection(key);
            if poll
                .add(&connection.stream, source, Interest::Read)
                .is_err()
            {
                self.open.remove(key);
            }
            self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
        }
    }

    /// An event of one: returns the question that has come, and whose it is. Then it is for
    /// `answer`, `park` or `close`.
    pub(super) fn advance(&mut self, key: Key, poll: &Poll) -> Option<(Vec<u8>, IpAddr)> {
        let connection = self.open.get(key)?;
        if connection.asking {
            // What is told of it without being asked for: its end.
            self.open.remove(key);
            return None;
        }
        if connection.written < connection.output.len() {
            if self.write(key, poll) {
                self.want(key, Interest::Read, poll);
            }
            return None;
        }
        self.read(key)
    }

    /// Sends the answer to the question that was returned.
    pub(super) fn answer(&mut self, key: Key, answer: &[u8], poll: &Poll) {
        let Some(connection) = self.open.get(key) else {
            return;
        };
        let parked = std::mem::replace(&mut connection.asking, false);
        connection.output = framed(answer);
        connection.written = 0;
        connection.deadline = Instant::now() + PATIENCE;
        if self.write(key, poll) && parked {
            self.want(key, Interest::Read, poll);
        }
    }

    /// The answer takes a while; until then the next question waits.
    pub(super) fn park(&mut self, key: Key, poll: &Poll) {
        if let Some(connection) = self.open.get(key) {
            connection.asking = true;
            self.want(key, Interest::End, poll);
        }
    }

    pub(super) fn close(&mut self, key: Key) {
        self.open.remove(key);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Closes those that took too long. One whose question is asked elsewhere has its answer soon.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        let late = self.open.iter();
        let late = late.filter(|(_, c)| !c.asking && c.deadline <= now);
        let late: Vec<Key> = late.map(|(key, _)| key).collect();
        for key in late {
            self.open.remove(key);
        }
        let waiting = self.open.iter().filter(|(_, c)| !c.asking);
        self.earliest = waiting.map(|(_, c)| c.deadline).min();
    }

    fn read(&mut self, key: Key) -> Option<(Vec<u8>, IpAddr)> {
        let connection = self.open.get(key)?;
        while missing(&connection.input) > 0 {
            let before = connection.input.len();
            let most = missing(&connection.input);
            if before + most > 2 + LARGEST_QUERY {
                self.open.remove(key);
                return None;
            }
            connection.input.resize(before + most, 0);
            let read = connection.stream.read(&mut connection.input[before..]);
            let count = read.as_ref().map_or(0, |count| *count);
            connection.input.truncate(before + count);
            match read {
                Ok(1..) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                // Closed, or broken.
                Ok(0) | Err(_) => {
                    self.open.remove(key);
                    return None;
                }
            }
        }
        let question = connection.input.split_off(2);
        connection.input.clear();
        Some((question, connection.ip))
    }

    /// Returns whether everything is written.
    fn write(&mut self, key: Key, poll: &Poll) -> bool {
        let Some(connection) = self.open.get(key) else {
            return false;
        };
        while connection.written < connection.output.len() {
            match connection
                .stream
                .write(&connection.output[connection.written..])
            {
                Ok(count @ 1..) => connection.written += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let deadline = connection.deadline;
                    self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
                    self.want(key, Interest::Write, poll);
                    return false;
                }
                Ok(0) | Err(_) => {
                    self.open.remove(key);
                    return false;
                }
            }
        }
        let deadline = connection.deadline;
        self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
        true
    }

    fn want(&mut self, key: Key, interest: Interest, poll: &Poll) {
        if let Some(connection) = self.open.get(key) {
            let source = Source::Connection(key);
            if poll.change(&connection.stream, source, interest).is_err() {
                self.open.remove(key);
            }
        }
    }
}
