//! Whether a neighbour answers: the kernel is made to ask for its hardware address.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use nix::errno::Errno;

use super::super::netlink::{Neighbours, Netlink};

/// The discard port (RFC 863): whatever comes back, it is the way there that counts.
const DISCARD: u16 = 9;

/// The kernel gives up on a neighbour after three seconds, and then has to be asked anew.
const AGAIN: Duration = Duration::from_millis(500);

/// Whether `gateway` answers on the interface `index` within `patience`.
pub(super) fn answers(
    netlink: &mut Netlink,
    index: u32,
    gateway: IpAddr,
    patience: Duration,
) -> bool {
    let deadline = Instant::now() + patience;
    let Ok(mut news) = Neighbours::here() else {
        return false;
    };
    // What is known from before proves nothing.
    let _ = forget(netlink, index, gateway);
    let mut ask_at = Instant::now();
    loop {
        if Instant::now() >= ask_at {
            // Without a route yet, or to a neighbour that is known to be silent: the next may go out.
            let _ = ask(index, gateway);
            ask_at = Instant::now() + AGAIN;
        }
        match state(netlink, index, gateway) {
            Ok(Some(
                NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Permanent
                | NeighbourState::Noarp,
            )) => return true,
            _ if Instant::now() >= deadline => return false,
            _ => {}
        }
        let _ = news.wait(deadline.min(ask_at));
    }
}

fn ask(index: u32, gateway: IpAddr) -> io::Result<()> {
    let (own, to) = match gateway {
        IpAddr::V4(_) => ("0.0.0.0:0", SocketAddr::new(gateway, DISCARD)),
        IpAddr::V6(address) => {
            let to = SocketAddrV6::new(address, DISCARD, 0, index);
            ("[::]:0", SocketAddr::V6(to))
        }
    };
    UdpSocket::bind(own)?.send_to(&[], to).map(drop)
}

fn state(netlink: &mut Netlink, index: u32, gateway: IpAddr) -> io::Result<Option<NeighbourState>> {
    let answers = netlink.dump(RouteNetlinkMessage::GetNeighbour(
        NeighbourMessage::default(),
    ))?;
    Ok(answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(message)
            if message.header.ifindex == index
                && message
                    .attributes
                    .contains(&NeighbourAttribute::Destination(address(gateway))) =>
        {
            Some(message.header.state)
        }
        _ => None,
    }))
}

fn forget(netlink: &mut Netlink, index: u32, gateway: IpAddr) -> io::Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    message.header.family = super::super::address::family(gateway);
    message
        .attributes
        .push(NeighbourAttribute::Destination(address(gateway)));
    match netlink.change(RouteNetlinkMessage::DelNeighbour(message)) {
        Err(e) if e.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(()),
        other => other,
    }
}

fn address(gateway: IpAddr) -> NeighbourAddress {
    match gateway {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }
}
