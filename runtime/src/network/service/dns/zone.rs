//! Who is called what in a network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::base::Name;
use domain::base::name::ToName;

use crate::network::service::table::Table;

/// A name in the form of a message.
pub(super) type WireName = Name<Vec<u8>>;

/// What a table says, for looking up.
#[derive(Default)]
pub(crate) struct Zone {
    /// By canonical names: lower-case, in the form of a message.
    names: HashMap<Box<[u8]>, Addresses>,
    pointers: HashMap<IpAddr, WireName>,
    domain: Option<WireName>,
    prefix4: Option<(Ipv4Addr, u8)>,
    prefix6: Option<(Ipv6Addr, u8)>,
}

/// Of one name. Without any, it only stands above others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) ipv4: Vec<Ipv4Addr>,
    pub(super) ipv6: Vec<Ipv6Addr>,
}

/// What is known of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Of a container.
    Host(&'a Addresses),
    /// Stands for an address.
    Pointer(&'a WireName),
    /// The network's domain.
    Domain,
    /// Ours to know, and there is none of that name.
    Nobody,
    /// Others know.
    Elsewhere,
}

impl Zone {
    pub(crate) fn new(table: &Table) -> Zone {
        let mut zone = Zone {
            domain: Name::vec_from_str(&table.domain)
                .ok()
                .map(|name| name.to_canonical_name()),
            prefix4: table.gateway4,
            prefix6: table.gateway6,
            ..Zone::default()
        };
        for host in &table.hosts {
            let full = format!("{}.{}", host.name, table.domain);
            // What does not fit into a message is no name that can be asked for.
            let (Ok(bare), Ok(full)) = (Name::vec_from_str(&host.name), Name::vec_from_str(&full))
            else {
                continue;
            };
            for name in [&bare, &full] {
                let addresses = zone.names.entry(canonical(name)).or_default();
                addresses.ipv4.extend(host.ipv4);
                addresses.ipv6.extend(host.ipv6);
            }
            let addresses = host.ipv4.map(IpAddr::from).into_iter();
            for address in addresses.chain(host.ipv6.map(IpAddr::from)) {
                zone.pointers.entry(address).or_insert_with(|| full.clone());
            }
            zone.add_above(&full);
        }
        zone
    }

    /// The network's domain, if it is a name.
    pub(super) fn domain(&self) -> Option<&WireName> {
        self.domain.as_ref()
    }

    /// Looks a canonical name up.
    pub(super) fn find(&self, name: &[u8]) -> Found<'_> {
        if let Some(addresses) = self.names.get(name) {
            return Found::Host(addresses);
        }
        if let Some(domain) = &self.domain {
            if name == domain.as_slice() {
                return Found::Domain;
            }
            if is_below(name, domain.as_slice()) {
                return Found::Nobody;
            }
        }
        match address_of(name) {
            None => Found::Elsewhere,
            Some(address) => match self.pointers.get(&address) {
                Some(pointer) => Found::Pointer(pointer),
                None if self.is_inside(address) => Found::Nobody,
                None => Found::Elsewhere,
            },
        }
    }

    /// Whether an address is of this network.
    fn is_inside(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => self.prefix4.is_some_and(|(gateway, length)| {
                let shift = 32_u32.saturating_sub(length.into());
                (u32::from(ip) ^ u32::from(gateway)).checked_shr(shift) == Some(0) || length == 0
            }),
            IpAddr::V6(ip) => self.prefix6.is_some_and(|(gateway, length)| {
                let shift = 128_u32.saturating_sub(length.into());
                (u128::from(ip) ^ u128::from(gateway)).checked_shr(shift) == Some(0) || length == 0
            }),
        }
    }

    /// Names between this one and the domain exist too (RFC 8020).
    fn add_above(&mut self, full: &WireName) {
        let Some(domain) = &self.domain else { return };
        let mut name = canonical(full);
        loop {
            let next = 1 + usize::from(name[0]);
            if next >= name.len() || name.len() - next <= domain.as_slice().len() {
                return;
            }
            name = name[next..].into();
            self.names.entry(name.clone()).or_default();
        }
    }
}

fn canonical(name: &WireName) -> Box<[u8]> {
    let name: WireName = name.to_canonical_name();
    name.into_octets().into()
}

