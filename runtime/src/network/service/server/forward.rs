//! Questions that others answer: asked again, one resolver after the other, until one answers.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use domain::base::Message;
use domain::base::iana::Rcode;

use super::exchange::Exchange;
use super::poll::{Interest, Poll, Source};
use super::slots::{Key, Slots};
use crate::network::service::dns::answer::{belongs, refuse};

/// Questions at a time, of all guests and of one: a guest that asks for what never comes must not
/// take the others' places.
const ALL: usize = 512;
const OF_ONE: usize = 128;
/// How long one resolver may take. A guest's own patience is 5 seconds (resolv.conf(5)).
const PATIENCE: Duration = Duration::from_millis(1500);
const ATTEMPTS: usize = 3;
/// What is read of a socket at a time: who floods it with forged answers must not keep the rest waiting.
const AT_ONCE: usize = 16;
/// A connection may have to be made first, and is not asked again.
const PATIENCE_OF_STREAM: Duration = Duration::from_secs(4);

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// In a datagram to the socket of this number.
    Datagram(u32, SocketAddr),
    Connection(Key, IpAddr),
}

impl Client {
    fn ip(self) -> IpAddr {
        match self {
            Client::Datagram(_, from) => from.ip(),
            Client::Connection(_, ip) => ip,
        }
    }
}

/// A question that has its answer, which may be that there is none.
pub(super) struct Done {
    pub(super) client: Client,
    pub(super) question: Vec<u8>,
    pub(super) answer: Vec<u8>,
}

struct Pending {
    client: Client,
    /// The client's.
    id: [u8; 2],
    /// With the id by which others know it.
    question: Vec<u8>,
    exchange: Exchange,
    resolver: usize,
    attempts: usize,
    deadline: Instant,
}

pub(super) struct Forwarder {
    resolvers: Vec<SocketAddr>,
    /// The one that answered last.
    good: usize,
    pending: Slots<Pending>,
    /// No pending one's deadline is before.
    earliest: Option<Instant>,
    buffer: Vec<u8>,
}

impl Forwarder {
    pub(super) fn new() -> Forwarder {
        Forwarder {
            resolvers: Vec::new(),
            good: 0,
            pending: Slots::new(ALL),
            earliest: None,
            buffer: Vec::new(),
        }
    }

    /// Asks these from now on.
    pub(super) fn set_resolvers(&mut self, resolvers: Vec<SocketAddr>) {
        if self.resolvers != resolvers {
            self.resolvers = resolvers;
            self.good = 0;
        }
    }

    /// Passes a question on. `Some`: it has its answer already, that there is none.
    pub(super) fn ask(&mut self, client: Client, question: &[u8], poll: &Poll) -> Option<Done> {
        let ip = client.ip();
        let mut of_this = 0;
        for (_, other) in self.pending.iter() {
            of_this += usize::from(other.client.ip() == ip);
            // Asked again meanwhile: the answer is on its way.
            if other.client == client && question.starts_with(&other.id) {
                return None;
            }
        }
        let full = self.pending.is_full() || of_this >= OF_ONE;
        let [a, b, rest @ ..] = question else {
            return None;
        };
        let mut pending = Unsent {
            client,
            id: [*a, *b],
            question: rand::random::<[u8; 2]>()
                .iter()
                .chain(rest)
                .copied()
                .collect(),
            resolver: self.good,
            attempts: 0,
        };
        if full {
            return Some(pending.fail());
        }
        self.send(&mut pending, poll)
    }

