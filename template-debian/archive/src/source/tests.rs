//! A whole chain, good and bad, against a made-up mirror.

use super::*;
use crate::{
    bootstrap::index,
    openpgp::Keyring,
    testing::{ADDRESS, BuiltMirror, DebBuilder, Key, MemoryHost, Mirror},
};

const DAY: i64 = 86_400;

fn mirror() -> Mirror {
    Mirror::new()
        .package(
            DebBuilder::new("hello", "1.0")
                .arch("amd64")
                .file("usr/bin/hello", "hi", 0o755),
        )
        .package(DebBuilder::new("data", "2"))
}

pub(super) fn wanted(suite: &str) -> Wanted {
    Wanted {
        mirrors: vec![ADDRESS.to_owned()],
        suite: suite.to_owned(),
        arch: "amd64".to_owned(),
        components: vec!["main".to_owned()],
        ..Wanted::default()
    }
}

/// Reads the mirror up to the verified .debs; answers with the packages' names.
fn chain(mirror: BuiltMirror, wanted: Wanted) -> std::result::Result<String, TemplateError> {
    let keyring = Keyring::parse(&mirror.keyring, "ring.gpg").unwrap();
    chain_with(mirror, wanted, &keyring)
}

fn chain_with(
    mirror: BuiltMirror,
    wanted: Wanted,
    keyring: &Keyring,
) -> std::result::Result<String, TemplateError> {
    let host = MemoryHost::new(mirror);
    let suite = Suite::open(&host, wanted, keyring)?;
    let texts = suite.packages(&host)?;
    let index = index(&texts)?;
    let downloads: Vec<Download> = index.iter().map(|p| suite.download(p)).collect();
    host.fetch(&downloads)?;
    let mut names: Vec<&str> = index.iter().map(|package| package.name).collect();
    names.sort_unstable();
    Ok(names.join(" "))
}

#[track_caller]
fn refused(mirror: BuiltMirror, suite: &str, kind: ErrorKind, part: &str) {
    let error = chain(mirror, wanted(suite)).unwrap_err();
    assert!(error.message().contains(part), "{error}");
    assert_eq!(error.kind(), kind, "{error}");
}

#[test]
fn a_good_mirror_is_read_by_suite_and_by_codename() {
    for suite in ["stable", "sailor"] {
        assert_eq!(
            chain(mirror().build(), wanted(suite)).unwrap(),
            "data hello"
        );
    }
}

#[test]
fn lists_without_by_hash_in_any_compression_and_apart_for_all_are_read() {
    let mirrors = [
        mirror().without_by_hash(),
        mirror().separate_all(),
        mirror().compressions(&[Compression::Gzip]),
        mirror().compressions(&[Compression::None]),
    ];
    for mirror in mirrors {
        assert_eq!(
            chain(mirror.build(), wanted("stable")).unwrap(),
            "data hello"
        );
    }
}

#[test]
fn a_mirror_that_lacks_its_by_hash_files_is_read_by_plain_addresses() {
    let built = mirror().build().without("by-hash");
    assert!(chain(built, wanted("stable")).is_ok());
}

#[test]
fn of_an_alias_and_its_codename_the_newer_state_counts() {
    let dated = |days: i64, directory: &str, key: &Key| {
        mirror()
            .keys(vec![key.clone()])
            .date(date::now() - days * DAY)
            .directories(&[directory])
            .build()
    };
    let opened = |alias_days: i64, codename_days: i64| {
        let key = Key::generate();
        let mut mirror = dated(alias_days, "stable", &key);
        mirror
            .files
            .extend(dated(codename_days, "sailor", &key).files);
        let keyring = Keyring::parse(&mirror.keyring, "ring.gpg").unwrap();
        let host = MemoryHost::new(mirror);
        Suite::open(&host, wanted("stable"), &keyring)
            .unwrap()
            .directory
    };
    assert_eq!(opened(9, 1), "sailor");
    assert_eq!(opened(1, 9), "stable");
    assert_eq!(opened(1, 1), "sailor");
}

#[test]
fn a_mirror_that_knows_only_the_alias_is_read() {
    let built = mirror().directories(&["stable"]).build();
    assert!(chain(built, wanted("stable")).is_ok());
}

#[test]
fn a_fingerprint_changes_only_with_the_archive() {
    let fingerprint = |built: &BuiltMirror| {
        let keyring = Keyring::parse(&built.keyring, "ring.gpg").unwrap();
        let host = MemoryHost::new(built.clone());
        Suite::open(&host, wanted("stable"), &keyring)
            .unwrap()
            .fingerprint()
    };
    let base = mirror().keys(vec![Key::generate()]);
    let first = fingerprint(&base.build());
    assert_eq!(first, fingerprint(&base.build()));
    let more = base.package(DebBuilder::new("new", "1")).build();
    assert_ne!(first, fingerprint(&more));
}

