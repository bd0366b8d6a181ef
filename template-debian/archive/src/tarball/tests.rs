//! Archives that say one thing to one reader and another to the next.

use proptest::prelude::*;

use super::*;
use crate::testing::tar_header;

const LIMITS: Limits = Limits {
    bytes: 1_000,
    entries: 4,
};

/// Names and contents, or why not.
fn read(archive: &[u8]) -> std::result::Result<Vec<(String, Vec<u8>)>, String> {
    let mut tarball = Tarball::new(Box::new(archive), LIMITS);
    let mut all = Vec::new();
    for entry in tarball.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let mut contents = Vec::new();
        entry
            .read_to_end(&mut contents)
            .map_err(|error| error.to_string())?;
        all.push((String::from_utf8_lossy(&entry.name).into_owned(), contents));
    }
    Ok(all)
}

fn block(bytes: &[u8]) -> Vec<u8> {
    let mut block = bytes.to_vec();
    block.resize(bytes.len().next_multiple_of(512), 0);
    block
}

fn file(name: &str, contents: &[u8]) -> Vec<u8> {
    let header = tar_header(name, EntryType::Regular, contents.len() as u64);
    [header, block(contents)].concat()
}

fn long(kind: EntryType, name: &[u8]) -> Vec<u8> {
    let header = tar_header("././@LongLink", kind, name.len() as u64);
    [header, block(name)].concat()
}

#[track_caller]
fn refused(archive: &[u8], words: &str) {
    let error = read(archive).unwrap_err();
    assert!(error.contains(words), "`{words}` is not in: {error}");
}

#[test]
fn files_and_long_names_are_read() {
    let name = format!("./{}", "n".repeat(300));
    let archive = [
        long(EntryType::GNULongName, format!("{name}\0").as_bytes()),
        file("cut", b"one"),
        file("./b", b"two"),
    ]
    .concat();
    let all = read(&archive).unwrap();
    assert_eq!(all[0], (name, b"one".to_vec()));
    assert_eq!(all[1], ("./b".to_owned(), b"two".to_vec()));
}

#[test]
fn pax_headers_cannot_give_an_entry_another_name_or_size() {
    for kind in [EntryType::XHeader, EntryType::XGlobalHeader] {
        let header = tar_header("pax", kind, 22);
        let record = block(b"22 path=../../evil    \n");
        let archive = [header, record, file("good", b"x")].concat();
        let error = read(&archive).unwrap_err();
        assert!(error.contains("`pax` is of type"), "{error}");
    }
}

#[test]
fn a_sparse_file_is_refused_however_large_it_says_it_is() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(0);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..4].copy_from_slice(b"zero");
    // One hole of 10 TB before an empty piece, in octal.
    gnu.realsize.copy_from_slice(b"200000000000");
    gnu.sparse[0].offset.copy_from_slice(b"200000000000");
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
    header.set_cksum();
    refused(header.as_bytes(), "`zero` is of type `S`");
}

#[test]
fn other_extensions_are_refused() {
    for code in [b'V', b'M', b'D', b'7', b'A', b'?'] {
        let header = tar_header("odd", EntryType::new(code), 0);
        refused(&header, "`odd` is of type");
    }
}

#[test]
fn a_long_name_cannot_fill_the_memory() {
    let header = tar_header("././@LongLink", EntryType::GNULongName, 10 << 30);
    refused(&header, "a name of 10240 MiB");
    for name in [&b""[..], b"\0\0"] {
        let archive = [long(EntryType::GNULongName, name), file("a", b"")].concat();
        refused(&archive, "empty long name");
    }
}

#[test]
fn an_entry_with_two_names_or_a_name_without_an_entry_is_refused() {
    let name = long(EntryType::GNULongName, b"one\0");
    refused(&[&name[..], &name, &file("a", b"")].concat(), "two names");
    refused(&name, "a name of nothing");
    let target = long(EntryType::GNULongLink, b"one\0");
    let archive = [target, file("a", b"")].concat();
    refused(&archive, "points elsewhere but is no link");
}

#[test]
fn sizes_are_refused_by_what_they_say_before_anything_is_read() {
    let header = tar_header("huge", EntryType::Regular, 10 << 30);
    refused(
        &header,
        "`huge` of 10240 MiB is too large: the archive may unfold to 1000 bytes",
    );
    let archive = [file("a", &[1; 600]), file("b", &[1; 600])].concat();
    refused(&archive, "`b` of 600 bytes is too large");
    let most = tar_header("most", EntryType::Regular, u64::MAX >> 1);
    assert!(read(&most).is_err());
}

#[test]
fn entries_are_counted() {
    let archive: Vec<u8> = (0..5).flat_map(|n| file(&n.to_string(), b"")).collect();
    refused(&archive, "more than 4 entries");
}

#[test]
fn what_is_no_file_has_no_contents_and_a_link_has_a_target() {
    for kind in [
        EntryType::Directory,
        EntryType::Link,
        EntryType::Symlink,
        EntryType::Fifo,
    ] {
        refused(&tar_header("a", kind, 512), "has contents but is no file");
    }
    for kind in [EntryType::Link, EntryType::Symlink] {
        refused(&tar_header("a", kind, 0), "a link to nothing");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        files in proptest::collection::btree_map("[a-z]{1,20}", proptest::collection::vec(any::<u8>(), 0..200), 0..4)
    ) {
        let archive: Vec<u8> = files.iter().flat_map(|(name, bytes)| file(name, bytes)).collect();
        prop_assert_eq!(read(&archive).unwrap(), files.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn no_change_of_a_header_makes_it_panic_or_read_more_than_it_may(
        changes in proptest::collection::vec((0_usize..512, any::<u8>()), 1..6), kind: u8
    ) {
        let mut archive = file("a", &[7; 512]);
        archive[156] = kind;
        for (at, byte) in changes {
            archive[at] = byte;
        }
        // Over a checksum that fits, or most would end there.
        let sum: u32 = archive[..512].iter().enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
        archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        if let Ok(all) = read(&archive) {
            prop_assert!(all.iter().map(|(_, contents)| contents.len()).sum::<usize>() <= 1_000);
        }
    }
}
