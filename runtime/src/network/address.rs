//! Addresses and routes.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::Netlink;
use crate::config::NetworkAddress;

/// Gives an interface an address.
pub(crate) fn add(netlink: &mut Netlink, index: u32, address: &NetworkAddress) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.family = family(address.address);
    message.header.prefix_len = address.bits;
    message.header.scope = AddressScope::Universe;
    message.attributes = vec![
        AddressAttribute::Address(address.address),
        AddressAttribute::Local(address.address),
    ];
    match address.address {
        IpAddr::V4(_) => message
            .attributes
            .extend(address.broadcast().map(AddressAttribute::Broadcast)),
        // Nobody else can have it yet, and it shall be of use before init runs.
        IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
    }
    netlink.create(RouteNetlinkMessage::NewAddress(message))
}

/// The addresses of a namespace but for loopback and link-local ones, IPv4 first.
pub(crate) fn list(netlink: &mut Netlink) -> io::Result<Vec<(u32, IpAddr)>> {
    let answers = netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let mut found: Vec<(u32, IpAddr)> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => Some(message),
            _ => None,
        })
        .filter(|message| message.header.scope == AddressScope::Universe)
        .filter_map(|message| {
            let of = |attribute: &AddressAttribute| match attribute {
                AddressAttribute::Local(address) => Some((0, *address)),
                AddressAttribute::Address(address) => Some((1, *address)),
                _ => None,
            };
            // On a point-to-point link `Address` is the other side's.
            let (_, address) = message.attributes.iter().filter_map(of).min()?;
            Some((message.header.index, address))
        })
        .collect();
    found.sort_by_key(|(index, address)| (address.is_ipv6(), *index, *address));
    Ok(found)
}

/// Takes an address from an interface.
pub(crate) fn delete(
    netlink: &mut Netlink,
    index: u32,
    address: IpAddr,
    bits: u8,
) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.family = family(address);
    message.header.prefix_len = bits;
    message.attributes = vec![AddressAttribute::Local(address)];
    netlink.change(RouteNetlinkMessage::DelAddress(message))
}

/// The addresses of one interface with their bits, but for link-local ones.
pub(crate) fn of_link(netlink: &mut Netlink, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
    let answers = netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let mut found = Vec::new();
    for answer in answers {
        let RouteNetlinkMessage::NewAddress(message) = answer else {
            continue;
        };
        if message.header.index != index || message.header.scope != AddressScope::Universe {
            continue;
        }
        found.extend(
            message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => {
                        Some((*address, message.header.prefix_len))
                    }
                    _ => None,
                }),
        );
    }
    Ok(found)
}

/// What there are routes to: networks by an address in them and their bits.
pub(crate) fn routes(netlink: &mut Netlink) -> io::Result<Vec<(IpAddr, u8)>> {
    let answers = netlink.dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    let mut found = Vec::new();
    for answer in answers {
        let RouteNetlinkMessage::NewRoute(message) = answer else {
            continue;
        };
        let bits = message.header.destination_prefix_length;
        found.extend(
            message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    RouteAttribute::Destination(RouteAddress::Inet(to)) => {
                        Some((IpAddr::V4(*to), bits))
                    }
                    RouteAttribute::Destination(RouteAddress::Inet6(to)) => {
                        Some((IpAddr::V6(*to), bits))
                    }
                    _ => None,
                }),
        );
    }
    Ok(found)
}

/// A route to one address, straight out of an interface.
pub(crate) fn add_host_route(netlink: &mut Netlink, index: u32, to: IpAddr) -> io::Result<()> {
    add_route(netlink, index, to, host_bits(to))
}

/// A route to a network, straight out of an interface.
pub(crate) fn add_route(netlink: &mut Netlink, index: u32, to: IpAddr, bits: u8) -> io::Result<()> {
    netlink.create(RouteNetlinkMessage::NewRoute(straight(index, to, bits)))
}

/// Removes a route to one address. One that is not there is fine.
pub(crate) fn delete_host_route(netlink: &mut Netlink, index: u32, to: IpAddr) -> io::Result<()> {
    let message = straight(index, to, host_bits(to));
    match netlink.change(RouteNetlinkMessage::DelRoute(message)) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// The default route through a gateway.
pub(crate) fn add_gateway(netlink: &mut Netlink, index: u32, gateway: IpAddr) -> io::Result<()> {
    let mut message = route(family(gateway), index, RouteScope::Universe);
    message
        .attributes
        .push(RouteAttribute::Gateway(of(gateway)));
    netlink.create(RouteNetlinkMessage::NewRoute(message))
}

/// The default route straight out of an interface.
pub(crate) fn add_default_device(netlink: &mut Netlink, index: u32, v6: bool) -> io::Result<()> {
    let family = match v6 {
        true => AddressFamily::Inet6,
        false => AddressFamily::Inet,
    };
    let message = route(family, index, RouteScope::Link);
    netlink.create(RouteNetlinkMessage::NewRoute(message))
}

fn straight(index: u32, to: IpAddr, bits: u8) -> RouteMessage {
    let mut message = route(family(to), index, RouteScope::Link);
    message.header.destination_prefix_length = bits;
    message.attributes.push(RouteAttribute::Destination(of(to)));
    message
}

fn host_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn route(family: AddressFamily, index: u32, scope: RouteScope) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match family {
        AddressFamily::Inet6 => RouteScope::Universe,
        _ => scope,
    };
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn of(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}
