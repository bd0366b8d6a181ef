//! Signed .debs that attack the tree they are unpacked into, and what is outside of it.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt, path::Path};

use tar::EntryType;

use super::*;
use crate::{
    compression::Compression,
    packages::Index,
    testing::{DebBuilder, bomb, compress, tar_header},
};

/// A tree with something outside that must stay as it is.
struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("root/etc")).unwrap();
        std::fs::write(directory.path().join("root/etc/passwd"), "root").unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        std::fs::write(directory.path().join("outside/secret"), "secret").unwrap();
        Self { directory }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn outside(&self) -> String {
        self.at("outside").to_str().unwrap().to_owned()
    }

    fn unpack(&self, deb: &DebBuilder) -> std::result::Result<(), String> {
        let bytes = deb.clone().build();
        let text = deb.stanza(&bytes);
        std::fs::write(self.at("p.deb"), &bytes).unwrap();
        let mut index = Index::default();
        index.add(&text, "Packages").unwrap();
        let ready: Vec<Ready<'_>> = index
            .iter()
            .map(|package| Ready {
                package: *package,
                path: self.at("p.deb"),
            })
            .collect();
        let rootfs = Rootfs::open(&self.at("root")).unwrap();
        super::unpack(&rootfs, &ready, false, &mut |_| Ok(()))
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Everything there is, inside and outside, with what could be changed of it.
    fn seen(&self) -> BTreeMap<String, (u32, u64, u64)> {
        let mut seen = BTreeMap::new();
        look(self.directory.path(), &mut seen);
        seen.retain(|path, _| !path.ends_with("p.deb"));
        seen
    }

    /// Unpacks, which must fail with all these words and change nothing at all.
    #[track_caller]
    fn refuses(&self, deb: &DebBuilder, words: &[&str]) {
        let before = self.seen();
        let error = self.unpack(deb).unwrap_err();
        for word in words.iter().chain(&["evil-package"]) {
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
        assert_eq!(self.seen(), before, "after: {error}");
    }

    /// What the tree takes on disk, in bytes.
    fn used(&self) -> u64 {
        let tree = self.seen().into_iter();
        tree.filter(|(path, _)| path.contains("/root/"))
            .map(|(_, (_, _, blocks))| blocks * 512)
            .sum()
    }
}

fn look(directory: &Path, seen: &mut BTreeMap<String, (u32, u64, u64)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            look(&path, seen);
        }
        // A directory's links change with what is made in it; that is seen by itself.
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        let value = (meta.mode(), links, meta.blocks());
        seen.insert(path.to_string_lossy().into_owned(), value);
    }
}

fn evil() -> DebBuilder {
    DebBuilder::new("evil-package", "1")
}

#[test]
fn names_that_lead_out_are_refused() {
    let scene = Scene::new();
    for name in ["../evil", "./../evil", "a/../../evil", "etc/..", ".."] {
        scene.refuses(&evil().raw_entry(name, "x"), &[name, "leads out"]);
    }
}

#[test]
fn an_absolute_name_is_one_below_the_tree() {
    let scene = Scene::new();
    let name = format!("{}/new", scene.outside());
    scene.unpack(&evil().raw_entry(&name, "x")).unwrap();
    assert!(!scene.at("outside/new").exists());
    assert!(scene.at("root").join(&name[1..]).exists());
}

