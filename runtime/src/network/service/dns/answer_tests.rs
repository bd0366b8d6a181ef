use std::net::Ipv4Addr;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::{A, Aaaa, Ptr, Soa};
use proptest::prelude::*;

use super::{Verdict, answer, belongs, refuse, room, truncate};
use crate::network::service::dns::zone::Zone;
use crate::network::service::table::{Host, Table};

fn zone() -> Zone {
    Zone::new(&Table {
        gateway4: Some(([10, 9, 0, 1].into(), 24)),
        hosts: vec![Host {
            name: "web".to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            ipv4: Some([10, 9, 0, 2].into()),
            ipv6: Some("fd09::2".parse().unwrap()),
        }],
        ..Table::default()
    })
}

fn query(name: &str, kind: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    builder.header_mut().set_id(0x1234);
    builder.header_mut().set_rd(true);
    builder
        .push((Name::vec_from_str(name).unwrap(), kind))
        .unwrap();
    builder.finish()
}

fn with_opt(name: &str, version: u8, size: u16) -> Vec<u8> {
    let mut bytes = query(name, Rtype::A);
    bytes[11] = 1;
    bytes.extend([0, 0, 41]);
    bytes.extend(size.to_be_bytes());
    bytes.extend([0, version, 0, 0, 0, 0]);
    bytes
}

fn answered(query: &[u8]) -> Message<Vec<u8>> {
    let mut out = b"left over".to_vec();
    assert_eq!(answer(&zone(), query, &mut out), Verdict::Answered);
    let message = Message::from_octets(out).unwrap();
    assert!(belongs(message.as_slice(), query) || message.header().rcode() == Rcode::FORMERR);
    assert!(message.header().ra());
    message
}

fn verdict(query: &[u8]) -> Verdict {
    answer(&zone(), query, &mut Vec::new())
}

#[test]
fn a_host_is_found_by_name_whatever_its_case_and_in_both_families() {
    for name in ["web", "WEB", "web.sampan", "Web.Sampan"] {
        let message = answered(&query(name, Rtype::A));
        assert!(message.header().aa());
        let records = message.answer().unwrap().limit_to_in::<A>();
        let found: Vec<Ipv4Addr> = records.map(|r| r.unwrap().data().addr()).collect();
        assert_eq!(found, [Ipv4Addr::new(10, 9, 0, 2)], "{name}");
        let message = answered(&query(name, Rtype::AAAA));
        let mut records = message.answer().unwrap().limit_to_in::<Aaaa>();
        let ip = records.next().unwrap().unwrap().data().addr();
        assert_eq!(ip.to_string(), "fd09::2");
    }
    assert_eq!(
        answered(&query("web", Rtype::ANY))
            .header_counts()
            .ancount(),
        2
    );
}

#[test]
fn an_address_is_found_by_reverse_lookup() {
    let message = answered(&query("2.0.9.10.in-addr.arpa", Rtype::PTR));
    let mut records = message.answer().unwrap().limit_to_in::<Ptr<_>>();
    let name = records
        .next()
        .unwrap()
        .unwrap()
        .data()
        .ptrdname()
        .to_string();
    assert_eq!(name, "web.sampan");
}

#[test]
fn no_such_name_and_nothing_of_that_kind_are_different_answers_with_a_time_to_keep_them() {
    for (name, kind, rcode) in [
        ("nobody.sampan", Rtype::A, Rcode::NXDOMAIN),
        ("9.0.9.10.in-addr.arpa", Rtype::PTR, Rcode::NXDOMAIN),
        ("web.sampan", Rtype::MX, Rcode::NOERROR),
        ("web", Rtype::TXT, Rcode::NOERROR),
        ("sampan", Rtype::A, Rcode::NOERROR),
        ("2.0.9.10.in-addr.arpa", Rtype::A, Rcode::NOERROR),
    ] {
        let message = answered(&query(name, kind));
        assert_eq!(message.header().rcode(), rcode, "{name}");
        assert_eq!(message.header_counts().ancount(), 0, "{name}");
        let mut records = message.authority().unwrap().limit_to_in::<Soa<_>>();
        assert_eq!(
            records.next().unwrap().unwrap().ttl().as_secs(),
            10,
            "{name}"
        );
    }
    let own = answered(&query("sampan", Rtype::SOA));
    assert_eq!(own.header_counts().ancount(), 1);
}

#[test]
fn what_is_not_of_the_network_is_for_others() {
    for (name, kind) in [
        ("debian.org", Rtype::A),
        ("printer", Rtype::A),
        (".", Rtype::NS),
        ("1.1.1.1.in-addr.arpa", Rtype::PTR),
    ] {
        assert_eq!(verdict(&query(name, kind)), Verdict::Forward, "{name}");
    }
}

