//! nf_tables, as far as networks need it: tables, chains, rules and maps, changed in transactions.
//!
//! A transaction is taken as a whole or not at all, so that no packet ever meets half a rule set.
//! No program is run and no library called for it.

mod message;
mod rule;
mod value;

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use self::message::{Attributes, answers, message};

pub(crate) use self::message::Found;
pub(crate) use self::rule::{Address, Is, Rule, Verdict};
pub(crate) use self::value::interface_name;

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    Ip = 2,
    /// Frames that cross a bridge.
    Bridge = 7,
    Ip6 = 10,
}

/// A table by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table<'a> {
    pub(crate) family: Family,
    pub(crate) name: &'a str,
}

/// Where the kernel calls a chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// NF_INET_PRE_ROUTING and so on; a bridge's have the same numbers.
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

pub(crate) const PREROUTING: u32 = 0;
pub(crate) const INPUT: u32 = 1;
pub(crate) const FORWARD: u32 = 2;
pub(crate) const OUTPUT: u32 = 3;
pub(crate) const POSTROUTING: u32 = 4;

/// What a map leads from and to; the numbers are nft(8)'s, so that it prints them right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MapType {
    pub(crate) key: (u32, u32),
    pub(crate) data: (u32, u32),
}

/// From an interface's name to a verdict.
pub(crate) const INTERFACE_TO_VERDICT: MapType = MapType {
    key: (41, 16),
    data: (0xffff_ff00, 0),
};
/// From a protocol and port to an IPv4 address and port. Each part takes multiples of four bytes.
pub(crate) const PORT_TO_IPV4: MapType = MapType {
    key: (12 << 6 | 13, 8),
    data: (7 << 6 | 13, 8),
};
pub(crate) const PORT_TO_IPV6: MapType = MapType {
    key: (12 << 6 | 13, 8),
    data: (8 << 6 | 13, 20),
};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const GET_ELEMENT: u16 = 13;
const DELETE_ELEMENT: u16 = 14;
const BEGIN: u16 = 16;
const END: u16 = 17;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Changes that are made together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Kind, flags, family, attributes.
    steps: Vec<(u16, u16, Family, Attributes)>,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch::default()
    }

    /// Makes a table, unless it is there.
    pub(crate) fn add_table(&mut self, table: Table<'_>) {
        let named = Attributes::default().text(1, table.name);
        self.step(NEW_TABLE, CREATE, table, named);
    }

    /// Removes a table with all that is in it; it must be there.
    pub(crate) fn delete_table(&mut self, table: Table<'_>) {
        let named = Attributes::default().text(1, table.name);
        self.step(DELETE_TABLE, 0, table, named);
    }

    /// Makes a chain; without a hook, one that others jump to. One that is there stays.
    pub(crate) fn add_chain(&mut self, table: Table<'_>, chain: &str, hook: Option<Hook>) {
        let mut attributes = in_table(table).text(3, chain);
        if let Some(hook) = hook {
            let place = Attributes::default()
                .number(1, hook.number)
                .number(2, hook.priority as u32);
            attributes = attributes.nested(4, &place).text(7, hook.kind);
        }
        self.step(NEW_CHAIN, CREATE, table, attributes);
    }

    /// Removes a chain that nothing refers to.
    pub(crate) fn delete_chain(&mut self, table: Table<'_>, chain: &str) {
        self.step(DELETE_CHAIN, 0, table, in_table(table).text(3, chain));
    }

    /// Adds a rule at the end of a chain.
    pub(crate) fn add_rule(&mut self, table: Table<'_>, chain: &str, rule: Rule) {
        let attributes = rule.complete(in_table(table).text(2, chain));
        self.step(NEW_RULE, CREATE | APPEND, table, attributes);
    }

    /// Puts a rule at the head of a chain.
    pub(crate) fn insert_rule(&mut self, table: Table<'_>, chain: &str, rule: Rule) {
        let attributes = rule.complete(in_table(table).text(2, chain));
        self.step(NEW_RULE, CREATE, table, attributes);
    }

    pub(crate) fn delete_rule(&mut self, table: Table<'_>, chain: &str, handle: u64) {
        let attributes = in_table(table).text(2, chain).long(3, handle);
        self.step(DELETE_RULE, 0, table, attributes);
    }

    /// Removes all rules of a chain.
    pub(crate) fn flush_chain(&mut self, table: Table<'_>, chain: &str) {
        self.step(DELETE_RULE, 0, table, in_table(table).text(2, chain));
    }

    /// Makes an empty map.
    pub(crate) fn add_map(&mut self, table: Table<'_>, name: &str, map: MapType) {
        const MAP: u32 = 8;
        // The kernel wants a number that is new in this batch.
        let id = self.steps.len() as u32 + 1;
        let mut attributes = in_table(table)
            .text(2, name)
            .number(3, MAP)
            .number(4, map.key.0)
            .number(5, map.key.1)
            .number(6, map.data.0);
        if map.data.1 > 0 {
            attributes = attributes.number(7, map.data.1);
        }
        attributes = attributes.number(10, id);
        if map.key.0 == INTERFACE_TO_VERDICT.key.0 {
            // For nft(8): type, length, and that the key is in the host's order.
            let mut order = vec![0, 4];
            order.extend(1u32.to_ne_bytes());
            attributes = attributes.bytes(13, &order);
        }
        self.step(NEW_SET, CREATE, table, attributes);
    }

    /// Leads a key of a map to a value.
    pub(crate) fn add_element(&mut self, table: Table<'_>, map: &str, key: &[u8], to: &Verdict) {
        let attributes = element(table, map, key, Some(&to.data()));
        self.step(NEW_ELEMENT, CREATE, table, attributes);
    }

    pub(crate) fn add_value(&mut self, table: Table<'_>, map: &str, key: &[u8], value: &[u8]) {
        let value = Attributes::default().bytes(1, value);
        let attributes = element(table, map, key, Some(&value));
        self.step(NEW_ELEMENT, CREATE, table, attributes);
    }

    pub(crate) fn delete_element(&mut self, table: Table<'_>, map: &str, key: &[u8]) {
        self.step(DELETE_ELEMENT, 0, table, element(table, map, key, None));
    }

    /// Makes the changes.
    ///
    /// # Errors
    /// That of the first change that the kernel refuses; then none is made.
    pub(crate) fn commit(self) -> io::Result<()> {
        if self.steps.is_empty() {
            return Ok(());
        }
        let socket = open()?;
        let (begin, end) = (1, self.steps.len() as u32 + 2);
        let none = Attributes::default();
        let frame = |kind, sequence| message(kind, REQUEST, sequence, (0, 10), &none);
        let mut bytes = frame(BEGIN, begin);
        let last = end - 1;
        for (sequence, (kind, flags, family, attributes)) in (begin + 1..).zip(&self.steps) {
            let mut flags = REQUEST | flags;
            if sequence == last {
                flags |= ACKNOWLEDGE;
            }
            let kind = SUBSYSTEM | kind;
            bytes.extend(message(
                kind,
                flags,
                sequence,
                (*family as u8, 0),
                attributes,
            ));
        }
        bytes.extend(frame(END, end));
        socket.send(&bytes, 0)?;
        let mut failed = None;
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            for answer in answers(&datagram).filter(|answer| answer.kind == ERROR) {
                let error = answer.error();
                if error != 0 && failed.is_none() {
                    failed = Some(error);
                }
                // Failures are told in the order of the steps, and the last one is acknowledged.
                if answer.sequence == last || answer.sequence == begin {
                    return match failed {
                        Some(error) => Err(io::Error::from_raw_os_error(error)),
                        None => Ok(()),
                    };
                }
            }
        }
    }

    fn step(&mut self, kind: u16, flags: u16, table: Table<'_>, attributes: Attributes) {
        self.steps.push((kind, flags, table.family, attributes));
    }
}

