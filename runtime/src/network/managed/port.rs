//! One container's port of a bridge: which addresses it may send from, and which ports of the host
//! lead to it.
//!
//! A chain has the name of the port and is found by it, so that neither making nor removing one has
//! to look at the others'.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::forward::Forward;
use super::rules::{FORWARDS_4, FORWARDS_6, PORTS, table_name, tables};
use crate::config::NetworkAddress;
use crate::error::{Result, Tried};
use crate::network::nft::{self, Address, Batch, Is, Rule, Table, Verdict, interface_name};

/// A container's end on a bridge of Sampan's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// The network's name.
    pub(crate) network: String,
    /// The host's end of the veth.
    pub(crate) interface: String,
    pub(crate) mac: [u8; 6],
    /// The addresses that are its own.
    pub(crate) addresses: Vec<IpAddr>,
    /// Ports of the host that lead here.
    pub(crate) forwards: Vec<Forward>,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const UDP: u8 = 17;
const ICMP_6: u8 = 58;
const ROUTER: u8 = 134;
const NEIGHBOUR_ASKED: u8 = 135;
const NEIGHBOUR_TOLD: u8 = 136;
const REDIRECT: u8 = 137;

impl Port {
    pub(crate) fn new(
        network: &str,
        interface: &str,
        mac: [u8; 6],
        own: &[NetworkAddress],
    ) -> Port {
        Port {
            network: network.to_owned(),
            interface: interface.to_owned(),
            mac,
            addresses: own.iter().map(|own| own.address).collect(),
            forwards: Vec::new(),
        }
    }

    /// Makes it, or makes it anew.
    pub(crate) fn add(&self, batch: &mut Batch) {
        let name = table_name(&self.network);
        let [packets, frames] = tables(&name);
        let chain = self.interface.as_str();
        batch.add_chain(frames, chain, None);
        batch.flush_chain(frames, chain);
        for rule in self.rules() {
            batch.add_rule(frames, chain, rule);
        }
        let jump = Verdict::Jump(chain.to_owned());
        batch.add_element(frames, PORTS, &interface_name(chain), &jump);
        for (map, key, value) in self.forward_elements() {
            batch.add_value(packets, map, &key, &value);
        }
    }

    /// Makes it, by itself.
    ///
    /// # Errors
    /// A port of the host leads to another container already; the packet filter is gone.
    pub(crate) fn make(&self) -> Result<()> {
        let mut batch = Batch::new();
        self.add(&mut batch);
        let what = || format!("make the rules of the interface {}", self.interface);
        let made = batch.commit();
        let taken = made
            .as_ref()
            .is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY));
        made.tried(what).map_err(|error| match taken {
            true => error.with_hint(
                "a port of the host leads to another container already: sampan forward ls",
            ),
            false => error,
        })
    }

    /// Removes it. Not an error if it is not there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let name = table_name(&self.network);
        let [packets, frames] = tables(&name);
        let chain = self.interface.as_str();
        let mut batch = Batch::new();
        batch.delete_element(frames, PORTS, &interface_name(chain));
        batch.flush_chain(frames, chain);
        batch.delete_chain(frames, chain);
        let removed = absent_is_fine(batch.commit());
        removed.and(self.remove_forwards(packets))
    }

    /// Removes all ports of the host that lead here, also those that it does not know of any more.
    fn remove_forwards(&self, packets: Table<'_>) -> io::Result<()> {
        for (map, v6) in [(FORWARDS_4, false), (FORWARDS_6, true)] {
            let own: Vec<Vec<u8>> = self
                .addresses
                .iter()
                .filter(|address| address.is_ipv6() == v6)
                .map(|address| match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                })
                .collect();
            if own.is_empty() {
                continue;
            }
            let elements = match nft::elements(packets, map) {
                // An isolated network has none, and one that is down.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                other => other?,
            };
            let mut batch = Batch::new();
            for (key, value) in elements {
                if own.iter().any(|own| value.starts_with(own)) {
                    batch.delete_element(packets, map, &key);
                }
            }
            absent_is_fine(batch.commit())?;
        }
        Ok(())
    }

    /// Which element of which map each forward is.
    pub(crate) fn forward_elements(&self) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
        let mut elements = Vec::new();
        for forward in &self.forwards {
            for own in &self.addresses {
                let (map, mut value) = match own {
                    IpAddr::V4(own) => (FORWARDS_4, own.octets().to_vec()),
                    IpAddr::V6(own) => (FORWARDS_6, own.octets().to_vec()),
                };
                let key = forward.key();
                // One address of each version is enough.
                if elements.iter().any(|(m, k, _)| *m == map && *k == key) {
                    continue;
                }
                value.extend(forward.guest.to_be_bytes());
                value.extend([0, 0]);
                elements.push((map, key, value));
            }
        }
        elements
    }

    fn rules(&self) -> Vec<Rule> {
        let (mut v4, mut v6) = (Vec::new(), vec![link_local(self.mac)]);
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => v4.push(*address),
                IpAddr::V6(address) => v6.push(*address),
            }
        }
        let mut rules = vec![Rule::new().hardware(Is::Not, self.mac).drop()];
        rules.extend(arp(self.mac, &v4));
        rules.extend(ipv4(&v4));
        rules.extend(ipv6(&v6));
        // Tags, spanning trees and whatever else a bridge might listen to.
        rules.push(Rule::new().drop());
        rules
    }
}

