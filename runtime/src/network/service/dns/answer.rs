//! From a question to its answer, or to the word that others have to be asked.

use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::message_builder::{
    AdditionalBuilder, AnswerBuilder, MessageBuilder, PushError, StaticCompressor,
};
use domain::base::name::ToName;
use domain::base::{Message, Name, ParsedName, Question, Serial, Ttl};
use domain::rdata::{A, Aaaa, Ptr, Soa};

use super::zone::{Found, WireName, Zone};

/// A query is no longer: names have 255 bytes, options of EDNS a few dozen.
pub(crate) const LARGEST_QUERY: usize = 4096;
/// What passes everywhere in one piece (DNS flag day 2020).
const UDP_SIZE: u16 = 1232;
/// What a resolver may keep: a container can be gone at any moment.
const TTL: Ttl = Ttl::from_secs(10);

/// What to do with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is none.
    Ignore,
    /// The answer is in the buffer.
    Answered,
    /// Others know.
    Forward,
}

type Builder<'a> = StaticCompressor<&'a mut Vec<u8>>;

/// Answers a query into the buffer.
pub(crate) fn answer(zone: &Zone, query: &[u8], out: &mut Vec<u8>) -> Verdict {
    let Ok(message) = Message::from_slice(query) else {
        return Verdict::Ignore;
    };
    let header = message.header();
    // Never an answer to an answer: two servers would go on for ever.
    if header.qr() {
        return Verdict::Ignore;
    }
    if header.opcode() != Opcode::QUERY {
        return refuse(query, Rcode::NOTIMP, out);
    }
    let Ok(question) = message.sole_question() else {
        return refuse(query, Rcode::FORMERR, out);
    };
    let edns = match edns(message) {
        Ok(edns) => edns,
        Err(()) => return refuse(query, Rcode::FORMERR, out),
    };
    if question.qclass() != Class::IN {
        return refuse(query, Rcode::REFUSED, out);
    }
    let mut key = Key::default();
    let Some(name) = key.of(question.qname()) else {
        return refuse(query, Rcode::FORMERR, out);
    };
    let found = zone.find(name);
    if found == Found::Elsewhere {
        return Verdict::Forward;
    }
    out.clear();
    match build(zone, message, &question, &found, edns, out) {
        Ok(()) => Verdict::Answered,
        // The buffer grows as it must; there is no other error.
        Err(_) => refuse(query, Rcode::SERVFAIL, out),
    }
}

/// Answers with nothing but a code. Also for what is no whole message.
pub(crate) fn refuse(query: &[u8], rcode: Rcode, out: &mut Vec<u8>) -> Verdict {
    let Ok(message) = Message::from_slice(query) else {
        return Verdict::Ignore;
    };
    out.clear();
    // The name of a malformed question may be anything.
    let whole = message.sole_question().is_ok();
    let builder = match MessageBuilder::from_target(StaticCompressor::new(&mut *out)) {
        Ok(builder) => builder,
        Err(_) => return Verdict::Ignore,
    };
    if whole {
        let mut answer = builder.start_error(message, rcode);
        answer.header_mut().set_ra(true);
    } else {
        let mut builder = builder;
        let asked = message.header();
        let header = builder.header_mut();
        header.set_id(asked.id());
        header.set_qr(true);
        header.set_opcode(asked.opcode());
        header.set_rd(asked.rd());
        header.set_rcode(rcode);
    }
    Verdict::Answered
}

/// The same question with the word that its answer is too large for a datagram.
pub(crate) fn truncate(query: &[u8], out: &mut Vec<u8>) -> Verdict {
    let verdict = refuse(query, Rcode::NOERROR, out);
    if let Some(flags) = out.get_mut(2) {
        *flags |= 0b10;
    }
    verdict
}

/// How long a datagram the asking side takes.
pub(crate) fn room(query: &[u8]) -> usize {
    let opt = Message::from_slice(query).ok().and_then(Message::opt);
    opt.map_or(512, |opt| usize::from(opt.udp_payload_size()).max(512))
}

/// Whether this is an answer to the question: the same id, and the same question.
pub(crate) fn belongs(answer: &[u8], query: &[u8]) -> bool {
    let (Ok(answer), Ok(query)) = (Message::from_slice(answer), Message::from_slice(query)) else {
        return false;
    };
    answer.is_answer(query)
}