#[test]
fn edns_is_answered_with_edns_and_an_unknown_version_refused() {
    let message = answered(&with_opt("web", 0, 4096));
    assert_eq!(message.opt().unwrap().udp_payload_size(), 1232);
    assert_eq!(message.header_counts().ancount(), 1);
    let message = answered(&with_opt("web", 1, 4096));
    assert_eq!(message.opt_rcode().to_int(), 16);
    assert_eq!(message.header_counts().ancount(), 0);
    let mut twice = with_opt("web", 0, 4096);
    twice[11] = 2;
    let end = twice.len() - 11;
    twice.extend_from_within(end..);
    assert_eq!(answered(&twice).header().rcode(), Rcode::FORMERR);
    assert_eq!(room(&with_opt("web", 0, 1400)), 1400);
    assert_eq!(room(&with_opt("web", 0, 10)), 512);
    assert_eq!(room(&query("web", Rtype::A)), 512);
}

#[test]
fn what_is_no_plain_question_is_refused_and_answers_are_ignored() {
    let plain = query("web", Rtype::A);
    let mut reply = plain.clone();
    reply[2] |= 0x80;
    assert_eq!(verdict(&reply), Verdict::Ignore);
    assert_eq!(verdict(&plain[..11]), Verdict::Ignore);
    let cut = &plain[..plain.len() - 1];
    assert_eq!(answered_raw(cut).header().rcode(), Rcode::FORMERR);
    let mut none = plain.clone();
    none[5] = 0;
    assert_eq!(answered_raw(&none).header().rcode(), Rcode::FORMERR);
    let mut update = plain.clone();
    update[2] |= 5 << 3;
    let refused = answered_raw(&update);
    assert_eq!(refused.header().rcode(), Rcode::NOTIMP);
    assert_eq!(refused.header().opcode(), Opcode::UPDATE);
    let mut chaos = MessageBuilder::new_vec().question();
    let name = Name::vec_from_str("version.bind").unwrap();
    chaos.push((name, Rtype::TXT, Class::CH)).unwrap();
    assert_eq!(
        answered_raw(&chaos.finish()).header().rcode(),
        Rcode::REFUSED
    );
}

fn answered_raw(query: &[u8]) -> Message<Vec<u8>> {
    let mut out = Vec::new();
    assert_eq!(answer(&zone(), query, &mut out), Verdict::Answered);
    Message::from_octets(out).unwrap()
}

#[test]
fn only_an_answer_with_the_same_id_and_question_belongs_to_a_query() {
    let asked = query("debian.org", Rtype::A);
    let reply = |query: &[u8]| {
        let mut out = Vec::new();
        refuse(query, Rcode::NOERROR, &mut out);
        out
    };
    assert!(belongs(&reply(&asked), &asked));
    assert!(belongs(&reply(&query("DEBIAN.org", Rtype::A)), &asked));
    assert!(!belongs(&reply(&query("debian.net", Rtype::A)), &asked));
    assert!(!belongs(&reply(&query("debian.org", Rtype::AAAA)), &asked));
    assert!(!belongs(&asked, &asked), "a question is no answer");
    let mut other = reply(&asked);
    other[0] ^= 1;
    assert!(!belongs(&other, &asked));
}

#[test]
fn a_truncated_answer_keeps_the_question_and_says_so() {
    let asked = query("debian.org", Rtype::A);
    let mut out = Vec::new();
    truncate(&asked, &mut out);
    let message = Message::from_octets(out).unwrap();
    assert!(message.header().tc());
    assert!(belongs(message.as_slice(), &asked));
}

proptest! {
    #[test]
    fn whatever_is_asked_the_answer_is_a_whole_message_that_fits_a_datagram(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        at in 0_usize..80,
    ) {
        let mut near = with_opt("web.sampan", 0, 512);
        for (place, byte) in near.iter_mut().skip(at).zip(&bytes) {
            *place ^= byte;
        }
        for query in [&bytes, &near] {
            let mut out = Vec::new();
            if answer(&zone(), query, &mut out) == Verdict::Answered {
                let message = Message::from_octets(&out).unwrap();
                prop_assert!(out.len() <= 512);
                prop_assert!(message.header().qr());
                prop_assert_eq!(message.header().id().to_be_bytes(), [query[0], query[1]]);
                for section in [message.answer().unwrap(), message.additional().unwrap()] {
                    for record in section {
                        prop_assert!(record.is_ok());
                    }
                }
            }
        }
    }
}