fn arp(mac: [u8; 6], own: &[Ipv4Addr]) -> Vec<Rule> {
    let frame = || Rule::new().frame(ARP);
    let mut strange = frame();
    for address in own {
        strange = strange.arp_address(Is::Not, *address);
    }
    // Who asks whether an address is taken has none.
    let strange = strange.arp_address(Is::Not, Ipv4Addr::UNSPECIFIED);
    vec![
        frame().arp_hardware(Is::Not, mac).drop(),
        strange.drop(),
        frame().accept(),
    ]
}

fn ipv4(own: &[Ipv4Addr]) -> Vec<Rule> {
    let frame = || Rule::new().frame(IPV4);
    let none = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let asks = frame().address(Address::Source, Is::Equal, none);
    let asks = asks.protocol(UDP).port(Address::Destination, 67);
    let mut strange = frame();
    for address in own {
        strange = strange.address(Address::Source, Is::Not, IpAddr::V4(*address));
    }
    vec![
        // Nobody but the host tells addresses.
        frame().protocol(UDP).port(Address::Source, 67).drop(),
        asks.accept(),
        strange.drop(),
        frame().accept(),
    ]
}

fn ipv6(own: &[Ipv6Addr]) -> Vec<Rule> {
    let frame = || Rule::new().frame(IPV6);
    let icmp = |kind| frame().protocol(ICMP_6).icmp_type(kind);
    let none = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let not_own = |mut rule: Rule| {
        for address in own {
            rule = rule.neighbour(Is::Not, *address);
        }
        rule
    };
    let mut strange = frame().address(Address::Source, Is::Not, none);
    for address in own {
        strange = strange.address(Address::Source, Is::Not, IpAddr::V6(*address));
    }
    vec![
        icmp(ROUTER).drop(),
        icmp(REDIRECT).drop(),
        frame().protocol(UDP).port(Address::Source, 547).drop(),
        not_own(icmp(NEIGHBOUR_TOLD)).drop(),
        // Who has no address yet asks whether another has the one that it is about to take.
        not_own(icmp(NEIGHBOUR_ASKED).address(Address::Source, Is::Equal, none)).drop(),
        strange.drop(),
        frame().accept(),
    ]
}

/// The link-local address that follows from a hardware address (RFC 4291).
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    octets.into()
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_is_the_kernels() {
        let address = link_local([0x00, 0x16, 0x3e, 0x01, 0x02, 0x03]);
        assert_eq!(address.to_string(), "fe80::216:3eff:fe01:203");
    }
}