    /// An event of an exchange.
    pub(super) fn advance(&mut self, key: Key, poll: &Poll) -> Option<Done> {
        for turn in 0.. {
            if turn == AT_ONCE {
                return None;
            }
            let pending = self.pending.get(key)?;
            let before = pending.exchange.interest();
            let came = pending.exchange.advance(&mut self.buffer);
            match came {
                Ok(()) if belongs(&self.buffer, &pending.question) => break,
                Ok(()) if matches!(pending.exchange, Exchange::Datagram(_)) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let now = pending.exchange.interest();
                    if now != before {
                        // It cannot fail: the descriptor is in there.
                        let _ = poll.change(pending.exchange.fd(), Source::Exchange(key), now);
                    }
                    return None;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Nobody listens there, or what comes is no answer.
                Ok(()) | Err(_) => return self.ask_next(key, poll),
            }
        }
        let rcode = Message::from_slice(&self.buffer).map(|m| m.header().rcode());
        let useless = matches!(rcode, Ok(Rcode::SERVFAIL | Rcode::REFUSED | Rcode::NOTIMP));
        let pending = self.pending.get(key)?;
        if useless && pending.attempts < self.resolvers.len().min(ATTEMPTS) {
            return self.ask_next(key, poll);
        }
        let mut pending = self.pending.remove(key)?;
        if !useless {
            self.good = pending.resolver;
        }
        let mut answer = self.buffer.clone();
        answer[..2].copy_from_slice(&pending.id);
        pending.question[..2].copy_from_slice(&pending.id);
        Some(Done {
            client: pending.client,
            question: pending.question,
            answer,
        })
    }

    /// When to look for what has taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Asks the next resolver about everything that has taken too long.
    pub(super) fn expire(&mut self, now: Instant, poll: &Poll) -> Vec<Done> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let late = self.pending.iter().filter(|(_, p)| p.deadline <= now);
        let late: Vec<Key> = late.map(|(key, _)| key).collect();
        let done = late
            .into_iter()
            .filter_map(|key| self.ask_next(key, poll))
            .collect();
        self.earliest = self.pending.iter().map(|(_, p)| p.deadline).min();
        done
    }

    fn ask_next(&mut self, key: Key, poll: &Poll) -> Option<Done> {
        let pending = self.pending.remove(key)?;
        let mut unsent = Unsent {
            client: pending.client,
            id: pending.id,
            question: pending.question,
            resolver: pending.resolver + 1,
            attempts: pending.attempts,
        };
        // A new id for each: an answer that was forged for one must not do for the next.
        unsent.question[..2].copy_from_slice(&rand::random::<[u8; 2]>());
        self.send(&mut unsent, poll)
    }

    fn send(&mut self, unsent: &mut Unsent, poll: &Poll) -> Option<Done> {
        let streams = matches!(unsent.client, Client::Connection(..));
        let most = if streams {
            self.resolvers.len().min(ATTEMPTS)
        } else {
            ATTEMPTS
        };
        while unsent.attempts < most && !self.resolvers.is_empty() {
            unsent.attempts += 1;
            unsent.resolver %= self.resolvers.len();
            let resolver = self.resolvers[unsent.resolver];
            let exchange = if streams {
                Exchange::stream(resolver, &unsent.question)
            } else {
                Exchange::datagram(resolver, &unsent.question)
            };
            if let Ok(exchange) = exchange
                && self.wait(unsent, exchange, streams, poll)
            {
                return None;
            }
            unsent.resolver += 1;
        }
        Some(unsent.fail())
    }

    fn wait(&mut self, unsent: &mut Unsent, exchange: Exchange, long: bool, poll: &Poll) -> bool {
        let patience = if long { PATIENCE_OF_STREAM } else { PATIENCE };
        let deadline = Instant::now() + patience;
        let interest: Interest = exchange.interest();
        let key = self.pending.insert(Pending {
            client: unsent.client,
            id: unsent.id,
            question: unsent.question.clone(),
            exchange,
            resolver: unsent.resolver,
            attempts: unsent.attempts,
            deadline,
        });
        let Some(key) = key else { return false };
        let added = self.pending.get(key).is_some_and(|pending| {
            poll.add(pending.exchange.fd(), Source::Exchange(key), interest)
                .is_ok()
        });
        if !added {
            self.pending.remove(key);
            return false;
        }
        self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
        true
    }
}

/// A question on its way to a resolver.
struct Unsent {
    client: Client,
    id: [u8; 2],
    question: Vec<u8>,
    resolver: usize,
    attempts: usize,
}

impl Unsent {
    fn fail(&mut self) -> Done {
        let mut question = std::mem::take(&mut self.question);
        question[..2].copy_from_slice(&self.id);
        let mut answer = Vec::new();
        refuse(&question, Rcode::SERVFAIL, &mut answer);
        Done {
            client: self.client,
            question,
            answer,
        }
    }
}
