//! Several suites and several mirrors, against made-up ones.

use sampan_core::ErrorKind;

use super::*;
use crate::{
    bootstrap::index,
    date,
    openpgp::Keyring,
    testing::{ADDRESS, BuiltMirror, DebBuilder, Key, MemoryHost, Mirror},
};

/// Nothing is served there.
const GONE: &str = "http://gone.invalid/debian";

fn hello(version: &str) -> DebBuilder {
    DebBuilder::new("hello", version)
}

fn base(key: &Key) -> Mirror {
    Mirror::new()
        .version("13.8")
        .keys(vec![key.clone()])
        .date(date::now() - 7200)
        .package(hello("1.0").field("Priority", "required"))
}

fn beside(key: &Key, what: &str) -> Mirror {
    Mirror::new()
        .suite(&format!("stable-{what}"), &format!("sailor-{what}"))
        .version("13")
        .keys(vec![key.clone()])
}

/// A released suite with both suites beside it.
fn whole(key: &Key) -> BuiltMirror {
    let security = beside(key, "security").package(hello("1.0+deb1"));
    let updates = beside(key, "updates").package(hello("1.0~old"));
    base(key).build().and(security.build()).and(updates.build())
}

fn open_on(host: &MemoryHost, mirrors: &[&str], companions: &Companions) -> Result<Archive> {
    let wanted = Wanted {
        mirrors: mirrors.iter().map(|mirror| (*mirror).to_owned()).collect(),
        suite: "stable".to_owned(),
        arch: "amd64".to_owned(),
        components: vec!["main".to_owned()],
        ..Wanted::default()
    };
    let keyring = Keyring::parse(&host.mirror.keyring, "ring.gpg").unwrap();
    Archive::open(host, wanted, companions, &keyring)
}

fn open(host: &MemoryHost, companions: &Companions) -> Result<Archive> {
    open_on(host, &[ADDRESS], companions)
}

fn names(archive: &Archive) -> Vec<&str> {
    archive.suites().iter().map(Suite::name).collect()
}

fn companions(updates: Beside, security: Beside) -> Companions {
    Companions {
        updates,
        security,
        ..Companions::default()
    }
}

#[test]
fn a_released_suite_brings_updates_and_security_and_others_do_not() {
    let host = MemoryHost::new(whole(&Key::generate()));
    let archive = open(&host, &Companions::default()).unwrap();
    assert_eq!(
        names(&archive),
        ["sailor", "sailor-updates", "sailor-security"]
    );
    let host = MemoryHost::new(Mirror::new().build());
    let archive = open(&host, &Companions::default()).unwrap();
    assert_eq!(names(&archive), ["sailor"]);
}

#[test]
fn suites_beside_the_base_one_can_be_left_out_and_asked_for() {
    let host = MemoryHost::new(whole(&Key::generate()));
    let archive = open(&host, &companions(Beside::Never, Beside::Never)).unwrap();
    assert_eq!(names(&archive), ["sailor"]);
    let archive = open(&host, &companions(Beside::Never, Beside::Auto)).unwrap();
    assert_eq!(names(&archive), ["sailor", "sailor-security"]);

    let host = MemoryHost::new(Mirror::new().build());
    let error = open(&host, &companions(Beside::Always, Beside::Auto)).unwrap_err();
    assert!(error.hint().unwrap().contains("-o updates=false"));
}

#[test]
fn security_updates_that_cannot_be_had_are_an_error_that_says_how_to_do_without() {
    let key = Key::generate();
    for mirror in [
        base(&key).build().and(beside(&key, "updates").build()),
        whole(&key).tamper("sailor-security/InRelease", |bytes| bytes[60] ^= 1),
        whole(&key).without("sailor-security/InRelease"),
    ] {
        let host = MemoryHost::new(mirror);
        let error = open(&host, &Companions::default()).unwrap_err();
        assert!(error.to_string().contains("the security suite of sailor"));
        assert!(error.hint().unwrap().contains("-o security=false"));
    }
}

#[test]
fn the_highest_version_counts_and_comes_from_the_suite_that_has_it() {
    let host = MemoryHost::new(whole(&Key::generate()));
    let archive = open(&host, &Companions::default()).unwrap();
    let texts = archive.packages(&host).unwrap();
    let index = index(&texts).unwrap();
    let hello = index.last("hello").unwrap();
    assert_eq!((hello.version, hello.origin), ("1.0+deb1", 2));
    assert_eq!(index.highest("hello").unwrap(), hello);
    // The base suite's word, not the security archive's own.
    assert_eq!(hello.priority, "required");
    host.fetch(&[archive.download(hello)]).unwrap();
}

