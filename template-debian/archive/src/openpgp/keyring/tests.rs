//! Which signatures are believed, and what is said of those that are not.

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    source::hex,
    testing::{Binding, Key, keyring, sign_cleartext},
};

const TEXT: &str = "Suite: stable\n- a line with a dash\n";
const DAY: i64 = 86_400;

fn verify(message: &[u8], keys: &[Key]) -> std::result::Result<String, String> {
    let keyring = Keyring::parse(&keyring(keys), "ring.gpg").unwrap();
    keyring
        .verify(message, date::now(), "InRelease")
        .map(|signed| signed.text)
        .map_err(|error| error.to_string())
}

fn refusal(key: Key) -> String {
    verify(&sign_cleartext(TEXT, std::slice::from_ref(&key)), &[key]).unwrap_err()
}

#[test]
fn a_good_signature_gives_the_signed_text_and_nothing_else() {
    let key = Key::generate();
    let message = sign_cleartext(TEXT, std::slice::from_ref(&key));
    assert_eq!(
        verify(&message, &[key]).unwrap().trim_end(),
        TEXT.trim_end()
    );
}

#[test]
fn one_known_key_among_several_is_enough() {
    let (known, other) = (Key::generate(), Key::generate());
    let message = sign_cleartext(TEXT, &[other, known.clone()]);
    assert!(verify(&message, &[known]).is_ok());
}

#[test]
fn an_armored_keyring_of_several_blocks_is_read() {
    let (a, b) = (Key::generate(), Key::generate());
    let armored = format!("{}\n{}", a.public_armored(), b.public_armored());
    let ring = Keyring::parse(armored.as_bytes(), "ring.asc").unwrap();
    assert_eq!(ring.len(), 2);
    for key in [a, b] {
        assert!(
            ring.verify(&sign_cleartext(TEXT, &[key]), date::now(), "R")
                .is_ok()
        );
    }
}

#[test]
fn an_unknown_key_is_named() {
    let signer = Key::generate();
    let message = sign_cleartext(TEXT, std::slice::from_ref(&signer));
    let error = verify(&message, &[Key::generate()]).unwrap_err();
    assert_eq!(
        error,
        format!(
            "cannot trust InRelease: key {}: not in the keyring ring.gpg",
            signer.id()
        )
    );
}

#[test]
fn a_changed_text_is_refused() {
    let key = Key::generate();
    let message = sign_cleartext(TEXT, std::slice::from_ref(&key));
    let changed = String::from_utf8(message)
        .unwrap()
        .replace("stable", "stabel");
    let error = verify(changed.as_bytes(), &[key]).unwrap_err();
    assert!(error.contains("does not fit the text"), "{error}");
}

#[test]
fn anything_around_the_message_is_refused() {
    let key = Key::generate();
    let message = String::from_utf8(sign_cleartext(TEXT, std::slice::from_ref(&key))).unwrap();
    for text in [
        format!("Suite: evil\n{message}"),
        format!("{message}\nSuite: evil\n"),
        format!("{message}{message}"),
        message.replacen("Hash:", "Evil: header\nHash:", 1),
        TEXT.to_owned(),
        String::new(),
    ] {
        assert!(
            verify(text.as_bytes(), std::slice::from_ref(&key)).is_err(),
            "{text}"
        );
    }
}

#[test]
fn an_expired_key_is_refused_with_the_date_whenever_it_signed() {
    let now = date::now();
    let expired = Key::generate().expires(now - DAY);
    let error = refusal(expired.clone().signs_at(now - 10 * DAY));
    assert!(
        error.contains(&format!("expired on {}", date::format(now - DAY))),
        "{error}"
    );
    assert!(refusal(expired).contains("expired on"));
}

#[test]
fn a_revoked_key_and_one_without_the_sign_flag_are_refused() {
    assert!(refusal(Key::generate().revoked()).contains("revoked"));
    assert!(refusal(Key::generate().without_sign_flag()).contains("not a signing key"));
}

#[test]
fn a_signature_over_sha1_from_the_future_or_older_than_its_key_is_refused() {
    let now = date::now();
    assert!(refusal(Key::generate_for_sha1()).contains("too weak"));
    assert!(refusal(Key::generate().signs_at(now + 3 * DAY)).contains("future"));
    let early = Key::generate_at(now - DAY).signs_at(now - 2 * DAY);
    assert!(refusal(early).contains("older than the key"));
}