/// Whether a name ends like another, at the bounds of labels.
fn is_below(name: &[u8], above: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(above.len()) else {
        return false;
    };
    if &name[start..] != above {
        return false;
    }
    let mut at = 0;
    while at < start {
        at += 1 + usize::from(name[at]);
    }
    at == start
}

/// The address that a canonical name of a reverse look-up stands for.
fn address_of(name: &[u8]) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(b"\x07in-addr\x04arpa\0") {
        let mut octets = [0; 4];
        let mut rest = labels;
        for octet in octets.iter_mut().rev() {
            let (label, after) = split(rest)?;
            // "01" is another name than "1".
            if label.len() > 1 && label[0] == b'0' || label.starts_with(b"+") {
                return None;
            }
            *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
            rest = after;
        }
        rest.is_empty().then(|| Ipv4Addr::from(octets).into())
    } else {
        let mut rest = name.strip_suffix(b"\x03ip6\x04arpa\0")?;
        let mut bits = 0_u128;
        for at in 0..32 {
            let (label, after) = split(rest)?;
            let [digit] = label else { return None };
            bits |= u128::from(char::from(*digit).to_digit(16)?) << (4 * at);
            rest = after;
        }
        rest.is_empty().then(|| Ipv6Addr::from(bits).into())
    }
}

fn split(labels: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = labels.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::service::table::Host;

    fn wire(name: &str) -> Box<[u8]> {
        canonical(&Name::vec_from_str(name).unwrap())
    }

    fn zone() -> Zone {
        let host = |name: &str, last: u8| Host {
            name: name.to_owned(),
            mac: [2, 0, 0, 0, 0, last],
            ipv4: Some([10, 9, 0, last].into()),
            ipv6: Some(Ipv6Addr::from((0xfd09_u128 << 112) | u128::from(last))),
        };
        Zone::new(&Table {
            gateway4: Some(([10, 9, 0, 1].into(), 24)),
            gateway6: Some(("fd09::1".parse().unwrap(), 64)),
            hosts: vec![host("Web", 2), host("db.eu", 3)],
            ..Table::default()
        })
    }

    #[test]
    fn a_host_has_its_name_with_and_without_the_domain() {
        let zone = zone();
        for name in ["web", "WEB.sampan", "db.eu", "db.eu.sampan"] {
            let Found::Host(found) = zone.find(&wire(name)) else {
                panic!("{name} is not found");
            };
            assert_eq!(found.ipv4.len(), 1, "{name}");
        }
    }

    #[test]
    fn names_of_the_domain_are_never_asked_elsewhere() {
        let zone = zone();
        assert_eq!(zone.find(&wire("sampan")), Found::Domain);
        assert_eq!(zone.find(&wire("nobody.sampan")), Found::Nobody);
        assert_eq!(zone.find(&wire("x.web.sampan")), Found::Nobody);
        assert_eq!(
            zone.find(&wire("eu.sampan")),
            Found::Host(&Addresses::default())
        );
        for name in ["debian.org", "xsampan", "eu", "sampan.org", "."] {
            assert_eq!(zone.find(&wire(name)), Found::Elsewhere, "{name}");
        }
        // The bytes of the domain's name, but not at the bounds of labels.
        assert_eq!(zone.find(b"\x08x\x06sampan\0"), Found::Elsewhere);
    }

    #[test]
    fn addresses_of_the_network_have_names_or_none_and_others_are_asked_elsewhere() {
        let zone = zone();
        let web = Name::vec_from_str("Web.sampan").unwrap();
        assert_eq!(
            zone.find(&wire("2.0.9.10.in-addr.arpa")),
            Found::Pointer(&web)
        );
        let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa";
        assert_eq!(zone.find(&wire(six)), Found::Pointer(&web));
        let other = six.replacen('2', "9", 1);
        assert_eq!(zone.find(&wire(&other)), Found::Nobody);
        assert_eq!(zone.find(&wire("9.0.9.10.in-addr.arpa")), Found::Nobody);
        for name in [
            "2.1.9.10.in-addr.arpa",
            "02.0.9.10.in-addr.arpa",
            "0.9.10.in-addr.arpa",
        ] {
            assert_eq!(zone.find(&wire(name)), Found::Elsewhere, "{name}");
        }
    }
}