#[test]
fn equal_versions_come_from_the_base_suite() {
    let key = Key::generate();
    let security = beside(&key, "security").package(hello("1.0")).build();
    let host = MemoryHost::new(base(&key).build().and(security));
    let archive = open(&host, &companions(Beside::Never, Beside::Auto)).unwrap();
    let texts = archive.packages(&host).unwrap();
    let index = index(&texts).unwrap();
    assert_eq!(index.last("hello").unwrap().origin, 0);
    assert_eq!(index.highest("hello").unwrap().origin, 0);
}

#[test]
fn what_only_another_suite_has_makes_no_base_system_larger() {
    let key = Key::generate();
    let extra = DebBuilder::new("extra", "1")
        .field("Priority", "required")
        .field("Essential", "yes");
    let security = beside(&key, "security").package(extra).build();
    let host = MemoryHost::new(base(&key).build().and(security));
    let archive = open(&host, &companions(Beside::Never, Beside::Auto)).unwrap();
    let texts = archive.packages(&host).unwrap();
    let index = index(&texts).unwrap();
    let extra = index.last("extra").unwrap();
    assert_eq!((extra.priority, extra.essential), ("optional", false));
}

#[test]
fn the_fingerprint_and_the_date_are_of_all_suites() {
    let key = Key::generate();
    let now = date::now();
    let with = |security: Mirror| {
        let mirror = base(&key).build().and(security.build());
        let host = MemoryHost::new(mirror);
        open(&host, &companions(Beside::Never, Beside::Auto)).unwrap()
    };
    let first = with(beside(&key, "security").date(now - 100));
    let second = with(beside(&key, "security").date(now - 50));
    assert_ne!(first.fingerprint(), second.fingerprint());
    assert_eq!((first.date(), second.date()), (now - 100, now - 50));
}

#[test]
fn a_mirror_that_does_not_answer_is_passed_over_aloud() {
    let host = MemoryHost::new(whole(&Key::generate()));
    let archive = open_on(&host, &[GONE, ADDRESS], &Companions::default()).unwrap();
    let said = host.log.borrow().join("\n");
    assert!(said.contains(&format!("mirror {GONE} is passed over")));
    let texts = archive.packages(&host).unwrap();
    let index = index(&texts).unwrap();
    let urls = archive.download(index.last("hello").unwrap()).urls;
    assert_eq!(urls.len(), 2);
    assert!(urls[0].starts_with(ADDRESS) && urls[1].starts_with(GONE));
}

#[test]
fn when_no_mirror_serves_the_error_tells_of_the_one_that_could_not_be_trusted() {
    let mirror = whole(&Key::generate());
    let host = MemoryHost::new(mirror.tamper("InRelease", |bytes| bytes[60] ^= 1));
    let error = open_on(&host, &[ADDRESS, GONE], &Companions::default()).unwrap_err();
    assert_eq!(TemplateError::from(error).kind(), ErrorKind::Untrusted);
}

#[test]
fn repositories_take_part_by_highest_version_and_under_their_own_keys_only() {
    let (key, other) = (Key::generate(), Key::generate());
    let extra = Mirror::new()
        .suite("boat", "boat")
        .keys(vec![other.clone()])
        .package(hello("9"))
        .build();
    let host = MemoryHost::new(BuiltMirror {
        keyring: key.public(),
        ..base(&key).build().and(extra)
    });
    let open = |keyring: Vec<u8>| {
        let line = format!("deb {ADDRESS} boat main\n");
        let read = Repositories::parse(line.as_bytes(), "extra.list", Some(keyring)).unwrap();
        let mut archive = open(&host, &companions(Beside::Never, Beside::Never)).unwrap();
        archive
            .add_repositories(&host, &read, Concessions::default())
            .map(|()| archive)
    };
    let archive = open(other.public()).unwrap();
    assert_eq!((archive.suites().len(), archive.own_suites().len()), (2, 1));
    let texts = archive.packages(&host).unwrap();
    let index = index(&texts).unwrap();
    assert_eq!(index.last("hello").unwrap().version, "9");
    // The distribution's key does not sign for the repository.
    let error = open(key.public()).unwrap_err();
    assert!(error.to_string().contains("not in the keyring"), "{error}");
}
