//! Mirrors that lie: about sizes, hashes, dates and names. Nothing that was refused is kept.

use super::{tests::wanted, *};
use crate::{
    bootstrap::index,
    openpgp::Keyring,
    packages::Index,
    testing::{BuiltMirror, DebBuilder, Key, MemoryHost, Mirror, bomb, sign_cleartext},
};

/// A mirror whose signed Release has this text after the usual head.
fn with_release(rest: &str) -> BuiltMirror {
    let key = Key::generate();
    let mut mirror = Mirror::new()
        .package(DebBuilder::new("hello", "1"))
        .keys(vec![key.clone()])
        .build();
    let date = date::format_release(date::now() - 60);
    let text = format!(
        "Suite: stable\nCodename: stable\nDate: {date}\nArchitectures: amd64\nComponents: main\n\
         {rest}"
    );
    let message = sign_cleartext(&text, &[key]);
    mirror
        .files
        .insert("dists/stable/InRelease".to_owned(), message);
    mirror
}

/// The package lists, as far as they are believed.
fn lists(mirror: BuiltMirror) -> std::result::Result<Vec<PackagesText>, TemplateError> {
    let keyring = Keyring::parse(&mirror.keyring, "ring.gpg").unwrap();
    let host = MemoryHost::new(mirror);
    let suite = Suite::open(&host, wanted("stable"), &keyring)?;
    Ok(suite.packages(&host)?)
}

#[track_caller]
fn refused(mirror: BuiltMirror, words: &[&str]) {
    let error = lists(mirror).unwrap_err();
    for word in words {
        assert!(
            error.message().contains(word),
            "`{word}` is not in: {error}"
        );
    }
}

fn line(bytes: &[u8], size: usize, name: &str) -> String {
    let hash = hex(&Sha256::digest(bytes));
    format!(" {hash} {size} main/binary-amd64/{name}\n")
}

#[test]
fn a_release_with_weak_hashes_only_is_refused() {
    let md5 = "MD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 main/binary-amd64/Packages\n";
    refused(with_release(md5), &["InRelease", "no SHA256 section"]);
    refused(
        with_release(&format!("{md5}SHA256:\n")),
        &["no SHA256 section"],
    );
}

#[test]
fn a_release_that_contradicts_itself_is_refused() {
    let sections = format!(
        "SHA256:\n{}{}",
        line(b"a", 1, "Packages"),
        line(b"b", 1, "Packages")
    );
    refused(with_release(&sections), &["twice, with different hashes"]);
    let fields = format!("suite: evil\nSHA256:\n{}", line(b"a", 1, "Packages"));
    refused(with_release(&fields), &["given twice"]);
    let stanzas = format!("SHA256:\n{}\nSuite: evil\n", line(b"a", 1, "Packages"));
    refused(with_release(&stanzas), &["second stanza"]);
}

#[test]
fn an_in_release_larger_than_any_is_refused_before_it_is_parsed() {
    let mirror = Mirror::new()
        .build()
        .tamper("InRelease", |bytes| bytes.resize(5 << 20, b'\n'));
    refused(mirror, &["InRelease", "too large"]);
}

#[test]
fn text_before_or_after_the_signed_part_is_refused() {
    for (before, after) in [("Suite: evil\n", ""), ("", "Suite: evil\n"), ("\u{0}", "")] {
        let mirror = Mirror::new().build().tamper("InRelease", |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = format!("{before}{text}{after}").into_bytes();
        });
        refused(mirror, &["cannot trust", "InRelease"]);
    }
}

#[test]
fn keys_that_may_not_sign_make_no_suite() {
    for (key, word) in [
        (Key::generate().revoked(), "revoked"),
        (Key::generate().without_sign_flag(), "not a signing key"),
        (Key::generate_for_sha1(), "too weak"),
        (Key::generate().expires(date::now() - 86_400), "expired on"),
    ] {
        refused(Mirror::new().keys(vec![key]).build(), &["InRelease", word]);
    }
}

#[test]
fn a_list_that_unfolds_to_more_than_was_signed_is_refused() {
    let text = b"Package: a\n".repeat(1_000);
    for (name, kind) in [
        ("Packages.xz", Compression::Xz),
        ("Packages.gz", Compression::Gzip),
    ] {
        let bytes = crate::testing::compress(kind, &text);
        let release = format!(
            "SHA256:\n{}{}",
            line(&text, 999, "Packages"),
            line(&bytes, bytes.len(), name)
        );
        let mut mirror = with_release(&release);
        let path = format!("dists/stable/main/binary-amd64/{name}");
        mirror.files.insert(path, bytes);
        refused(mirror, &[name, "unfolds to more than 999 bytes"]);
    }
}

