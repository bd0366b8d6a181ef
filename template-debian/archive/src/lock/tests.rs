//! Locks written, read back, built from, and refused.

use proptest::prelude::*;
use sampan_core::rootfs::Rootfs;

use super::*;
use crate::{
    bootstrap::{bootstrap, bootstrap_locked},
    openpgp::Keyring,
    selection::{Choice, Variant},
    testing::{ADDRESS, BuiltMirror, DebBuilder, MemoryHost, Mirror},
};

fn mirror() -> BuiltMirror {
    let required = |name: &str| DebBuilder::new(name, "1").field("Priority", "required");
    Mirror::new()
        .package(
            required("dpkg")
                .arch("amd64")
                .field("Depends", "libc6,\n late"),
        )
        .package(DebBuilder::new("libc6", "2").field("Multi-Arch", "foreign"))
        .package(DebBuilder::new("late", "1:2~3").field("Essential", "yes"))
        .package(DebBuilder::new("apt", "3"))
        .package(DebBuilder::new("more", "1").field("Conflicts", "less"))
        .build()
}

fn lock_of(mirror: &BuiltMirror) -> String {
    let directory = tempfile::tempdir().unwrap();
    let keyring = Keyring::parse(&mirror.keyring, "ring.gpg").unwrap();
    let host = MemoryHost::new(mirror.clone());
    let wanted = Wanted {
        mirrors: vec![ADDRESS.to_owned()],
        suite: "stable".to_owned(),
        arch: "amd64".to_owned(),
        components: vec!["main".to_owned()],
        ..Wanted::default()
    };
    let archive = Suite::open(&host, wanted, &keyring).unwrap().into();
    let rootfs = Rootfs::open(directory.path()).unwrap();
    let asked = [("include".to_owned(), "more".to_owned())];
    let choice = Choice {
        include: &["more"],
        asked: &asked,
        ..Choice::default()
    };
    bootstrap(&host, &rootfs, &archive, Variant::Minbase, &choice)
        .unwrap()
        .lock
}

#[test]
fn a_lock_builds_what_it_was_made_of_without_a_release() {
    let mirror = mirror();
    let text = lock_of(&mirror);
    let lock = Lock::parse(&text).unwrap();
    assert_eq!(write(&lock.archive, &lock.selection, &lock.asked), text);
    let host = MemoryHost::new(mirror.without("InRelease").without("Packages"));
    let directory = tempfile::tempdir().unwrap();
    let rootfs = Rootfs::open(directory.path()).unwrap();
    let outcome = bootstrap_locked(&host, &rootfs, &lock).unwrap();
    let names: Vec<&str> = outcome.packages.iter().map(|p| &*p.name).collect();
    assert_eq!(names, ["dpkg", "late", "libc6", "apt", "more"]);
    assert_eq!(outcome.lock, text);
    assert_eq!(outcome.fingerprint, fingerprint(&text));
}

#[test]
fn packages_that_are_gone_or_swapped_are_named() {
    let whole = mirror();
    let text = lock_of(&whole);
    let lock = Lock::parse(&text).unwrap();
    let says = |mirror: BuiltMirror| {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        let host = MemoryHost::new(mirror);
        let error = bootstrap_locked(&host, &rootfs, &lock).unwrap_err();
        assert!(error.hint().unwrap().contains("snapshot"), "{error}");
        error.to_string()
    };
    let error = says(whole.clone().without("more_1").without("apt_3"));
    assert!(error.contains("on a mirror: apt, more"), "{error}");
    let error = says(whole.tamper("libc6_2", |bytes| bytes[0] ^= 1));
    assert!(error.contains("on a mirror: libc6"), "{error}");
}

#[test]
fn a_lock_that_was_changed_into_nonsense_is_refused() {
    let text = lock_of(&mirror());
    for (from, to) in [
        ("Format: 1", "Format: 2"),
        ("Format: 1\n", ""),
        ("Architecture: amd64\nSource", "Architecture: ../x\nSource"),
        ("Source-Date-Epoch: ", "Source-Date-Epoch: 1"),
        (" own ", " other "),
        (" own ", " repository "),
        ("http://", "ftp://"),
        ("Package: more", "Package: ../more"),
        ("Package: more", "Package: apt"),
        ("Filename: pool", "Filename: ../pool"),
        ("Stage: base", "Stage: third"),
        ("Release: 1", "Release: 2"),
        ("Release: 1", "Release: 0"),
        ("SHA256: ", "SHA256: x"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        assert!(Lock::parse(&changed).is_err(), "{from} to {to}");
    }
}

#[test]
fn options_that_contradict_the_lock_are_refused() {
    let text = lock_of(&mirror());
    let lock = Lock::parse(&text).unwrap();
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let defaults = [option("variant", "container")];
    let check = |arch, now: &[(String, String)]| lock.check(arch, now, &defaults);
    check("amd64", &[]).unwrap();
    check("amd64", &[option("include", "more"), defaults[0].clone()]).unwrap();
    let error = check("amd64", &[option("include", "nano")]).unwrap_err();
    assert!(error.to_string().contains("made with `more`"), "{error}");
    assert!(check("amd64", &[option("variant", "buildd")]).is_err());
    assert!(check("arm64", &[]).is_err());
    let text = text.replace("include=more", "keyring=sha256:00");
    let lock = Lock::parse(&text).unwrap();
    let error = lock.check("amd64", &[], &defaults).unwrap_err();
    assert!(error.to_string().contains("-o keyring=FILE"), "{error}");
}

proptest! {
    #[test]
    fn nothing_makes_the_parser_panic(place in 0_usize..3000, what in "[ -~\n]{0,12}") {
        let mut text = lock_of_once().to_owned();
        let place = place.min(text.len());
        text.insert_str(place, &what);
        let _ = Lock::parse(&text);
    }
}

/// Signing a mirror for every case would take long.
fn lock_of_once() -> &'static str {
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TEXT.get_or_init(|| lock_of(&mirror()))
}