fn build(
    zone: &Zone,
    message: &Message<[u8]>,
    question: &Question<ParsedName<&[u8]>>,
    found: &Found<'_>,
    edns: Option<u8>,
    out: &mut Vec<u8>,
) -> Result<(), PushError> {
    let builder =
        MessageBuilder::from_target(StaticCompressor::new(out)).map_err(|_| PushError::ShortBuf)?;
    let rcode = match found {
        Found::Nobody => Rcode::NXDOMAIN,
        _ => Rcode::NOERROR,
    };
    let mut answer = builder.start_answer(message, rcode)?;
    answer.header_mut().set_aa(true);
    answer.header_mut().set_ra(true);
    // A version of EDNS that nobody knows yet is told the one that is known, and nothing else.
    let known = edns.is_none_or(|version| version == 0);
    let answers = known && push_answers(zone, question, found, &mut answer)?;
    let mut authority = answer.authority();
    if known && !answers {
        let owner = owner(zone, question.qname());
        authority.push((&owner, Class::IN, TTL, soa(&owner)))?;
    }
    let mut additional = authority.additional();
    if edns.is_some() {
        push_opt(&mut additional, known)?;
    }
    Ok(())
}

/// Returns whether there are any.
fn push_answers(
    zone: &Zone,
    question: &Question<ParsedName<&[u8]>>,
    found: &Found<'_>,
    answer: &mut AnswerBuilder<Builder<'_>>,
) -> Result<bool, PushError> {
    let (name, kind) = (question.qname(), question.qtype());
    let asked = |this| kind == this || kind == Rtype::ANY;
    let mut any = false;
    match found {
        Found::Host(addresses) => {
            if asked(Rtype::A) {
                for ip in &addresses.ipv4 {
                    answer.push((name, Class::IN, TTL, A::new(*ip)))?;
                    any = true;
                }
            }
            if asked(Rtype::AAAA) {
                for ip in &addresses.ipv6 {
                    answer.push((name, Class::IN, TTL, Aaaa::new(*ip)))?;
                    any = true;
                }
            }
        }
        Found::Pointer(host) if asked(Rtype::PTR) => {
            answer.push((name, Class::IN, TTL, Ptr::new(host)))?;
            any = true;
        }
        Found::Domain if asked(Rtype::SOA) => {
            if let Some(domain) = zone.domain() {
                answer.push((name, Class::IN, TTL, soa(domain)))?;
                any = true;
            }
        }
        _ => {}
    }
    Ok(any)
}

fn push_opt(additional: &mut AdditionalBuilder<Builder<'_>>, known: bool) -> Result<(), PushError> {
    additional.opt(|opt| {
        opt.set_udp_payload_size(UDP_SIZE);
        if !known {
            opt.set_rcode(OptRcode::BADVERS);
        }
        Ok(())
    })
}

/// Whose SOA a negative answer has: the domain's, else that of what stands above the name.
fn owner(zone: &Zone, name: &ParsedName<&[u8]>) -> WireName {
    match zone.domain() {
        Some(domain) if name.ends_with(domain) => domain.clone(),
        _ => {
            let mut above: WireName = name.to_name();
            if above.label_count() > 2 {
                above = above.parent().map_or(above.clone(), |up| up.to_name());
            }
            above
        }
    }
}

/// Says how long a resolver may keep it that there is none.
fn soa(owner: &WireName) -> Soa<WireName> {
    let time = Ttl::from_secs(3600);
    Soa::new(
        owner.clone(),
        Name::root_vec(),
        Serial(1),
        time,
        time,
        time,
        TTL,
    )
}

/// The version of EDNS that the asking side speaks, if any. More than one such record is an error,
/// and so is anything that cannot be read.
fn edns(message: &Message<[u8]>) -> Result<Option<u8>, ()> {
    if message.header_counts().arcount() == 0 {
        return Ok(None);
    }
    let mut found = None;
    for record in message.additional().map_err(drop)? {
        let record = record.map_err(drop)?;
        if record.rtype() == Rtype::OPT
            && found
                .replace((record.ttl().as_secs() >> 16) as u8)
                .is_some()
        {
            return Err(());
        }
    }
    Ok(found)
}

/// A canonical name, without an allocation.
struct Key {
    bytes: [u8; 256],
}

impl Default for Key {
    fn default() -> Key {
        Key { bytes: [0; 256] }
    }
}

impl Key {
    fn of(&mut self, name: &ParsedName<&[u8]>) -> Option<&[u8]> {
        let mut at = 0;
        for label in name.iter() {
            let label = label.as_slice();
            let end = at + 1 + label.len();
            let place = self.bytes.get_mut(at..end)?;
            // A label has at most 63 bytes.
            place[0] = label.len() as u8;
            place[1..].copy_from_slice(label);
            place[1..].make_ascii_lowercase();
            at = end;
        }
        Some(&self.bytes[..at])
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