#[test]
fn a_list_that_is_a_bomb_ends_at_its_limit_whatever_was_signed() {
    for (name, kind) in [
        ("Packages.xz", Compression::Xz),
        ("Packages.gz", Compression::Gzip),
    ] {
        let bytes = bomb(kind, b"Package: a\n", 10 << 10);
        for plain in [String::new(), line(b"", 11 << 30, "Packages")] {
            let release = format!("SHA256:\n{plain}{}", line(&bytes, bytes.len(), name));
            let mut mirror = with_release(&release);
            let path = format!("dists/stable/main/binary-amd64/{name}");
            mirror.files.insert(path, bytes.clone());
            refused(mirror, &[name, "unfolds to more than 256 MiB"]);
        }
    }
}

#[test]
fn a_size_that_no_file_can_have_is_refused_before_it_is_fetched() {
    let release = format!("SHA256:\n{}", line(b"", 10 << 40, "Packages.xz"));
    refused(
        with_release(&release),
        &["packages", "10485760 MiB", "4096 MiB"],
    );
    let release = "SHA256:\n 00 99999999999999999999999 main/binary-amd64/Packages\n";
    refused(with_release(release), &["SHA256 section has the line"]);
}

#[test]
fn a_list_of_another_hash_or_size_is_not_read() {
    let text = b"Package: a\n";
    for (signed, size) in [(&b"Package: b\n"[..], 11), (text, 10), (text, 12)] {
        let mut mirror = with_release(&format!("SHA256:\n{}", line(signed, size, "Packages")));
        let path = "dists/stable/main/binary-amd64/Packages".to_owned();
        mirror.files.insert(path, text.to_vec());
        refused(mirror, &["Packages", "not what the archive signed"]);
    }
}

#[test]
fn a_wrong_file_under_its_hash_is_passed_over_for_the_right_one() {
    let mirror = Mirror::new()
        .package(DebBuilder::new("hello", "1"))
        .build()
        .tamper("by-hash", |bytes| bytes[20] ^= 1);
    let texts = lists(mirror).unwrap();
    assert_eq!(index(&texts).unwrap().names(), ["hello"]);
}

#[test]
fn two_debs_that_changed_places_are_refused() {
    let of = |name: &str| DebBuilder::new(name, "1");
    let mut mirror = Mirror::new().package(of("one")).package(of("two")).build();
    let paths = ["pool/main/one_1_all.deb", "pool/main/two_1_all.deb"];
    let [one, two] = paths.map(|path| mirror.files[path].clone());
    assert_eq!(one.len(), two.len(), "the sizes give nothing away");
    mirror.files.insert(paths[0].to_owned(), two);
    mirror.files.insert(paths[1].to_owned(), one);
    let keyring = Keyring::parse(&mirror.keyring, "ring.gpg").unwrap();
    let host = MemoryHost::new(mirror);
    let suite = Suite::open(&host, wanted("stable"), &keyring).unwrap();
    let texts = suite.packages(&host).unwrap();
    for package in index(&texts).unwrap().iter() {
        let error = fetch(&host, &[suite.download(package)]).unwrap_err();
        assert!(
            error.to_string().contains("not what the archive signed"),
            "{error}"
        );
    }
}

#[test]
fn a_stanza_with_too_many_fields_is_refused_quickly() {
    let text: String = (0..1_000_000).map(|n| format!("F{n}: x\n")).collect();
    let error = Index::default().add(&text, "Packages").unwrap_err();
    assert!(
        error.to_string().contains("more than 256 fields"),
        "{error}"
    );
}

#[test]
fn a_million_stanzas_are_read_and_none_is_lost() {
    use std::fmt::Write as _;
    let hash = "0".repeat(64);
    let mut text = String::new();
    for n in 0..1_000_000 {
        let _ = write!(
            text,
            "Package: p{n}\nVersion: 1\nArchitecture: all\nFilename: p\nSize: 1\nSHA256: {hash}\n\n"
        );
    }
    let mut index = Index::default();
    index.add(&text, "Packages").unwrap();
    assert_eq!(index.iter().count(), 1_000_000);
    assert!(index.last("p999999").is_some());
}

#[test]
fn a_field_of_many_megabytes_is_only_a_long_field() {
    let text = format!("Package: a\nDescription: x\n{}", " y\n".repeat(5_000_000));
    let stanza = crate::deb822::single(&text, "control").unwrap();
    assert_eq!(
        stanza.get("Description").map(str::len),
        Some(1 + 3 * 5_000_000)
    );
}