#[test]
fn a_tampered_in_release_is_refused() {
    let built = mirror().build().tamper("InRelease", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text
            .replace("Components: main", "Components: mail")
            .into_bytes();
    });
    refused(
        built,
        "stable",
        ErrorKind::Untrusted,
        "does not fit the text",
    );
}

#[test]
fn a_tampered_package_list_or_deb_is_refused() {
    let flip = |bytes: &mut Vec<u8>| bytes[20] ^= 1;
    for part in ["binary-amd64", "hello_1.0"] {
        let built = mirror().build().tamper(part, flip);
        refused(
            built,
            "stable",
            ErrorKind::Untrusted,
            "not what the archive signed",
        );
        let built = mirror().build().tamper(part, |bytes| bytes.push(0));
        refused(
            built,
            "stable",
            ErrorKind::Untrusted,
            "not what the archive signed",
        );
    }
}

#[test]
fn a_mirror_that_serves_another_suite_is_refused() {
    let built = mirror().directories(&["bookworm"]).build();
    refused(
        built,
        "bookworm",
        ErrorKind::Untrusted,
        "suite bookworm was asked for",
    );
}

#[test]
fn a_release_past_its_time_is_refused_unless_that_is_allowed() {
    let past = mirror()
        .date(date::now() - 9 * DAY)
        .valid_until(date::now() - 2 * DAY);
    refused(past.build(), "stable", ErrorKind::Untrusted, "valid until");
    let mut lenient = wanted("stable");
    lenient.allow_expired_release = true;
    assert!(chain(past.build(), lenient).is_ok());
}

#[test]
fn an_expired_or_unknown_key_is_refused_with_a_hint() {
    let expired = Key::generate().expires(date::now() - DAY);
    refused(
        mirror().keys(vec![expired]).build(),
        "stable",
        ErrorKind::Untrusted,
        "expired on",
    );

    let other = Keyring::parse(&Key::generate().public(), "other.gpg").unwrap();
    let error = chain_with(mirror().build(), wanted("stable"), &other).unwrap_err();
    assert!(
        error.message().contains("not in the keyring other.gpg"),
        "{error}"
    );
    assert!(error.hint().unwrap_or_default().contains("-o keyring=FILE"));
}

#[test]
fn a_suite_that_is_not_there_is_explained() {
    let error = chain(mirror().build(), wanted("buster")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fetch);
    assert!(
        error.message().contains("cannot get suite buster from"),
        "{error}"
    );
    assert!(error.hint().unwrap_or_default().contains("dists/"));
    for suite in ["../x", "", "a b"] {
        let error = chain(mirror().build(), wanted(suite)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption, "{error}");
    }
}

#[test]
fn an_architecture_that_is_not_there_is_explained() {
    let mut other = wanted("stable");
    other.arch = "riscv64".to_owned();
    let error = chain(mirror().build(), other).unwrap_err();
    assert!(
        error
            .message()
            .contains("no architecture riscv64; there is all, amd64, arm64")
    );
}

#[test]
fn a_release_older_than_one_seen_before_is_refused_unless_that_is_allowed() {
    let key = Key::generate();
    let dated = |days: i64| {
        let date = date::now() - days * DAY;
        mirror().keys(vec![key.clone()]).date(date).build()
    };
    let mut host = MemoryHost::new(dated(1));
    let keyring = Keyring::parse(&key.public(), "ring.gpg").unwrap();
    Suite::open(&host, wanted("stable"), &keyring).unwrap();

    host.mirror = dated(3);
    let error = Suite::open(&host, wanted("stable"), &keyring).unwrap_err();
    assert!(error.to_string().contains("was seen before"), "{error}");
    assert!(
        error
            .hint()
            .unwrap()
            .contains("-o allow-older-release=true")
    );
    // Other keys are another archive.
    let both = Keyring::parse(
        &[key.public(), Key::generate().public()].concat(),
        "both.gpg",
    );
    Suite::open(&host, wanted("stable"), &both.unwrap()).unwrap();

    let mut lenient = wanted("stable");
    lenient.allow_older_release = true;
    Suite::open(&host, lenient, &keyring).unwrap();
    assert!(
        host.log
            .borrow()
            .join("\n")
            .contains("because you allowed that")
    );
    // What was allowed once is not forgotten.
    assert!(Suite::open(&host, wanted("stable"), &keyring).is_err());
}