#[test]
fn a_file_through_a_link_to_outside_is_refused() {
    for target in ["/", "/etc", "OUTSIDE", "../outside", "../../../../../.."] {
        let scene = Scene::new();
        let target = target.replace("OUTSIDE", &scene.outside());
        let deb = evil()
            .raw_kind("trap", EntryType::Symlink, &target)
            .raw_entry("trap/secret", "changed")
            .raw_entry("trap/passwd", "changed")
            .raw_entry("trap/etc/passwd", "changed");
        let before = std::fs::read_dir(scene.outside()).unwrap().count();
        // It may be refused (nothing there) or stay inside, where what stands is kept.
        let _ = scene.unpack(&deb);
        let read = |path| std::fs::read_to_string(scene.at(path)).unwrap();
        assert_eq!(read("outside/secret"), "secret", "{target}");
        assert_eq!(read("root/etc/passwd"), "root", "{target}");
        assert_eq!(std::fs::read_dir(scene.outside()).unwrap().count(), before);
        let top: BTreeSet<_> = std::fs::read_dir(scene.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(top.len(), 3, "{target}: {top:?}");
    }
}

#[test]
fn hard_links_cannot_reach_out() {
    let scene = Scene::new();
    scene.refuses(
        &evil().raw_kind("stolen", EntryType::Link, "../outside/secret"),
        &["../outside/secret"],
    );
    let absolute = format!("{}/secret", scene.outside());
    scene.refuses(
        &evil().raw_kind("stolen", EntryType::Link, &absolute),
        &["cannot", "secret"],
    );
    // Through a link, and to the link itself: inside, or not at all.
    let deb = evil()
        .raw_kind("trap", EntryType::Symlink, &scene.outside())
        .raw_kind("stolen", EntryType::Link, "trap/secret");
    assert!(scene.unpack(&deb).is_err());
    let scene = Scene::new();
    let secret = format!("{}/secret", scene.outside());
    let deb = evil()
        .raw_kind("trap", EntryType::Symlink, &secret)
        .raw_kind("stolen", EntryType::Link, "trap");
    scene.unpack(&deb).unwrap();
    let links = std::fs::metadata(scene.at("outside/secret"))
        .unwrap()
        .nlink();
    assert_eq!(links, 1);
    assert!(
        scene
            .at("root/stolen")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn a_hard_link_does_not_change_what_it_names() {
    let scene = Scene::new();
    let mode = |path| std::fs::symlink_metadata(scene.at(path)).unwrap().mode() & 0o7777;
    let before = mode("root/etc/passwd");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::Link);
    header.set_path("stolen").unwrap();
    header.set_link_name("etc/passwd").unwrap();
    header.set_size(0);
    header.set_mode(0o6777);
    header.set_uid(1000);
    header.set_gid(1000);
    header.set_mtime(1);
    header.set_cksum();
    scene
        .unpack(&evil().data_tar(header.as_bytes().to_vec()))
        .unwrap();
    assert_eq!(mode("root/etc/passwd"), before);
}

#[test]
fn device_nodes_are_refused() {
    let scene = Scene::new();
    for kind in [EntryType::Char, EntryType::Block] {
        scene.refuses(&evil().raw_kind("disk", kind, ""), &["disk", "device node"]);
    }
}

#[test]
fn a_flood_of_fifos_ends_at_a_limit() {
    let header = tar_header("fifo", EntryType::Fifo, 0);
    let piece = compress(Compression::Zstd, &header.repeat(1_000));
    let bytes = evil().member("data.tar.zst", piece.repeat(501)).build();
    assert!(bytes.len() < 1 << 20);
    let deb = Deb::parse(bytes, "evil-package").unwrap();
    let mut archive = deb.data().unwrap();
    let mut entries = archive.entries().unwrap();
    let error = entries.find_map(std::result::Result::err).unwrap();
    assert_eq!(error.to_string(), "it has more than 500000 entries");
    assert!(entries.next().is_none());
}

#[test]
fn names_that_lists_and_terminals_cannot_hold_are_refused() {
    let scene = Scene::new();
    scene.refuses(
        &evil().raw_entry("a\nb", "x"),
        &["a\\nb", "control character"],
    );
    scene.refuses(&evil().raw_entry("a\x1b[2Jb", "x"), &["control character"]);
    scene.refuses(&evil().raw_entry("a\u{85}b", "x"), &["control character"]);
    let mut archive = tar_header("abc", EntryType::Regular, 0);
    archive[1] = 0xff;
    // The sum of the header, which was that of `b`.
    let sum: u32 = archive
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    scene.refuses(&evil().data_tar(archive), &["not UTF-8"]);
}

#[test]
fn setuid_survives_the_change_of_owner() {
    let scene = Scene::new();
    scene
        .unpack(&evil().file("usr/bin/su", "x", 0o4755))
        .unwrap();
    let meta = std::fs::metadata(scene.at("root/usr/bin/su")).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o4755);
}

/// Ten gigabytes in one file, behind a header that says so.
#[test]
fn a_bomb_in_one_file_writes_nothing() {
    for (kind, name) in [
        (Compression::Xz, "data.tar.xz"),
        (Compression::Gzip, "data.tar.gz"),
        (Compression::Zstd, "data.tar.zst"),
    ] {
        let scene = Scene::new();
        let header = tar_header("bomb", EntryType::Regular, 10 << 30);
        let deb = evil().member(name, bomb(kind, &header, 10 << 10));
        scene.refuses(&deb, &["`bomb` of 10240 MiB is too large", "may unfold to"]);
    }
}

/// Ten gigabytes in a hundred files, each of which is small enough.
#[test]
fn a_bomb_in_many_files_ends_at_the_limit() {
    let piece = bomb(Compression::Xz, b"", 64);
    let mut data = Vec::new();
    for n in 0..160 {
        let header = tar_header(&format!("bomb{n}"), EntryType::Regular, 64 << 20);
        data.extend(compress(Compression::Xz, &header));
        data.extend_from_slice(&piece);
    }
    let scene = Scene::new();
    let deb = evil().member("data.tar.xz", data);
    let size = deb.clone().build().len() as u64;
    let error = scene.unpack(&deb).unwrap_err();
    assert!(error.contains("may unfold to"), "{error}");
    let limit = (256 << 20) + 100 * size;
    assert!(limit < 1 << 30 && scene.used() <= limit, "{}", scene.used());
}

#[test]
fn a_bomb_behind_a_long_name_is_not_read_into_memory() {
    let scene = Scene::new();
    let header = tar_header("././@LongLink", EntryType::GNULongName, 10 << 30);
    let deb = evil().member("data.tar.xz", bomb(Compression::Xz, &header, 10 << 10));
    scene.refuses(&deb, &["a name of 10240 MiB"]);
}

#[test]
fn a_bomb_in_the_control_archive_ends_at_its_limit() {
    let scene = Scene::new();
    for size in [10 << 30, 65 << 20] {
        let header = tar_header("./control", EntryType::Regular, size);
        let deb = evil().member("control.tar.xz", bomb(Compression::Xz, &header, 10 << 10));
        scene.refuses(&deb, &["is too large", "may unfold to 64 MiB"]);
    }
}

#[test]
fn an_xz_dictionary_larger_than_any_package_needs_is_refused() {
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(512 << 20);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let check = liblzma::stream::Check::Crc32;
    let stream = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    std::io::Write::write_all(&mut encoder, &tar_header("a", EntryType::Regular, 0)).unwrap();
    let bytes = encoder.finish().unwrap();
    Scene::new().refuses(&evil().member("data.tar.xz", bytes), &["memory"]);
}

#[test]
fn members_of_the_ar_archive_that_lie_are_refused() {
    let scene = Scene::new();
    let good = evil().file("a", "b", 0o644).build();
    let at = good
        .windows(7)
        .position(|seven| seven == b"control")
        .unwrap();
    for size in ["99999999", "-1", "0x10", "1e3", "", "18446744073709551615"] {
        let mut bytes = good.clone();
        let field = format!("{size:<10.10}");
        bytes[at + 48..at + 58].copy_from_slice(field.as_bytes());
        let error = Deb::parse(bytes, "evil-package").unwrap_err().to_string();
        assert!(error.contains("the .deb of evil-package"), "{error}");
    }
    // Cut off after the members' headers: the tar archive inside ends early.
    let half = compress(Compression::Xz, &tar_header("a", EntryType::Regular, 99));
    let error = scene
        .unpack(&evil().member("data.tar.xz", half))
        .unwrap_err();
    assert!(error.contains("evil-package"), "{error}");
    let mut cut = good;
    cut.truncate(cut.len() - 20);
    assert!(Deb::parse(cut, "evil-package").is_err());
}

#[test]
fn control_archives_with_names_of_others_are_refused() {
    let scene = Scene::new();
    for name in ["a.list", "x/y", ".x", "list.b"] {
        let deb = evil().control_file(name, "x", 0o644);
        scene.refuses(&deb, &["cannot be the name of a control file"]);
    }
    let twice = evil().control_file("control", "Package: other\n", 0o644);
    scene.refuses(&twice, &["`control`, twice"]);
}

#[test]
fn a_deb_of_another_package_version_or_architecture_is_refused() {
    let scene = Scene::new();
    for (name, version, arch, word) in [
        ("evil-package", "2", "all", "its Version is `1`"),
        ("evil-package", "1", "amd64", "its Architecture is `all`"),
    ] {
        scene.refuses(&evil().archived_as(name, version, arch), &[word]);
    }
    let other = DebBuilder::new("other", "1").archived_as("evil-package", "1", "all");
    scene.refuses(&other, &["its Package is `other`"]);
}
