//! Messages of guests that ask for their addresses.

#![no_main]

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sampan_runtime::service::{Answers, Host, Table};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 9);

static ANSWERS: LazyLock<Answers> = LazyLock::new(|| of_pool(None));

/// A network with machines that no config names.
static WITH_STRANGERS: LazyLock<Answers> =
    LazyLock::new(|| of_pool(Some((FIRST, Ipv4Addr::new(10, 9, 0, 254)))));

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 250);

fn of_pool(pool: Option<(Ipv4Addr, Ipv4Addr)>) -> Answers {
    Answers::new(&Table {
        pool,
        gateway4: Some(([10, 9, 0, 1].into(), 24)),
        hosts: vec![Host {
            name: "web".to_owned(),
            mac: [2, 0, 0, 0, 0, 9],
            ipv4: Some(OWN),
            ipv6: None,
        }],
        ..Table::default()
    })
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((answer, broadcast)) = ANSWERS.to_dhcp(bytes) {
        assert!(answer.len() >= 300 && answer[0] == 2);
        assert_eq!(answer[28..34], [2, 0, 0, 0, 0, 9]);
        assert!(answer[16..20] == OWN.octets() || answer[16..20] == [0; 4]);
        // Sent to one address only if that is the guest's.
        assert!(broadcast || answer[12..16] == OWN.octets());
        assert_eq!(ANSWERS.to_dhcp(&answer), None, "an answer is answered");
    }
    if let Some((answer, _)) = WITH_STRANGERS.to_dhcp(bytes) {
        let address: [u8; 4] = answer[16..20].try_into().expect("four bytes");
        let in_pool = (FIRST.octets()..=[10, 9, 0, 254]).contains(&address);
        assert!(in_pool || address == OWN.octets() || address == [0; 4]);
        // Nobody gets what is recorded for another.
        assert!(address != OWN.octets() || answer[28..34] == [2, 0, 0, 0, 0, 9]);
    }
});
