//! Rules: what a packet is asked, and what becomes of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Family;
use super::message::Attributes;
use super::value::{self, interface_name, mask, octets};

/// A rule in the making. Each step either lets the packet go on to the next one, or the rule does
/// not concern it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rule {
    expressions: Attributes,
    comment: Option<String>,
}

/// Whether a packet has to have something or not to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    Equal = 0,
    Not = 1,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop,
    Accept,
    Jump(String),
}

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    Source,
    Destination,
}

/// Where a piece of a packet is counted from.
#[derive(Debug, Clone, Copy)]
enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// Registers: verdicts have their own; the first of four of 16 bytes, and the same in pieces of 4.
const REGISTER_OF_VERDICTS: u32 = 0;
const FIRST: u32 = 1;
const FIRST_PIECES: u32 = 8;

const META_INTERFACE: u32 = 6;
const META_OUTPUT_INTERFACE: u32 = 7;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;
const META_OUTPUT_GROUP: u32 = 22;

const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
/// IPS_DST_NAT.
const DESTINATION_CHANGED: u32 = 1 << 5;

impl Verdict {
    pub(super) fn data(&self) -> Attributes {
        let verdict = match self {
            Verdict::Drop => Attributes::default().number(1, 0),
            Verdict::Accept => Attributes::default().number(1, 1),
            // NFT_JUMP is -3.
            Verdict::Jump(chain) => Attributes::default()
                .number(1, 3u32.wrapping_neg())
                .text(2, chain),
        };
        Attributes::default().nested(2, &verdict)
    }
}

impl Rule {
    pub(crate) fn new() -> Rule {
        Rule::default()
    }

    /// What nft(8) and iptables(8) show beside it.
    pub(crate) fn comment(mut self, text: &str) -> Rule {
        self.comment = Some(text.chars().take(120).collect());
        self
    }

    /// The interface that it came in by.
    pub(crate) fn from(self, is: Is, interface: &str) -> Rule {
        self.meta(META_INTERFACE, FIRST)
            .compare(is, &interface_name(interface))
    }

    /// The interface that it leaves by.
    pub(crate) fn to(self, is: Is, interface: &str) -> Rule {
        self.meta(META_OUTPUT_INTERFACE, FIRST)
            .compare(is, &interface_name(interface))
    }

    /// The group of the interface that it leaves by.
    pub(crate) fn group(self, group: u32) -> Rule {
        self.meta(META_OUTPUT_GROUP, FIRST)
            .compare(Is::Equal, &group.to_ne_bytes())
    }

    /// In a table of both: of this version of IP.
    pub(crate) fn version_of(self, address: IpAddr) -> Rule {
        let family = match address {
            IpAddr::V4(_) => Family::Ip,
            IpAddr::V6(_) => Family::Ip6,
        };
        self.meta(META_FAMILY, FIRST)
            .compare(Is::Equal, &[family as u8])
    }

    /// TCP, UDP and so on by its number.
    pub(crate) fn protocol(self, number: u8) -> Rule {
        self.meta(META_PROTOCOL, FIRST)
            .compare(Is::Equal, &[number])
    }

    /// UDP's or TCP's.
    pub(crate) fn port(self, which: Address, port: u16) -> Rule {
        let offset = match which {
            Address::Source => 0,
            Address::Destination => 2,
        };
        self.load(Base::Transport, offset, 2, FIRST)
            .compare(Is::Equal, &port.to_be_bytes())
    }

    /// The type of a message of ICMP.
    pub(crate) fn icmp_type(self, number: u8) -> Rule {
        self.load(Base::Transport, 0, 1, FIRST)
            .compare(Is::Equal, &[number])
    }

    /// The address that a message of neighbour discovery is about.
    pub(crate) fn neighbour(self, is: Is, address: Ipv6Addr) -> Rule {
        self.load(Base::Transport, 8, 16, FIRST)
            .compare(is, &address.octets())
    }

    /// An address, where the version of IP is known.
    pub(crate) fn address(self, which: Address, is: Is, address: IpAddr) -> Rule {
        self.load_address(which, address)
            .compare(is, &octets(address))
    }

    /// An address of the network of this one.
    pub(crate) fn network(self, which: Address, is: Is, address: IpAddr, bits: u8) -> Rule {
        let mask = mask(address, bits);
        let network: Vec<u8> = octets(address)
            .iter()
            .zip(&mask)
            .map(|(a, m)| a & m)
            .collect();
        self.load_address(which, address)
            .masked(&mask)
            .compare(is, &network)
    }

    /// On a bridge: the sender's hardware address.
    pub(crate) fn hardware(self, is: Is, address: [u8; 6]) -> Rule {
        self.load(Base::Link, 6, 6, FIRST).compare(is, &address)
    }

    /// On a bridge: what a frame holds (0x0800, 0x86dd, 0x0806).
    pub(crate) fn frame(self, kind: u16) -> Rule {
        self.load(Base::Link, 12, 2, FIRST)
            .compare(Is::Equal, &kind.to_be_bytes())
    }

    /// What a message of ARP says of its sender.
    pub(crate) fn arp_hardware(self, is: Is, address: [u8; 6]) -> Rule {
        self.load(Base::Network, 8, 6, FIRST).compare(is, &address)
    }

    pub(crate) fn arp_address(self, is: Is, address: Ipv4Addr) -> Rule {
        self.load(Base::Network, 14, 4, FIRST)
            .compare(is, &address.octets())
    }

