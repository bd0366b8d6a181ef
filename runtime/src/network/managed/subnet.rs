//! Subnets that nobody else has: for a new network, and addresses in it for a new container.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::NetworkAddress;
use crate::network::address;
use crate::network::netlink::Netlink;

/// What is taken: networks by an address in them and their bits.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<(IpAddr, u8)>);

impl Taken {
    /// What this host has routes to, its own addresses, and its name servers.
    pub(super) fn on_this_host(netlink: &mut Netlink) -> io::Result<Taken> {
        let mut taken = Taken(address::routes(netlink)?);
        for (_, own) in address::list(netlink)? {
            taken.add(own, 32);
        }
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if words.next() == Some("nameserver")
                && let Some(Ok(server)) = words.next().map(str::parse)
            {
                taken.add(server, 32);
            }
        }
        Ok(taken)
    }

    pub(super) fn add(&mut self, address: IpAddr, bits: u8) {
        self.0.push((address, bits));
    }

    /// Whether a network and one of these have addresses in common.
    fn overlaps(&self, address: Ipv4Addr, bits: u8) -> bool {
        self.0.iter().any(|(other, other_bits)| match other {
            // The default route is everybody's.
            IpAddr::V4(other) if *other_bits > 0 => {
                let bits = u32::from(bits.min(*other_bits));
                (u32::from(*other) ^ u32::from(address)) >> (32 - bits) == 0
            }
            _ => false,
        })
    }

    /// A /24 of a private network that none of these touches; the host's address in it.
    pub(super) fn free_v4(&self, mut random: impl FnMut() -> u32) -> Option<NetworkAddress> {
        let mut all: Vec<u32> = Vec::new();
        // The largest first, where two that choose blindly meet least.
        for (network, count) in [
            (0x0a00_0000u32, 1 << 16),
            (0xac10_0000, 1 << 12),
            (0xc0a8_0000, 256),
        ] {
            let begin = random() % count;
            all.extend((0..count).map(|at| network | (begin.wrapping_add(at * 7919) % count) << 8));
        }
        let free = all
            .into_iter()
            .find(|network| !self.overlaps(Ipv4Addr::from(*network), 24))?;
        Some(NetworkAddress {
            address: IpAddr::V4(Ipv4Addr::from(free | 1)),
            bits: 24,
            said_broadcast: None,
        })
    }
}

/// A network of unique local addresses (RFC 4193), by chance nobody else's.
pub(super) fn unique_v6(random: u64) -> NetworkAddress {
    let prefix = u128::from(random) & 0x00ff_ffff_ffff_ffff | 0xfd00_0000_0000_0000;
    NetworkAddress {
        address: IpAddr::V6(Ipv6Addr::from(prefix << 64 | 1)),
        bits: 64,
        said_broadcast: None,
    }
}

/// The IPv4 address of a new container: the first that is free from the place on that its name has,
/// so that one made again under the same name has its old address again as a rule.
pub(super) fn free_address(
    gateway: (Ipv4Addr, u8),
    used: &HashSet<Ipv4Addr>,
    name: u64,
) -> Option<Ipv4Addr> {
    let (own, bits) = gateway;
    let mask = u32::MAX << (32 - bits);
    let network = u32::from(own) & mask;
    // Neither the network's own address nor the broadcast one.
    let count = !mask - 1;
    let begin = (name % u64::from(count)) as u32;
    (0..count)
        .map(|at| Ipv4Addr::from(network + 1 + (begin + at) % count))
        .find(|address| *address != own && !used.contains(address))
}

/// The most addresses for machines that no config names.
const POOL: u32 = 256;

/// The addresses of a subnet that are for such machines, the first and the last: its last quarter, or
/// its first if the host itself is in the last.
pub(super) fn pool(gateway: (Ipv4Addr, u8)) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (own, bits) = gateway;
    let mask = u32::MAX.checked_shl(32 - u32::from(bits))?;
    let (network, own) = (u32::from(own) & mask, u32::from(own));
    let size = ((!mask).checked_sub(1)? / 4).min(POOL);
    let last = (network | !mask).checked_sub(1)?;
    let (first, last) = match own > last - size {
        true => (network + 1, network + size),
        false => (last - size + 1, last),
    };
    (size > 0).then(|| (first.into(), last.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_subnet_touches_nothing_that_is_routed() {
        let mut taken = Taken::default();
        taken.add("0.0.0.0".parse().unwrap(), 0);
        taken.add("10.0.0.0".parse().unwrap(), 8);
        taken.add("172.16.0.0".parse().unwrap(), 12);
        for third in 0..=254 {
            taken.add(IpAddr::V4(Ipv4Addr::new(192, 168, third, 9)), 32);
        }
        let free = taken.free_v4(|| 77).unwrap();
        assert_eq!(free.address, "192.168.255.1".parse::<IpAddr>().unwrap());
        taken.add("192.168.0.0".parse().unwrap(), 16);
        assert_eq!(taken.free_v4(|| 77), None);
    }

    #[test]
    fn a_pool_is_in_its_subnet_and_never_the_hosts_address() {
        let of = |text: &str, bits| pool((text.parse().unwrap(), bits));
        let range = |first: &str, last: &str| Some((first.parse().unwrap(), last.parse().unwrap()));
        assert_eq!(of("10.1.1.1", 24), range("10.1.1.192", "10.1.1.254"));
        assert_eq!(of("10.1.1.254", 24), range("10.1.1.1", "10.1.1.63"));
        assert_eq!(of("10.1.0.1", 16), range("10.1.254.255", "10.1.255.254"));
        assert_eq!(of("10.1.1.1", 29), range("10.1.1.6", "10.1.1.6"));
        for bits in [0, 30, 31, 32] {
            let pool = of("10.1.1.1", bits);
            assert!(bits == 0 || pool.is_none(), "{bits}: {pool:?}");
        }
    }

    #[test]
    fn addresses_run_out_only_when_all_are_given() {
        let gateway = (Ipv4Addr::new(10, 1, 1, 1), 29);
        let mut used = HashSet::new();
        while let Some(address) = free_address(gateway, &used, 4) {
            assert!(used.insert(address));
        }
        let mut all: Vec<u8> = used.iter().map(|address| address.octets()[3]).collect();
        all.sort_unstable();
        assert_eq!(all, [2, 3, 4, 5, 6]);
    }

    proptest::proptest! {
        #[test]
        fn a_new_subnet_is_private_whatever_the_chance(number: u32, name: u64) {
            let found = Taken::default().free_v4(|| number).unwrap();
            let IpAddr::V4(own) = found.address else { panic!("not IPv4") };
            proptest::prop_assert!(own.is_private());
            let first = free_address((own, 24), &HashSet::new(), name).unwrap();
            proptest::prop_assert!(found.reaches(IpAddr::V4(first)));
            let v6 = unique_v6(name);
            proptest::prop_assert!(v6.address.to_string().starts_with("fd"));
        }
    }
}
