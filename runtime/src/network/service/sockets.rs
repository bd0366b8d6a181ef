//! The sockets of a network's service, on its bridge.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};

use super::server::{DATAGRAMS, DHCP, LISTENER};
use super::table::Table;
use crate::error::{Error, Result, Tried};

const DNS_PORT: u16 = 53;
const DHCP_PORT: u16 = 67;

/// Where questions arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoints {
    /// The addresses for names.
    names: Vec<IpAddr>,
    dhcp: bool,
}

impl Endpoints {
    pub(super) fn of(table: &Table) -> Endpoints {
        let gateways = table.gateway4.map(|(ip, _)| IpAddr::from(ip)).into_iter();
        let gateways = gateways.chain(table.gateway6.map(|(ip, _)| IpAddr::from(ip)));
        Endpoints {
            names: gateways.filter(|_| table.dns).collect(),
            dhcp: table.dhcp && table.gateway4.is_some(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.dhcp
    }

    /// Opens them, each with the server's word for it.
    pub(super) fn open(&self, bridge: &str) -> Result<Vec<(&'static str, OwnedFd)>> {
        let mut sockets = Vec::new();
        for ip in &self.names {
            let at = SocketAddr::new(*ip, DNS_PORT);
            // Of the bridge and of the host itself. An address alone does not say where a question
            // comes from: the host takes what is sent to it from any side (ip(7), weak host model).
            for device in [bridge, "lo"] {
                for (word, kind) in [
                    (DATAGRAMS, SockType::Datagram),
                    (LISTENER, SockType::Stream),
                ] {
                    let socket = open(at, kind, device)
                        .map_err(|e| explain(e, &format!("answer names at {at} on {device}")))?;
                    sockets.push((word, socket));
                }
            }
        }
        if self.dhcp {
            let at = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DHCP_PORT);
            let socket = open(at, SockType::Datagram, bridge)
                .and_then(|socket| {
                    setsockopt(&socket, sockopt::Broadcast, &true)?;
                    Ok(socket)
                })
                .map_err(|e| explain(e, &format!("answer DHCP on {bridge}")))?;
            sockets.push((DHCP, socket));
        }
        Ok(sockets)
    }
}

fn open(at: SocketAddr, kind: SockType, device: &str) -> nix::Result<OwnedFd> {
    let family = match at {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, kind, flags, None)?;
    setsockopt(&socket, sockopt::BindToDevice, &device.into())?;
    if at.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    // A new address of IPv6 is looked for in the network first, and the bridge may be down still.
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    // For a connection that has just ended, and, of DHCP, beside a server for the host's others.
    if kind == SockType::Stream || at.ip().is_unspecified() {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(at))?;
    if kind == SockType::Stream {
        // Valid: it is not larger than what the kernel allows.
        listen(&socket, Backlog::new(64)?)?;
    }
    Ok(socket)
}

fn explain(cause: Errno, what: &str) -> Error {
    let error = match Err::<(), _>(cause).tried(|| what.to_owned()) {
        Err(error) => error,
        Ok(()) => Error::internal(what),
    };
    match cause {
        Errno::EADDRINUSE => error.with_hint(
            "another program answers there, or on every address: `ss -lntup` shows which; let it not listen on this bridge",
        ),
        Errno::ENODEV => error.with_hint("there is no such interface in this network namespace"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_the_sockets_that_a_network_has_use_for() {
        let all = Table {
            gateway4: Some(([10, 9, 0, 1].into(), 24)),
            gateway6: Some(("fd09::1".parse().unwrap(), 64)),
            ..Table::default()
        };
        let names = Endpoints::of(&all).names;
        assert_eq!(names.len(), 2);
        assert!(Endpoints::of(&all).dhcp);
        let six = Table {
            gateway4: None,
            ..all.clone()
        };
        assert!(!Endpoints::of(&six).dhcp, "DHCP is for addresses of IPv4");
        let none = Table {
            dns: false,
            dhcp: false,
            ..all
        };
        assert!(Endpoints::of(&none).is_empty());
    }
}
