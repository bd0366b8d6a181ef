//! What the kernel says of nf_tables: whether it can masquerade, and which chains packets pass.
//!
//! Messages of nfnetlink, as in linux/netfilter/nf_tables.h.

use std::io;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;

const ERROR: u16 = 2;
const DONE: u16 = 3;

const IPV4: u8 = 2;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
/// `struct nfgenmsg`.
const GENERAL: usize = 4;
/// The kernel answers at once.
const PATIENCE_MS: u16 = 5000;

/// A chain, as far as it matters to whom packets are forwarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) family: &'static str,
    pub(super) table: String,
    pub(super) name: String,
    /// The hook of a base chain: 2 is forward.
    pub(super) hook: Option<u32>,
    /// What becomes of a packet that no rule decides about: 0 drops it.
    pub(super) policy: Option<u32>,
}

impl Chain {
    pub(super) fn drops_forwarded(&self) -> bool {
        self.hook == Some(2) && self.policy == Some(0)
    }
}

/// Makes a rule that masquerades. In a namespace that has nothing else to do.
pub(super) fn try_masquerade() -> io::Result<()> {
    let mut text = Vec::new();
    let batch = |kind| (kind, REQUEST, 0, SUBSYSTEM.to_be(), Vec::new());
    let table = attribute(1, b"probe\0");
    let hook = [
        attribute(1, &4u32.to_be_bytes()),
        attribute(2, &100u32.to_be_bytes()),
    ]
    .concat();
    let chain = [
        attribute(1, b"probe\0"),
        attribute(3, b"probe\0"),
        attribute(4 | NESTED, &hook),
        attribute(7, b"nat\0"),
    ];
    let expression = [attribute(1, b"masq\0"), attribute(2 | NESTED, &[])].concat();
    let rule = [
        attribute(1, b"probe\0"),
        attribute(2, b"probe\0"),
        attribute(4 | NESTED, &attribute(1 | NESTED, &expression)),
    ];
    let of = |kind: u16| SUBSYSTEM << 8 | kind;
    let make = REQUEST | ACK | CREATE;
    let messages = [
        batch(BATCH_BEGIN),
        (of(NEW_TABLE), make, IPV4, 0, table),
        (of(NEW_CHAIN), make, IPV4, 0, chain.concat()),
        (of(NEW_RULE), make, IPV4, 0, rule.concat()),
        batch(BATCH_END),
    ];
    for (number, (kind, flags, family, id, body)) in messages.into_iter().enumerate() {
        text.extend(message(kind, flags, number as u32, family, id, &body));
    }
    let socket = open()?;
    socket.send(&text, 0)?;
    let mut acknowledged = 0;
    while acknowledged < 3 {
        for (kind, body) in split(&receive(&socket)?) {
            if kind == ERROR {
                failure(&body)?;
                acknowledged += 1;
            }
        }
    }
    Ok(())
}

/// The chains of this network namespace.
pub(super) fn chains() -> io::Result<Vec<Chain>> {
    let socket = open()?;
    let question = SUBSYSTEM << 8 | GET_CHAIN;
    socket.send(&message(question, REQUEST | DUMP, 1, 0, 0, &[]), 0)?;
    let mut chains = Vec::new();
    loop {
        for (kind, body) in split(&receive(&socket)?) {
            match kind {
                ERROR => failure(&body)?,
                DONE => return Ok(chains),
                kind if kind == SUBSYSTEM << 8 | NEW_CHAIN => chains.extend(chain(&body)),
                _ => {}
            }
        }
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn receive(socket: &Socket) -> io::Result<Vec<u8>> {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, PollTimeout::from(PATIENCE_MS))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(socket.recv_from_full()?.0)
}

fn message(kind: u16, flags: u16, sequence: u32, family: u8, id: u16, body: &[u8]) -> Vec<u8> {
    let length = HEADER + GENERAL + body.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend([family, 0]);
    bytes.extend(id.to_ne_bytes());
    bytes.extend(body);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The messages of a datagram: kinds and what follows the headers.
fn split(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (number_at(bytes, 0), bytes.get(4..6)) {
        let length = length as usize;
        let Some(body) = bytes.get(HEADER..length) else {
            break;
        };
        found.push((u16::from_ne_bytes([kind[0], kind[1]]), body.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn number_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// `struct nlmsgerr`: 0 acknowledges.
fn failure(body: &[u8]) -> io::Result<()> {
    match number_at(body, 0) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-(code as i32))),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn chain(body: &[u8]) -> Option<Chain> {
    let mut chain = Chain {
        family: match body.first()? {
            1 => "inet",
            2 => "ip",
            5 => "netdev",
            7 => "bridge",
            10 => "ip6",
            _ => "arp",
        },
        ..Chain::default()
    };
    for (kind, value) in attributes(body.get(GENERAL..)?) {
        match kind {
            1 => chain.table = word(value),
            3 => chain.name = word(value),
            4 => {
                let hooks = attributes(value);
                let number = hooks.into_iter().find(|(kind, _)| *kind == 1);
                chain.hook = number.and_then(|(_, value)| big_endian(value));
            }
            5 => chain.policy = big_endian(value),
            _ => {}
        }
    }
    Some(chain)
}

fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some(&[a, b, c, d]) = bytes.get(..4) {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(value) = bytes.get(4..length) else {
            break;
        };
        // Without the flags of nested ones and of byte orders.
        found.push((u16::from_ne_bytes([c, d]) & 0x3fff, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn big_endian(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn word(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .trim_end_matches('\0')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_read_as_it_is_written() {
        let hook = attribute(1, &2u32.to_be_bytes());
        let body = [
            attribute(1, b"filter\0"),
            attribute(3, b"FORWARD\0"),
            attribute(4 | NESTED, &hook),
            attribute(5, &0u32.to_be_bytes()),
        ]
        .concat();
        let bytes = message(SUBSYSTEM << 8 | NEW_CHAIN, 0, 1, IPV4, 0, &body);
        let messages = split(&bytes);
        let read = chain(&messages[0].1).unwrap();
        assert_eq!((read.family, read.table.as_str()), ("ip", "filter"));
        assert_eq!(read.name, "FORWARD");
        assert!(read.drops_forwarded());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes: Vec<u8>) {
            for (_, body) in split(&bytes) {
                chain(&body);
            }
            chain(&bytes);
            let _ = failure(&bytes);
        }
    }
}