/// What is conceded to get a message by this key believed, or why it is refused all the same.
fn lenient(key: &Key, allow: Concessions) -> std::result::Result<String, String> {
    let message = sign_cleartext(TEXT, std::slice::from_ref(key));
    let ring = Keyring::parse(&key.public(), "ring.gpg").unwrap();
    ring.allowing(allow)
        .verify(&message, date::now(), "InRelease")
        .map(|signed| signed.conceded.unwrap_or_default())
        .map_err(|error| error.to_string())
}

const EXPIRED_KEY: Concessions = Concessions {
    expired_key: true,
    weak_key: false,
};
const WEAK_KEY: Concessions = Concessions {
    expired_key: false,
    weak_key: true,
};
const BOTH: Concessions = Concessions {
    expired_key: true,
    weak_key: true,
};

#[test]
fn a_key_that_has_expired_since_is_believed_only_by_who_allows_that() {
    let now = date::now();
    let expired = Key::generate().expires(now - DAY).signs_at(now - 10 * DAY);
    let conceded = lenient(&expired, EXPIRED_KEY).unwrap();
    assert!(conceded.contains("expired on"), "{conceded}");
    assert!(
        lenient(&expired, WEAK_KEY)
            .unwrap_err()
            .contains("expired on")
    );
    // It had expired when it signed: nobody allowed that.
    let late = Key::generate().expires(now - DAY).signs_at(now - DAY / 2);
    assert!(lenient(&late, BOTH).unwrap_err().contains("expired on"));
}

#[test]
fn weak_keys_and_hashes_are_believed_only_by_who_allows_them() {
    for key in [
        Key::generate_for_sha1(),
        Key::generate_dsa(),
        Key::generate_small_rsa(),
        Key::generate_for_sha1().certified_over_sha1(),
    ] {
        let conceded = lenient(&key, WEAK_KEY).unwrap();
        assert!(!conceded.is_empty());
        for allow in [Concessions::default(), EXPIRED_KEY] {
            let error = lenient(&key, allow).unwrap_err();
            assert!(error.contains("too weak"), "{error}");
        }
    }
}

#[test]
fn an_old_archives_key_needs_both_concessions() {
    let now = date::now();
    let old = Key::generate_dsa()
        .expires(now - DAY)
        .signs_at(now - 10 * DAY);
    assert!(lenient(&old, EXPIRED_KEY).is_err());
    assert!(lenient(&old, WEAK_KEY).is_err());
    assert!(lenient(&old, BOTH).is_ok());
}

#[test]
fn concessions_are_for_age_and_weakness_only() {
    let now = date::now();
    for key in [
        Key::generate().revoked(),
        Key::generate().without_sign_flag(),
        Key::generate().signs_at(now + 3 * DAY),
        Key::generate_dsa().revoked(),
    ] {
        assert!(lenient(&key, BOTH).is_err());
    }
    // What needs nothing given up says so.
    assert_eq!(lenient(&Key::generate(), BOTH).unwrap(), "");
}

#[test]
fn a_subkey_signs_only_when_both_keys_and_its_flags_say_so() {
    let key = Key::with_subkey(Binding::Good);
    let message = sign_cleartext(TEXT, std::slice::from_ref(&key));
    assert!(verify(&message, &[key]).is_ok());
    for (binding, words) in [
        // rpgp drops what nothing binds.
        (Binding::None, "not in the keyring"),
        (Binding::OneSided, "no back signature"),
        (Binding::WithoutSignFlag, "not a signing key"),
        (Binding::Revoked, "revoked by its owner"),
    ] {
        let error = refusal(Key::with_subkey(binding));
        assert!(error.contains(words), "{binding:?}: {error}");
    }
    let expired = Key::with_subkey(Binding::Good).expires(date::now() - DAY);
    assert!(refusal(expired).contains("its primary key: expired on"));
    let revoked = Key::with_subkey(Binding::Good).revoked();
    assert!(refusal(revoked).contains("its primary key: revoked"));
}

