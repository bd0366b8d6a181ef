//! Addresses for machines that no config names: each keeps its own as long as there are enough.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

/// A range of addresses, and who has them: the one that asked longest ago first. There are at most as
/// many as addresses.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    range: Option<(u32, u32)>,
    given: VecDeque<([u8; 6], u32)>,
}

impl Strangers {
    /// With this range; who has an address of it keeps it.
    pub(super) fn set_range(&mut self, range: Option<(Ipv4Addr, Ipv4Addr)>) {
        self.range = range.map(|(first, last)| (first.into(), last.into()));
        let range = self.range;
        self.given
            .retain(|(_, address)| range.is_some_and(|(a, z)| (a..=z).contains(address)));
    }

    /// What somebody has.
    pub(super) fn of(&self, mac: [u8; 6]) -> Option<Ipv4Addr> {
        let own = self.given.iter().find(|(other, _)| *other == mac)?;
        Some(own.1.into())
    }

    /// What somebody gets: what it has, what it wants if that is free, one that is free, or that of
    /// the one that asked longest ago.
    pub(super) fn give(&mut self, mac: [u8; 6], wanted: Ipv4Addr) -> Option<Ipv4Addr> {
        let (first, last) = self.range?;
        let own = self.given.iter().position(|(other, _)| *other == mac);
        let address = match own.and_then(|at| self.given.remove(at)) {
            Some((_, address)) => address,
            None => {
                let taken = |address: &u32| self.given.iter().any(|(_, other)| other == address);
                let wanted = Some(u32::from(wanted)).filter(|it| (first..=last).contains(it));
                let count = last.checked_sub(first)? + 1;
                // Where it begins depends on who asks: then it has the same again as a rule.
                let begin = mac.iter().fold(0u32, |sum, byte| {
                    sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
                }) % count;
                let all = (0..count).map(|at| first + (begin + at) % count);
                let free = wanted.into_iter().chain(all).find(|it| !taken(it));
                free.or_else(|| self.given.pop_front().map(|(_, address)| address))?
            }
        };
        self.given.push_back((mac, address));
        Some(address.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, last]
    }

    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

    #[test]
    fn each_keeps_its_own_and_the_last_to_ask_loses_nothing() {
        let mut strangers = Strangers::default();
        assert_eq!(strangers.give(mac(1), NONE), None);
        strangers.set_range(Some(([10, 0, 0, 7].into(), [10, 0, 0, 9].into())));
        let wanted = Ipv4Addr::new(10, 0, 0, 8);
        assert_eq!(strangers.give(mac(1), wanted), Some(wanted));
        let second = strangers.give(mac(2), wanted).unwrap();
        let third = strangers.give(mac(3), Ipv4Addr::new(10, 0, 0, 99)).unwrap();
        assert!(second != wanted && third != wanted && second != third);
        assert_eq!(strangers.give(mac(1), NONE), Some(wanted));
        // Nothing is free: the second asked longest ago.
        assert_eq!(strangers.give(mac(4), NONE), Some(second));
        assert_eq!(strangers.of(mac(2)), None);
        assert_eq!(strangers.of(mac(1)), Some(wanted));
        strangers.set_range(Some(([10, 0, 0, 8].into(), [10, 0, 0, 8].into())));
        assert_eq!(strangers.of(mac(1)), Some(wanted));
        assert_eq!(strangers.of(mac(4)), None);
    }
}
