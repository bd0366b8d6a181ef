//! The process that answers. It parses what hostile guests send, so it has nothing but its sockets:
//! no files, no capabilities, no way to start anything. All that it knows comes from its supervisor.

mod connections;
mod exchange;
mod forward;
pub(super) mod orders;
mod poll;
mod slots;

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use self::connections::Connections;
use self::forward::{Client, Done, Forwarder};
use self::orders::{Inbox, Orders};
use self::poll::{Interest, Poll, Source};
use self::slots::Key;
use super::dhcp::Leases;
use super::dns::answer::{LARGEST_QUERY, Verdict, answer, room, truncate};
use super::dns::zone::Zone;
use crate::error::{Error, Result, Tried};
use crate::sys::confine;
use crate::sys::inherited::inherited_socket;
use crate::sys::spawn::set_limit;

/// The words for what is at the descriptors from [`FIRST_SOCKET`] on.
pub(super) const DATAGRAMS: &str = "datagrams";
pub(super) const LISTENER: &str = "listener";
pub(super) const DHCP: &str = "dhcp";

/// Where the supervisor is.
pub(super) const SUPERVISOR: i32 = 3;
pub(super) const FIRST_SOCKET: i32 = 4;

/// More than questions and connections can be.
const DESCRIPTORS: u64 = 1024;
/// Datagrams read of one socket before the others have their turn.
const AT_ONCE: usize = 32;

/// Answers until the supervisor is gone. `sockets` are the words for them.
pub(super) fn serve(sockets: &[&str]) -> Result<()> {
    let mut server = Server::new(sockets)?;
    // All that may be open at a time fit, whatever the limit of whoever made the network is: a
    // connection that cannot be accepted would be told again and again. What is refused stays so.
    let _ = set_limit(0, libc::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS);
    confine::to_sockets().tried(|| "give up all but the sockets".to_owned())?;
    server.run().tried(|| "wait for questions".to_owned())
}

struct Server {
    poll: Poll,
    supervisor: UnixStream,
    inbox: Inbox,
    listens: bool,
    datagrams: Vec<UdpSocket>,
    listeners: Vec<TcpListener>,
    dhcp: Option<UdpSocket>,
    zone: Zone,
    leases: Leases,
    forwarder: Forwarder,
    connections: Connections,
    out: Vec<u8>,
}

impl Server {
    fn new(words: &[&str]) -> Result<Server> {
        let take =
            |number| inherited_socket(number).tried(|| format!("take over the socket at {number}"));
        let mut server = Server {
            poll: Poll::new().tried(|| "make an epoll instance".to_owned())?,
            supervisor: take(SUPERVISOR)?.into(),
            inbox: Inbox::default(),
            listens: false,
            datagrams: Vec::new(),
            listeners: Vec::new(),
            dhcp: None,
            zone: Zone::default(),
            leases: Leases::default(),
            forwarder: Forwarder::new(),
            connections: Connections::new(),
            out: Vec::new(),
        };
        for (number, word) in (FIRST_SOCKET..).zip(words) {
            let socket = take(number)?;
            match *word {
                DATAGRAMS => server.datagrams.push(socket.into()),
                LISTENER => server.listeners.push(socket.into()),
                DHCP => server.dhcp = Some(socket.into()),
                other => return Err(Error::internal(format!("a server has no {other}"))),
            }
        }
        Ok(server)
    }

    fn run(&mut self) -> io::Result<()> {
        self.poll
            .add(&self.supervisor, Source::Supervisor, Interest::Read)?;
        let mut events = Vec::new();
        loop {
            let deadlines = [self.forwarder.deadline(), self.connections.deadline()];
            let limit = deadlines.into_iter().flatten().min().map(|at| {
                let left = at.saturating_duration_since(Instant::now());
                // Rounded up: not once more before its time.
                u32::try_from(left.as_millis() + 1).unwrap_or(u32::MAX)
            });
            self.poll.wait(limit, &mut events)?;
            for event in &events {
                match *event {
                    Source::Supervisor => {
                        if !self.obey()? {
                            return Ok(());
                        }
                    }
                    Source::Datagrams(number) => self.read_datagrams(number),
                    Source::Listener(number) => self.accept(number),
                    Source::Dhcp => self.read_dhcp(),
                    Source::Connection(key) => self.read_connection(key),
                    Source::Exchange(key) => {
                        if let Some(done) = self.forwarder.advance(key, &self.poll) {
                            self.finish(done);
                        }
                    }
                }
            }
            if limit.is_some() {
                let now = Instant::now();
                for done in self.forwarder.expire(now, &self.poll) {
                    self.finish(done);
                }
                self.connections.expire(now);
            }
        }
    }