#[test]
fn armor_headers_say_nothing_of_what_is_signed() {
    let key = Key::generate();
    let message = String::from_utf8(sign_cleartext(TEXT, std::slice::from_ref(&key))).unwrap();
    let with = |header: &str| message.replacen("Hash: SHA512\n", header, 1);
    assert_ne!(with(""), message, "the message names its hash");
    for header in [
        "Hash: SHA512\nSuite: evil\n",
        "Suite: evil\n",
        "Hash: SHA512\n \nSuite: evil\n",
        "Hash: SHA512\n\nSuite: evil\n",
        "Hash: SHA512\n\r\nSuite: evil\n",
        "Hash: SHA512\nComment: x\n",
        "NotDashEscaped: You need GnuPG\nHash: SHA512\n",
    ] {
        let result = verify(with(header).as_bytes(), std::slice::from_ref(&key));
        assert!(result.is_err(), "{header:?} gave {result:?}");
    }
    // A wrong or missing Hash header is not signed and changes nothing: the signature itself
    // says which hash it is over.
    for header in ["", "Hash: MD5\n", "Hash: SHA1\n", "Hash: SHA1,SHA512\n"] {
        if let Ok(text) = verify(with(header).as_bytes(), std::slice::from_ref(&key)) {
            assert_eq!(text.trim_end(), TEXT.trim_end(), "{header:?}");
        }
    }
}

#[test]
fn bytes_around_or_between_the_parts_are_refused() {
    let key = Key::generate();
    let good = String::from_utf8(sign_cleartext(TEXT, std::slice::from_ref(&key))).unwrap();
    let begin = "-----BEGIN PGP SIGNATURE-----";
    for message in [
        good.replacen(begin, &format!("Suite: evil\n{begin}"), 1),
        good.replacen(begin, &format!("\n{begin}"), 1),
        good.replacen("Suite", "\u{feff}Suite", 1),
        good.replacen("- - a line", "- a line", 1),
        format!("\u{feff}{good}"),
        format!("\n\nSuite: evil\n\n{good}"),
        format!("{good}\u{0}"),
        format!("{good}-----BEGIN PGP SIGNED MESSAGE-----\n\nSuite: evil\n"),
    ] {
        let result = verify(message.as_bytes(), std::slice::from_ref(&key));
        match result {
            Err(_) => {}
            Ok(text) => assert_eq!(text.trim_end(), TEXT.trim_end(), "of {message:?}"),
        }
    }
}

#[test]
fn a_file_without_keys_is_no_keyring() {
    for bytes in [
        &b""[..],
        b"hello",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
    ] {
        assert!(Keyring::parse(bytes, "ring").is_err());
    }
}

#[test]
fn the_carried_keyring_is_the_one_that_is_documented() {
    let provenance = include_str!("../../../keyring/PROVENANCE.md");
    assert!(provenance.contains(&hex(&Sha256::digest(DEBIAN))));
    assert!(Keyring::debian().unwrap().len() >= 9);
}

#[test]
fn the_carried_keys_may_all_sign_today() {
    let ring = Keyring::debian().unwrap();
    let now = 1_795_252_544;
    let terms = Terms {
        made: now,
        now,
        allow: Concessions::default(),
    };
    for key in &ring.keys {
        let usable = certificate::components(key).any(|part| part.check(&terms).is_ok());
        let reasons: Vec<_> = certificate::components(key)
            .map(|part| (part.id(), part.check(&terms)))
            .collect();
        assert!(usable, "{reasons:?}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..900, byte: u8) {
        let _ = Keyring::parse(&bytes, "ring");
        let ring = Keyring::debian().unwrap();
        let _ = ring.verify(&bytes, 0, "R");
        let mut message = MESSAGE.to_vec();
        let at = at % message.len();
        message[at] = byte;
        let _ = ring.verify(&message, 0, "R");
    }
}

/// The frame of a message; its signature is nobody's.
const MESSAGE: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSuite: x\n\
-----BEGIN PGP SIGNATURE-----\n\nwnUEARYKAB0WIQQAAAAAAAAAAAAAAAAAAAAAAAAAAAUCAAAAAAAKCRAAAAAAAAAA\n=AAAA\n\
-----END PGP SIGNATURE-----\n";
