//! A .deb as it comes: the ar archive, both members, every byte of every file.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use sampan_debian_archive::deb::Deb;

fuzz_target!(|bytes: &[u8]| {
    let Ok(deb) = Deb::parse(bytes.to_vec(), "p") else {
        return;
    };
    if let Ok(members) = deb.control() {
        for member in members {
            assert!(!member.name.contains(['/', '.']) && !member.name.is_empty());
        }
    }
    let Ok(mut archive) = deb.data() else { return };
    let mut total = 0;
    for entry in archive.entries().into_iter().flatten() {
        let Ok(mut entry) = entry else { return };
        let mut contents = Vec::new();
        let _ = entry.read_to_end(&mut contents);
        total += contents.len() as u64;
    }
    assert!(total < 300 << 20, "{total} bytes of a small .deb");
});