    /// Of a connection that was let through.
    pub(crate) fn established(self) -> Rule {
        self.connection(CT_STATE, ESTABLISHED_OR_RELATED)
    }

    /// Of a connection that was led to another destination.
    pub(crate) fn forwarded(self) -> Rule {
        self.connection(CT_STATUS, DESTINATION_CHANGED)
    }

    /// To an address of this host.
    pub(crate) fn local(self) -> Rule {
        const ADDRESS_TYPE: u32 = 3;
        const DESTINATION: u32 = 2;
        const LOCAL: u32 = 2;
        let data = Attributes::default()
            .number(1, FIRST)
            .number(2, ADDRESS_TYPE)
            .number(3, DESTINATION);
        self.expression("fib", &data)
            .compare(Is::Equal, &LOCAL.to_ne_bytes())
    }

    /// Counts.
    pub(crate) fn counted(self) -> Rule {
        let data = Attributes::default().long(1, 0).long(2, 0);
        self.expression("counter", &data)
    }

    /// Ends with a verdict.
    pub(crate) fn verdict(self, verdict: &Verdict) -> Rule {
        let data = Attributes::default()
            .number(1, REGISTER_OF_VERDICTS)
            .nested(2, &verdict.data());
        self.expression("immediate", &data)
    }

    pub(crate) fn accept(self) -> Rule {
        self.verdict(&Verdict::Accept)
    }

    pub(crate) fn drop(self) -> Rule {
        self.verdict(&Verdict::Drop)
    }

    /// Tells the sender that it may not.
    pub(crate) fn reject(self) -> Rule {
        const BY_ICMP_OF_EITHER: u32 = 2;
        const PROHIBITED: u8 = 3;
        let data = Attributes::default()
            .number(1, BY_ICMP_OF_EITHER)
            .bytes(2, &[PROHIBITED]);
        self.expression("reject", &data)
    }

    /// The verdict that a map has for the interface that it came in by.
    pub(crate) fn by_interface(self, map: &str) -> Rule {
        let data = Attributes::default()
            .text(1, map)
            .number(2, FIRST)
            .number(3, REGISTER_OF_VERDICTS);
        self.meta(META_INTERFACE, FIRST).expression("lookup", &data)
    }

    /// Gives it the address of the interface that it leaves by.
    pub(crate) fn masquerade(self) -> Rule {
        self.expression("masq", &Attributes::default())
    }

    /// Leads it where a map of protocols and ports says.
    pub(crate) fn forward_by(self, map: &str, v6: bool) -> Rule {
        const DESTINATION: u32 = 1;
        let family = if v6 { Family::Ip6 } else { Family::Ip };
        let port_register = FIRST_PIECES + if v6 { 4 } else { 1 };
        let lookup = Attributes::default()
            .text(1, map)
            .number(2, FIRST_PIECES)
            .number(3, FIRST_PIECES);
        let nat = Attributes::default()
            .number(1, DESTINATION)
            .number(2, family as u32)
            .number(3, FIRST_PIECES)
            .number(5, port_register);
        self.meta(META_PROTOCOL, FIRST_PIECES)
            .load(Base::Transport, 2, 2, FIRST_PIECES + 1)
            .expression("lookup", &lookup)
            .expression("nat", &nat)
    }

    pub(super) fn complete(self, attributes: Attributes) -> Attributes {
        let attributes = attributes.nested(4, &self.expressions);
        let Some(comment) = self.comment else {
            return attributes;
        };
        attributes.bytes(7, &value::of_comment(&comment))
    }

    fn meta(self, key: u32, register: u32) -> Rule {
        let data = Attributes::default().number(1, register).number(2, key);
        self.expression("meta", &data)
    }

    fn load(self, base: Base, offset: u32, length: u32, register: u32) -> Rule {
        let data = Attributes::default()
            .number(1, register)
            .number(2, base as u32)
            .number(3, offset)
            .number(4, length);
        self.expression("payload", &data)
    }

    fn load_address(self, which: Address, address: IpAddr) -> Rule {
        let (offset, length) = match (address, which) {
            (IpAddr::V4(_), Address::Source) => (12, 4),
            (IpAddr::V4(_), Address::Destination) => (16, 4),
            (IpAddr::V6(_), Address::Source) => (8, 16),
            (IpAddr::V6(_), Address::Destination) => (24, 16),
        };
        self.load(Base::Network, offset, length, FIRST)
    }

    fn masked(self, mask: &[u8]) -> Rule {
        let value = |bytes: &[u8]| Attributes::default().bytes(1, bytes);
        let data = Attributes::default()
            .number(1, FIRST)
            .number(2, FIRST)
            .number(3, mask.len() as u32)
            .nested(4, &value(mask))
            .nested(5, &value(&vec![0; mask.len()]));
        self.expression("bitwise", &data)
    }

    fn connection(self, key: u32, bits: u32) -> Rule {
        let data = Attributes::default().number(1, FIRST).number(2, key);
        self.expression("ct", &data)
            .masked(&bits.to_ne_bytes())
            .compare(Is::Not, &[0; 4])
    }

    fn compare(self, is: Is, value: &[u8]) -> Rule {
        let value = Attributes::default().bytes(1, value);
        let data = Attributes::default()
            .number(1, FIRST)
            .number(2, is as u32)
            .nested(3, &value);
        self.expression("cmp", &data)
    }

    fn expression(mut self, name: &str, data: &Attributes) -> Rule {
        let one = Attributes::default().text(1, name).nested(2, data);
        self.expressions = self.expressions.nested(1, &one);
        self
    }
}
