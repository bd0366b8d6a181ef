//! Whether a neighbour answers: the kernel is made to ask for its hardware address.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use netlink_packet_route::neighbour::NeighbourState;

use super::super::neighbour;
use super::super::netlink::{Netlink, News};

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
    let Ok(mut news) = News::of_neighbours() else {
        return false;
    };
    // What is known from before proves nothing.
    let _ = neighbour::forget(netlink, index, gateway);
    let mut ask_at = Instant::now();
    loop {
        if Instant::now() >= ask_at {
            // Without a route yet, or to a neighbour that is known to be silent: the next may go out.
            let _ = ask(index, gateway);
            ask_at = Instant::now() + AGAIN;
        }
        match neighbour::state(netlink, index, gateway) {
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
