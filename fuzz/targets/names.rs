//! Questions about names, and answers of other resolvers.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sampan_runtime::service::{Answers, Host, Table};

static ANSWERS: LazyLock<Answers> = LazyLock::new(|| {
    Answers::new(&Table {
        gateway4: Some(([10, 9, 0, 1].into(), 24)),
        gateway6: Some((0xfd09_u128.rotate_right(16).into(), 64)),
        hosts: vec![Host {
            name: "web.eu".to_owned(),
            mac: [2, 0, 0, 0, 0, 9],
            ipv4: Some([10, 9, 0, 9].into()),
            ipv6: Some((0xfd09_u128.rotate_right(16) | 9).into()),
        }],
        ..Table::default()
    })
});

fuzz_target!(|bytes: &[u8]| {
    if let Some(answer) = ANSWERS.to_names(bytes) {
        assert!(answer.len() <= 512 && answer[2] & 0x80 != 0);
        assert_eq!(answer[..2], bytes[..2]);
        assert_eq!(ANSWERS.to_names(&answer), None, "an answer is answered");
    }
    let (query, answer) = bytes.split_at(bytes.len() / 2);
    if let Some(passed) = ANSWERS.pass_on(query, answer) {
        assert_eq!(passed[..2], query[..2]);
    }
});