/// Whether a table is there.
pub(crate) fn has_table(table: Table<'_>) -> io::Result<bool> {
    exists(
        GET_TABLE,
        table.family,
        Attributes::default().text(1, table.name),
    )
}

/// Whether a chain is there.
pub(crate) fn has_chain(table: Table<'_>, chain: &str) -> io::Result<bool> {
    exists(GET_CHAIN, table.family, in_table(table).text(3, chain))
}

/// The rules of a chain: handle and comment.
pub(crate) fn rules(table: Table<'_>, chain: &str) -> io::Result<Vec<(u64, Option<String>)>> {
    let mut found = Vec::new();
    let asked = in_table(table).text(2, chain);
    ask(GET_RULE, DUMP, table.family, &asked, |rule| {
        // Older kernels list more than was asked for.
        if rule.text(1) == Some(table.name)
            && rule.text(2) == Some(chain)
            && let Some(handle) = rule.long(3)
        {
            found.push((handle, rule.get(7).and_then(value::comment)));
        }
    })?;
    Ok(found)
}

/// Whether these bytes are in a rule of a table, as the name of an interface is.
pub(crate) fn mentions(table: Table<'_>, bytes: &[u8]) -> io::Result<bool> {
    let mut found = false;
    ask(GET_RULE, DUMP, table.family, &in_table(table), |rule| {
        // Older kernels list more than was asked for.
        let expressions = rule.get(4).filter(|_| rule.text(1) == Some(table.name));
        found |= expressions.is_some_and(|all| all.windows(bytes.len()).any(|at| at == bytes));
    })?;
    Ok(found)
}

/// The elements of a map: keys and values.
pub(crate) fn elements(table: Table<'_>, map: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    let asked = in_table(table).text(2, map);
    ask(GET_ELEMENT, DUMP, table.family, &asked, |list| {
        for (_, element) in list.inside(3).iter() {
            let element = Found::of(element);
            let value = |kind| element.inside(kind).get(1).map(<[u8]>::to_vec);
            if let Some(key) = value(1) {
                found.push((key, value(2).unwrap_or_default()));
            }
        }
    })?;
    Ok(found)
}

fn exists(kind: u16, family: Family, asked: Attributes) -> io::Result<bool> {
    match ask(kind, ACKNOWLEDGE, family, &asked, |_| {}) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn ask(
    kind: u16,
    flags: u16,
    family: Family,
    asked: &Attributes,
    mut each: impl FnMut(Found<'_>),
) -> io::Result<()> {
    let socket = open()?;
    let bytes = message(
        SUBSYSTEM | kind,
        REQUEST | flags,
        1,
        (family as u8, 0),
        asked,
    );
    socket.send(&bytes, 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for answer in answers(&datagram) {
            match answer.kind {
                DONE => return Ok(()),
                ERROR => {
                    return match answer.error() {
                        0 => Ok(()),
                        error => Err(io::Error::from_raw_os_error(error)),
                    };
                }
                _ => each(answer.attributes()),
            }
        }
    }
}

/// In the network namespace of this thread.
fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn in_table(table: Table<'_>) -> Attributes {
    Attributes::default().text(1, table.name)
}

fn element(table: Table<'_>, map: &str, key: &[u8], data: Option<&Attributes>) -> Attributes {
    let mut one = Attributes::default().nested(1, &Attributes::default().bytes(1, key));
    if let Some(data) = data {
        one = one.nested(2, data);
    }
    let list = Attributes::default().nested(1, &one);
    in_table(table).text(2, map).nested(3, &list)
}
