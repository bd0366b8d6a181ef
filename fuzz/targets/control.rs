//! Stanzas: of control files, of Packages, of anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sampan_debian_archive::deb822;

fuzz_target!(|text: &str| {
    for stanza in deb822::stanzas(text, "control") {
        let Ok(stanza) = stanza else { break };
        for (name, value) in stanza.iter() {
            assert_eq!(stanza.get(name), Some(value));
            assert_eq!(value, value.trim_ascii());
        }
    }
    let _ = deb822::single(text, "control");
});
