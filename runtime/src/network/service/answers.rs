//! What a server answers to one message, without its sockets: for the fuzzer.

use std::sync::Mutex;

use super::dhcp::Leases;
use super::dns::answer::{Verdict, answer, belongs, room, truncate};
use super::dns::zone::Zone;
use super::table::Table;

/// A server's mind.
pub struct Answers {
    zone: Zone,
    leases: Mutex<Leases>,
}

impl Answers {
    /// One that answers from this table.
    pub fn new(table: &Table) -> Answers {
        Answers {
            zone: Zone::new(table),
            leases: Mutex::new(Leases::new(table, &table.upstream)),
        }
    }

    /// The answer to a question about a name. `None`: there is none, or others are asked.
    pub fn to_names(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let verdict = answer(&self.zone, query, &mut out);
        (verdict == Verdict::Answered).then_some(out)
    }

    /// What is done with another resolver's answer to a question: it does not belong to it, or it
    /// is passed on, whole or cut off.
    pub fn pass_on(&self, query: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
        if !belongs(answer, query) {
            return None;
        }
        if answer.len() <= room(query) {
            return Some(answer.to_vec());
        }
        let mut out = Vec::new();
        truncate(query, &mut out);
        Some(out)
    }

    /// The answer to a guest that asks for its address, and whether it is a broadcast.
    pub fn to_dhcp(&self, message: &[u8]) -> Option<(Vec<u8>, bool)> {
        let mut out = Vec::new();
        // One that panicked has found a fault already.
        let mut leases = self.leases.lock().ok()?;
        let to = leases.answer(message, &mut out)?;
        Some((out, to.ip().is_broadcast()))
    }
}
