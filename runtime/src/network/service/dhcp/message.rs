//! Messages of DHCP (RFC 2131, 2132).

use std::net::Ipv4Addr;

/// Up to the options.
const FIXED: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Older clients and relays drop what is shorter (RFC 1542, 2.1).
const SHORTEST: usize = 300;
const ETHERNET: [u8; 2] = [1, 6];

/// Codes of options that are read or written here.
pub(super) mod code {
    pub(in super::super) const MASK: u8 = 1;
    pub(in super::super) const ROUTER: u8 = 3;
    pub(in super::super) const NAME_SERVER: u8 = 6;
    pub(in super::super) const HOST_NAME: u8 = 12;
    pub(in super::super) const DOMAIN: u8 = 15;
    pub(in super::super) const BROADCAST: u8 = 28;
    pub(in super::super) const REQUESTED: u8 = 50;
    pub(in super::super) const LEASE: u8 = 51;
    pub(in super::super) const OVERLOAD: u8 = 52;
    pub(in super::super) const KIND: u8 = 53;
    pub(in super::super) const SERVER: u8 = 54;
    pub(in super::super) const RENEWAL: u8 = 58;
    pub(in super::super) const REBINDING: u8 = 59;
    pub(in super::super) const CLIENT: u8 = 61;
    pub(super) const PAD: u8 = 0;
    pub(super) const END: u8 = 255;
}

/// What kind of message (option 53).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Ack = 5,
    Nak = 6,
    Inform = 8,
}

/// What a client sent, as far as it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) kind: Kind,
    pub(super) mac: [u8; 6],
    /// The address it has.
    pub(super) has: Ipv4Addr,
    pub(super) requested: Option<Ipv4Addr>,
    /// The server that it has chosen.
    pub(super) server: Option<Ipv4Addr>,
    pub(super) client_id: Option<&'a [u8]>,
    /// Header fields that go back as they came.
    id: [u8; 4],
    flags: [u8; 2],
}

impl<'a> Query<'a> {
    /// Reads one; `None` for what is none, or not for a server on the same wire.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Query<'a>> {
        let (fixed, options) = bytes.split_at_checked(FIXED)?;
        let request = fixed[0] == 1;
        let relayed = fixed[24..28] != [0; 4];
        if !request || relayed || fixed[1..3] != ETHERNET || fixed[236..240] != COOKIE {
            return None;
        }
        let address = |option: Option<&[u8]>| {
            let octets: Option<[u8; 4]> = option.and_then(|bytes| bytes.try_into().ok());
            octets.map(Ipv4Addr::from)
        };
        let found = Options::find(options)?;
        let kind = match found.kind {
            Some([1]) => Kind::Discover,
            Some([3]) => Kind::Request,
            Some([8]) => Kind::Inform,
            // Release and decline change nothing: an address is its container's.
            _ => return None,
        };
        Some(Query {
            kind,
            mac: fixed[28..34].try_into().ok()?,
            has: address(Some(&fixed[12..16]))?,
            requested: address(found.requested),
            server: address(found.server),
            client_id: found.client_id,
            id: fixed[4..8].try_into().ok()?,
            flags: fixed[10..12].try_into().ok()?,
        })
    }
}

#[derive(Default)]
struct Options<'a> {
    kind: Option<&'a [u8]>,
    requested: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
    client_id: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// `None` if they do not end where they say. What is split over several, or stands in the
    /// fields that option 52 lends, is too long to be one of ours.
    fn find(mut rest: &'a [u8]) -> Option<Options<'a>> {
        let mut found = Options::default();
        while let Some((&code, after)) = rest.split_first() {
            match code {
                code::PAD => rest = after,
                code::END => break,
                _ => {
                    let (&length, after) = after.split_first()?;
                    let (value, after) = after.split_at_checked(length.into())?;
                    match code {
                        code::KIND => found.kind = Some(value),
                        code::REQUESTED => found.requested = Some(value),
                        code::SERVER => found.server = Some(value),
                        code::CLIENT => found.client_id = Some(value),
                        code::OVERLOAD => return None,
                        _ => {}
                    }
                    rest = after;
                }
            }
        }
        Some(found)
    }
}

/// Writes an answer.
pub(super) struct Answer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Answer<'a> {
    /// Begins one of this kind.
    pub(super) fn begin(query: &Query<'_>, kind: Kind, out: &'a mut Vec<u8>) -> Answer<'a> {
        out.clear();
        out.resize(FIXED, 0);
        out[0] = 2;
        out[1..3].copy_from_slice(&ETHERNET);
        out[4..8].copy_from_slice(&query.id);
        out[10..12].copy_from_slice(&query.flags);
        out[28..34].copy_from_slice(&query.mac);
        out[236..240].copy_from_slice(&COOKIE);
        let mut answer = Answer { out };
        answer.option(code::KIND, &[kind as u8]);
        answer
    }

    /// The address that the client has, and the one that it gets.
    pub(super) fn addresses(&mut self, has: Ipv4Addr, gets: Ipv4Addr) {
        self.out[12..16].copy_from_slice(&has.octets());
        self.out[16..20].copy_from_slice(&gets.octets());
    }

    /// Adds an option. One that is too long, which a name of a container is not, is left out.
    pub(super) fn option(&mut self, code: u8, value: &[u8]) {
        if let Ok(length) = u8::try_from(value.len()) {
            self.out.extend([code, length]);
            self.out.extend(value);
        }
    }

    pub(super) fn end(self) {
        self.out.push(code::END);
        if self.out.len() < SHORTEST {
            self.out.resize(SHORTEST, 0);
        }
    }
}