    /// Takes what the supervisor says; returns whether it is there still.
    fn obey(&mut self) -> io::Result<bool> {
        let open = self.inbox.read(&mut self.supervisor)?;
        while let Some(Orders { table, resolvers }) = self.inbox.next()? {
            // Not two at a time: they may be large.
            self.zone = Zone::default();
            self.zone = Zone::new(&table);
            let ips: Vec<_> = resolvers.iter().map(SocketAddr::ip).collect();
            let before = std::mem::take(&mut self.leases);
            self.leases = Leases::new(&table, &ips).keep_strangers_of(before, &table);
            self.forwarder.set_resolvers(resolvers);
            if !self.listens {
                self.listen()?;
            }
            self.supervisor.write_all(orders::OBEYED)?;
        }
        Ok(open)
    }

    /// Not before there is a table: what waits in the sockets since the last server would be answered
    /// from nothing.
    fn listen(&mut self) -> io::Result<()> {
        self.listens = true;
        let poll = &self.poll;
        for (number, socket) in (0..).zip(&self.datagrams) {
            poll.add(socket, Source::Datagrams(number), Interest::Read)?;
        }
        for (number, socket) in (0..).zip(&self.listeners) {
            poll.add(socket, Source::Listener(number), Interest::Read)?;
        }
        if let Some(socket) = &self.dhcp {
            poll.add(socket, Source::Dhcp, Interest::Read)?;
        }
        Ok(())
    }

    fn read_datagrams(&mut self, number: u32) {
        // One byte more: what fills it is too long.
        let mut buffer = [0; LARGEST_QUERY + 1];
        for _ in 0..AT_ONCE {
            let Some(socket) = self.datagrams.get(number as usize) else {
                return;
            };
            let (length, from) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            // Port 0 is nobody's; and another server's answers are no questions.
            if length > LARGEST_QUERY || from.port() == 0 {
                continue;
            }
            let query = &buffer[..length];
            match answer(&self.zone, query, &mut self.out) {
                Verdict::Ignore => {}
                // A guest that does not take its answers has none.
                Verdict::Answered => drop(socket.send_to(&self.out, from)),
                Verdict::Forward => {
                    let client = Client::Datagram(number, from);
                    if let Some(done) = self.forwarder.ask(client, query, &self.poll) {
                        self.finish(done);
                    }
                }
            }
        }
    }

    fn accept(&mut self, number: u32) {
        let Some(listener) = self.listeners.get(number as usize) else {
            return;
        };
        // One at a time: whoever else waits is the next event. One that cannot be taken is gone.
        if let Ok((stream, from)) = listener.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            self.connections.add(stream, from.ip(), &self.poll);
        }
    }

    fn read_connection(&mut self, key: Key) {
        let Some((question, ip)) = self.connections.advance(key, &self.poll) else {
            return;
        };
        match answer(&self.zone, &question, &mut self.out) {
            Verdict::Ignore => self.connections.close(key),
            Verdict::Answered => self.connections.answer(key, &self.out, &self.poll),
            Verdict::Forward => {
                self.connections.park(key, &self.poll);
                let client = Client::Connection(key, ip);
                if let Some(done) = self.forwarder.ask(client, &question, &self.poll) {
                    self.finish(done);
                }
            }
        }
    }

    /// Hands an answer of another's over.
    fn finish(&mut self, done: Done) {
        match done.client {
            Client::Datagram(number, to) => {
                let Some(socket) = self.datagrams.get(number as usize) else {
                    return;
                };
                let mut answer = &done.answer;
                if answer.len() > room(&done.question) {
                    truncate(&done.question, &mut self.out);
                    answer = &self.out;
                }
                let _ = socket.send_to(answer, to);
            }
            Client::Connection(key, _) => {
                self.connections.answer(key, &done.answer, &self.poll);
            }
        }
    }

    fn read_dhcp(&mut self) {
        let mut buffer = [0; 1500];
        for _ in 0..AT_ONCE {
            let Some(socket) = &self.dhcp else { return };
            let length = match socket.recv_from(&mut buffer) {
                Ok((length, _)) => length,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            if let Some(to) = self.leases.answer(&buffer[..length], &mut self.out) {
                let _ = socket.send_to(&self.out, SocketAddr::V4(to));
            }
        }
    }
}
