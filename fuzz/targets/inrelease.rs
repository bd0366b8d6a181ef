//! A signed message: it is believed only if it is the one that the corpus begins with.
//!
//! The key is not there any more, so that whatever text is accepted must be that message's.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sampan_debian_archive::openpgp::{Keyring, Verifier};

const MESSAGE: &[u8] = include_bytes!("../corpus/inrelease/signed");
const KEYRING: &[u8] = include_bytes!("../keyring.gpg");
/// Between the time of the signature and the end of the key.
const NOW: i64 = 1_700_000_000;

static RINGS: LazyLock<(Keyring, Keyring, String)> = LazyLock::new(|| {
    let own = Keyring::parse(KEYRING, "ring").expect("a keyring");
    let text = own.verify(MESSAGE, NOW, "InRelease").expect("a message");
    (own, Keyring::debian().expect("a keyring"), text.text)
});

fuzz_target!(|bytes: &[u8]| {
    let (own, debian, text) = &*RINGS;
    if let Ok(accepted) = own.verify(bytes, NOW, "InRelease") {
        assert_eq!(accepted.text.trim_end(), text.trim_end());
    }
    assert!(debian.verify(bytes, NOW, "InRelease").is_err());
    let _ = Keyring::parse(bytes, "ring");
});
