use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use proptest::prelude::*;

use super::Leases;
use crate::network::service::table::{Host, Table};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OURS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 9);

fn leases() -> Leases {
    let table = Table {
        gateway4: Some(([10, 9, 0, 1].into(), 24)),
        hosts: vec![Host {
            name: "web".to_owned(),
            mac: MAC,
            ipv4: Some(OURS),
            ipv6: None,
        }],
        ..Table::default()
    };
    Leases::new(&table, &[])
}

fn query(mac: [u8; 6], has: Ipv4Addr, options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[4..8].copy_from_slice(b"abcd");
    bytes[12..16].copy_from_slice(&has.octets());
    bytes[28..34].copy_from_slice(&mac);
    bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
    bytes.extend(options);
    bytes.push(255);
    bytes
}

/// The answer's option of this code.
fn option(answer: &[u8], code: u8) -> Option<Vec<u8>> {
    let mut rest = &answer[240..];
    while rest[0] != 255 {
        let (value, after) = rest[2..].split_at(rest[1].into());
        if rest[0] == code {
            return Some(value.to_vec());
        }
        rest = after;
    }
    None
}

fn asked(query: &[u8]) -> Option<(Vec<u8>, SocketAddrV4)> {
    let mut out = vec![1, 2, 3];
    let to = leases().answer(query, &mut out)?;
    Some((out, to))
}

const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

#[test]
fn a_guest_is_offered_its_recorded_address_with_all_it_needs() {
    let (answer, to) = asked(&query(MAC, NONE, &[53, 1, 1, 61, 2, 7, 7])).unwrap();
    assert_eq!(to, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
    assert_eq!(answer[0], 2);
    assert_eq!(&answer[4..8], b"abcd");
    assert_eq!(answer[16..20], OURS.octets());
    assert!(answer.len() >= 300);
    for (code, value) in [
        (53, &[2][..]),
        (54, &[10, 9, 0, 1]),
        (1, &[255, 255, 255, 0]),
        (28, &[10, 9, 0, 255]),
        (3, &[10, 9, 0, 1]),
        (6, &[10, 9, 0, 1]),
        (12, b"web"),
        (15, b"sampan"),
        (51, &3600_u32.to_be_bytes()),
        (61, &[7, 7]),
    ] {
        assert_eq!(option(&answer, code).as_deref(), Some(value), "{code}");
    }
}

#[test]
fn the_recorded_address_is_granted_and_every_other_refused() {
    let right = [53, 1, 3, 50, 4, 10, 9, 0, 9, 54, 4, 10, 9, 0, 1];
    let (answer, _) = asked(&query(MAC, NONE, &right)).unwrap();
    assert_eq!(option(&answer, 53), Some(vec![5]));
    let wrong = [53, 1, 3, 50, 4, 10, 9, 0, 8];
    let (answer, to) = asked(&query(MAC, NONE, &wrong)).unwrap();
    assert_eq!(option(&answer, 53), Some(vec![6]));
    assert_eq!(to.ip(), &Ipv4Addr::BROADCAST);
    assert_eq!(answer[16..20], [0; 4]);
    assert_eq!(option(&answer, 51), None);
}

#[test]
fn a_renewal_is_answered_where_the_guest_is() {
    let (answer, to) = asked(&query(MAC, OURS, &[53, 1, 3])).unwrap();
    assert_eq!(option(&answer, 53), Some(vec![5]));
    assert_eq!(to.ip(), &OURS);
}

#[test]
fn information_is_no_lease() {
    let (answer, to) = asked(&query(MAC, OURS, &[53, 1, 8])).unwrap();
    assert_eq!(to.ip(), &OURS);
    assert_eq!(answer[16..20], [0; 4]);
    assert_eq!(option(&answer, 51), None);
    assert_eq!(option(&answer, 3), Some(vec![10, 9, 0, 1]));
    // Whoever sends from elsewhere must not have an answer sent there.
    let elsewhere = Ipv4Addr::new(10, 9, 0, 77);
    assert!(asked(&query(MAC, elsewhere, &[53, 1, 8])).is_none());
}

#[test]
fn strangers_other_servers_clients_and_relayed_messages_get_no_answer() {
    let discover = [53, 1, 1];
    assert!(
        asked(&query([2; 6], NONE, &discover)).is_none(),
        "a stranger"
    );
    let other = [53, 1, 3, 50, 4, 10, 9, 0, 9, 54, 4, 10, 9, 0, 2];
    assert!(
        asked(&query(MAC, NONE, &other)).is_none(),
        "of another server"
    );
    for kind in [2, 4, 5, 6, 7, 9] {
        assert!(asked(&query(MAC, NONE, &[53, 1, kind])).is_none(), "{kind}");
    }
    let mut relayed = query(MAC, NONE, &discover);
    relayed[24..28].copy_from_slice(&[10, 0, 0, 1]);
    assert!(asked(&relayed).is_none(), "relayed");
    let mut reply = query(MAC, NONE, &discover);
    reply[0] = 2;
    assert!(asked(&reply).is_none(), "a reply");
}

#[test]
fn without_own_name_service_guests_are_told_the_hosts_if_they_can_reach_it() {
    let upstream: Vec<IpAddr> = ["127.0.0.53", "9.9.9.9", "fd00::1"]
        .map(|ip| ip.parse().unwrap())
        .to_vec();
    let table = Table {
        dns: false,
        gateway4: Some(([10, 9, 0, 1].into(), 24)),
        ..Table::default()
    };
    let leases = Leases::new(&table, &upstream);
    assert_eq!(leases.name_servers, [Ipv4Addr::new(9, 9, 9, 9)]);
}

proptest! {
    #[test]
    fn nothing_that_a_guest_sends_is_answered_with_more_than_the_guests_own(
        options in proptest::collection::vec(any::<u8>(), 0..400),
        fixed in proptest::collection::vec(any::<u8>(), 0..240),
    ) {
        let mut bytes = query(MAC, NONE, &options);
        let _ = asked(&fixed);
        if let Some((answer, _)) = asked(&bytes) {
            assert!(answer[16..20] == OURS.octets() || answer[16..20] == [0; 4]);
        }
        bytes.truncate(240 + options.len());
        let _ = asked(&bytes);
    }
}
