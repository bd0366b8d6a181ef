//! The packet filter of a network: two tables of its own, named after it.
//!
//! The one sees IP packets: where those of its containers may go, and what is translated. The other
//! sees frames on the bridge, and holds every container to its own addresses ([`super::port`]).

use std::net::{IpAddr, Ipv4Addr};

use super::{Definition, Kind};
use crate::network::nft::{
    Address, Batch, FORWARD, Family, Hook, INPUT, INTERFACE_TO_VERDICT, Is, OUTPUT, PORT_TO_IPV4,
    PORT_TO_IPV6, POSTROUTING, PREROUTING, Rule, Table,
};

/// The group of all bridges that Sampan made: what comes from one goes to none of the others.
pub(super) const GROUP: u32 = 0x5a4d;

/// Ports of the bridge, and what is asked of them.
pub(super) const PORTS: &str = "ports";
/// Ports of the host that lead to containers.
pub(super) const FORWARDS_4: &str = "forwards4";
pub(super) const FORWARDS_6: &str = "forwards6";

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_6: u8 = 58;
const ECHO: u8 = 8;
/// Echo requests, and what hosts of a link ask and tell each other: routers, neighbours, groups.
const ICMP_6_OF_NEIGHBOURS: [u8; 7] = [128, 130, 131, 132, 133, 135, 136];

const FILTER: i32 = 0;
const DESTINATIONS: i32 = -100;
const SOURCES: i32 = 100;
/// Before all connections are known.
const FIRST: i32 = -300;

/// What both tables are called.
pub(super) fn table_name(network: &str) -> String {
    format!("sampan-{network}")
}

/// The tables of a network by their name.
pub(super) fn tables(name: &str) -> [Table<'_>; 2] {
    [Family::Inet, Family::Bridge].map(|family| Table { family, name })
}

/// Makes the tables anew, without any container in them.
pub(super) fn make(batch: &mut Batch, network: &Definition) {
    let name = table_name(&network.name);
    for table in tables(&name) {
        // So that it is there to be deleted.
        batch.add_table(table);
        batch.delete_table(table);
        batch.add_table(table);
    }
    let [packets, frames] = tables(&name);
    batch.add_map(frames, PORTS, INTERFACE_TO_VERDICT);
    batch.add_chain(frames, "prerouting", Some(filter(PREROUTING, FIRST)));
    batch.add_rule(frames, "prerouting", Rule::new().by_interface(PORTS));
    forward(batch, packets, network);
    input(batch, packets, network);
    if network.kind.leads_out() {
        translate(batch, packets, network);
    }
}

/// Removes the tables, which must be there.
pub(super) fn remove(batch: &mut Batch, network: &str) {
    for table in tables(&table_name(network)) {
        batch.add_table(table);
        batch.delete_table(table);
    }
}

fn filter(number: u32, priority: i32) -> Hook {
    Hook {
        kind: "filter",
        number,
        priority,
    }
}

/// What passes through the host.
fn forward(batch: &mut Batch, table: Table<'_>, network: &Definition) {
    let (chain, bridge) = ("forward", network.link.as_str());
    let from = || Rule::new().from(Is::Equal, bridge);
    let to = || Rule::new().to(Is::Equal, bridge);
    batch.add_chain(table, chain, Some(filter(FORWARD, FILTER)));
    let mut rule = |rule| batch.add_rule(table, chain, rule);
    rule(from().established().accept());
    rule(to().established().accept());
    // Frames of the bridge itself, where the host's br_netfilter shows them here.
    rule(from().to(Is::Equal, bridge).accept());
    if network.kind.leads_out() {
        // To a port that is led to a container, of this network or of another.
        rule(from().forwarded().accept());
        rule(to().forwarded().accept());
    }
    rule(to().drop());
    rule(from().group(GROUP).drop());
    if network.kind == Kind::Isolated {
        rule(from().drop());
        return;
    }
    for gateway in network.gateways() {
        let own = from().version_of(gateway.address);
        rule(
            own.network(Address::Source, Is::Not, gateway.address, gateway.bits)
                .drop(),
        );
    }
}

/// What is for the host itself.
fn input(batch: &mut Batch, table: Table<'_>, network: &Definition) {
    let (chain, bridge) = ("input", network.link.as_str());
    let from = || Rule::new().from(Is::Equal, bridge);
    batch.add_chain(table, chain, Some(filter(INPUT, FILTER)));
    let mut rule = |rule| batch.add_rule(table, chain, rule);
    rule(from().established().accept());
    if network.dhcp {
        let udp = from().protocol(UDP).port(Address::Source, 68);
        rule(udp.port(Address::Destination, 67).accept());
    }
    for gateway in network.gateways() {
        // The gateway's own address: the one in another network is none of its business.
        let address = gateway.address;
        let here = || {
            from()
                .version_of(address)
                .address(Address::Destination, Is::Equal, address)
        };
        if network.dns {
            for protocol in [UDP, TCP] {
                let names = here().protocol(protocol);
                rule(names.port(Address::Destination, 53).accept());
            }
        }
        if address.is_ipv4() {
            rule(here().protocol(ICMP).icmp_type(ECHO).accept());
        }
    }
    if network.ipv6.is_some() {
        for number in ICMP_6_OF_NEIGHBOURS {
            rule(from().protocol(ICMP_6).icmp_type(number).accept());
        }
    }
    rule(match network.host_access {
        true => from().accept(),
        false => from().reject(),
    });
}

/// What gets other addresses on its way.
fn translate(batch: &mut Batch, table: Table<'_>, network: &Definition) {
    let bridge = network.link.as_str();
    batch.add_map(table, FORWARDS_4, PORT_TO_IPV4);
    batch.add_map(table, FORWARDS_6, PORT_TO_IPV6);
    let nat = |number, priority| Hook {
        kind: "nat",
        number,
        priority,
    };
    for (chain, hook) in [
        ("prerouting", nat(PREROUTING, DESTINATIONS)),
        ("output", nat(OUTPUT, DESTINATIONS)),
    ] {
        batch.add_chain(table, chain, Some(hook));
        for gateway in network.gateways() {
            let v6 = gateway.address.is_ipv6();
            let map = if v6 { FORWARDS_6 } else { FORWARDS_4 };
            let ours = Rule::new().version_of(gateway.address).local();
            batch.add_rule(table, chain, ours.forward_by(map, v6));
        }
    }
    batch.add_chain(table, "postrouting", Some(nat(POSTROUTING, SOURCES)));
    for gateway in network.gateways() {
        let version = Rule::new().version_of(gateway.address);
        let own = version.network(Address::Source, Is::Equal, gateway.address, gateway.bits);
        let out = own.clone().to(Is::Not, bridge).masquerade();
        batch.add_rule(table, "postrouting", out);
        // One container to another by a port of the host: the answer has to come back by the host.
        let back = own.to(Is::Equal, bridge).forwarded().masquerade();
        batch.add_rule(table, "postrouting", back);
    }
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let local = Rule::new().version_of(loopback);
    // The host by its own loopback address.
    let host = local.network(Address::Source, Is::Equal, loopback, 8);
    let host = host.to(Is::Equal, bridge).forwarded().masquerade();
    batch.add_rule(table, "postrouting", host);
    // That the kernel routes such packets at all must not open the host's loopback to the bridge.
    batch.add_chain(table, "loopback", Some(filter(PREROUTING, FIRST)));
    let from = Rule::new().from(Is::Equal, bridge).version_of(loopback);
    let closed = from.network(Address::Destination, Is::Equal, loopback, 8);
    batch.add_rule(table, "loopback", closed.drop());
}
