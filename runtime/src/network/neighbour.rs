//! Neighbours: who answers for an address on a link (arp(7), RFC 4861).

use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use nix::errno::Errno;

use super::address::family;
use super::netlink::Netlink;

/// What the kernel knows of a neighbour.
pub(crate) fn state(
    netlink: &mut Netlink,
    index: u32,
    neighbour: IpAddr,
) -> io::Result<Option<NeighbourState>> {
    let answers = netlink.dump(RouteNetlinkMessage::GetNeighbour(
        NeighbourMessage::default(),
    ))?;
    let wanted = destination(neighbour);
    Ok(answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(message)
            if message.header.ifindex == index && message.attributes.contains(&wanted) =>
        {
            Some(message.header.state)
        }
        _ => None,
    }))
}

/// Forgets a neighbour. One that is not known is fine.
pub(crate) fn forget(netlink: &mut Netlink, index: u32, neighbour: IpAddr) -> io::Result<()> {
    absent_is_fine(netlink.change(RouteNetlinkMessage::DelNeighbour(of(index, neighbour))))
}

/// Has the host answer on a link for an address that is somebody else's.
pub(crate) fn proxy(netlink: &mut Netlink, index: u32, address: IpAddr) -> io::Result<()> {
    let mut message = of(index, address);
    message.header.flags = NeighbourFlags::Proxy;
    message.header.state = NeighbourState::Permanent;
    match netlink.create(RouteNetlinkMessage::NewNeighbour(message)) {
        Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => Ok(()),
        other => other,
    }
}

/// Has it answer no more.
pub(crate) fn unproxy(netlink: &mut Netlink, index: u32, address: IpAddr) -> io::Result<()> {
    let mut message = of(index, address);
    message.header.flags = NeighbourFlags::Proxy;
    absent_is_fine(netlink.change(RouteNetlinkMessage::DelNeighbour(message)))
}

fn of(index: u32, neighbour: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    message.header.family = family(neighbour);
    message.attributes.push(destination(neighbour));
    message
}

fn destination(address: IpAddr) -> NeighbourAttribute {
    NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    })
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(()),
        other => other,
    }
}
