//! Versions and dates: an order is an order, whatever stands there.

#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use sampan_debian_archive::{date, version};

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let (a, b, c) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    assert_eq!(version::compare(a, a), Ordering::Equal);
    assert_eq!(version::compare(a, b), version::compare(b, a).reverse());
    if version::compare(a, b).is_le() && version::compare(b, c).is_le() {
        assert!(version::compare(a, c).is_le());
    }
    let _ = version::is_valid(a);
    if let Some(seconds) = date::parse(text) {
        assert_eq!(date::parse(&date::format_release(seconds)), Some(seconds));
    }
});
