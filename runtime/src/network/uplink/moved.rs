//! What an interface has, and its way to another one.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use nix::errno::Errno;

use super::super::link;
use super::super::netlink::Netlink;

/// Addresses and routes of an interface, as the kernel told them.
#[derive(Debug)]
pub(super) struct Moved {
    addresses: Vec<AddressMessage>,
    routes: Vec<RouteMessage>,
}

/// The same for people and files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// With their prefixes, IPv4 first.
    pub(super) addresses: Vec<(IpAddr, u8)>,
    pub(super) gateways: Vec<IpAddr>,
    /// An IPv4 address that ends some time: a DHCP client holds it.
    pub(super) leased: bool,
}

/// What the interface `index` has. Link-local addresses belong to the interface, and routes that
/// the kernel makes come with the addresses.
pub(super) fn read(netlink: &mut Netlink, index: u32) -> io::Result<Moved> {
    let answers = netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let addresses = answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => Some(message),
            _ => None,
        })
        .filter(|message| message.header.index == index)
        .filter(|message| message.header.scope == AddressScope::Universe)
        .collect();
    let answers = netlink.dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    let routes = answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(message) => Some(message),
            _ => None,
        })
        .filter(|message| {
            message
                .attributes
                .iter()
                .any(|attribute| matches!(attribute, RouteAttribute::Oif(oif) if *oif == index))
        })
        .filter(|message| message.header.kind == RouteType::Unicast)
        .filter(|message| message.header.protocol != RouteProtocol::Kernel)
        .collect();
    Ok(Moved { addresses, routes })
}

impl Moved {
    /// Where the host's packets to everywhere go.
    pub(super) fn gateways(&self) -> Vec<IpAddr> {
        let gateways = self.routes.iter().filter(|route| {
            route.header.destination_prefix_length == 0
                && route.header.table == RouteHeader::RT_TABLE_MAIN
        });
        gateways.filter_map(gateway).collect()
    }

    pub(super) fn facts(&self) -> Facts {
        let mut addresses: Vec<(IpAddr, u8)> = Vec::new();
        let mut leased = false;
        for message in &self.addresses {
            let ends = message.attributes.iter().any(|attribute| {
                matches!(attribute, AddressAttribute::CacheInfo(info) if info.ifa_valid != u32::MAX)
            });
            let Some(address) = address(message) else {
                continue;
            };
            // Of IPv6 those come from router advertisements, and so they do on the bridge.
            match (ends, address) {
                (true, IpAddr::V4(_)) => leased = true,
                (true, IpAddr::V6(_)) => {}
                (false, address) => addresses.push((address, message.header.prefix_len)),
            }
        }
        addresses.sort_by_key(|(address, _)| address.is_ipv6());
        Facts {
            addresses,
            gateways: self.gateways(),
            leased,
        }
    }

    /// Moves all of it. `controller`: what the interface that had it becomes a port of; without one,
    /// the interface that gets it ceases to be a port. Nothing here asks or waits for anybody.
    pub(super) fn shift(
        &self,
        netlink: &mut Netlink,
        from: u32,
        to: u32,
        controller: Option<u32>,
    ) -> io::Result<()> {
        match controller {
            Some(bridge) => link::set_controller(netlink, from, bridge)?,
            None => link::set_controller(netlink, to, 0)?,
        }
        link::set_up(netlink, to)?;
        for message in &self.addresses {
            there_already(
                netlink.create(RouteNetlinkMessage::NewAddress(moved_address(message, to))),
            )?;
        }
        for message in &self.addresses {
            let mut old = message.clone();
            old.header.index = from;
            old.attributes.retain(|attribute| {
                matches!(
                    attribute,
                    AddressAttribute::Local(_) | AddressAttribute::Address(_)
                )
            });
            match netlink.change(RouteNetlinkMessage::DelAddress(old)) {
                Err(e) if e.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32) => {}
                other => other?,
            }
        }
        // A route through a gateway needs the one to the gateway.
        let (direct, through): (Vec<_>, Vec<_>) = self
            .routes
            .iter()
            .partition(|route| gateway(route).is_none());
        for route in direct.into_iter().chain(through) {
            let mut route = route.clone();
            for attribute in &mut route.attributes {
                if let RouteAttribute::Oif(index) = attribute {
                    *index = to;
                }
            }
            route
                .attributes
                .retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_)));
            there_already(netlink.create(RouteNetlinkMessage::NewRoute(route)))?;
        }
        Ok(())
    }
}

fn moved_address(message: &AddressMessage, to: u32) -> AddressMessage {
    let mut new = message.clone();
    new.header.index = to;
    // Its label begins with the old interface's name; flags and times of the kernel's own are told,
    // not taken.
    new.attributes.retain(|attribute| {
        matches!(
            attribute,
            AddressAttribute::Local(_)
                | AddressAttribute::Address(_)
                | AddressAttribute::Broadcast(_)
                | AddressAttribute::CacheInfo(_)
        )
    });
    new.header.flags = AddressHeaderFlags::empty();
    if matches!(address(message), Some(IpAddr::V6(_))) {
        // It was the host's a moment ago.
        new.header.flags = AddressHeaderFlags::Nodad;
        new.attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    new
}

fn there_already(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.raw_os_error() == Some(Errno::EEXIST as i32) => Ok(()),
        other => other,
    }
}

fn address(message: &AddressMessage) -> Option<IpAddr> {
    let find = |local: bool| {
        message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Local(address) if local => Some(*address),
                AddressAttribute::Address(address) if !local => Some(*address),
                _ => None,
            })
    };
    find(true).or_else(|| find(false))
}

fn gateway(route: &RouteMessage) -> Option<IpAddr> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some((*address).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some((*address).into()),
            _ => None,
        })
}
