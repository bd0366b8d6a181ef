//! A data archive, unpacked as a package: nothing may appear outside of the tree.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use sampan_core::rootfs::Rootfs;
use sampan_debian_archive::{
    compression::Compression,
    packages::Index,
    testing::DebBuilder,
    unpack::{Ready, merge_usr, unpack},
};

fuzz_target!(|bytes: &[u8]| {
    let builder = DebBuilder::new("p", "1")
        .compression(Compression::None)
        .control_file("conffiles", "/etc/p\n/etc/q\n", 0o644)
        .data_tar(bytes);
    let deb = builder.clone().build();
    let directory = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("p.deb"), &deb).expect("a file");
    std::fs::create_dir(at("root")).expect("a directory");
    std::fs::write(at("outside"), "untouched").expect("a file");
    let text = builder.stanza(&deb);
    let mut index = Index::default();
    index.add(&text, "Packages").expect("made here");
    let ready: Vec<Ready<'_>> = index
        .iter()
        .map(|package| Ready {
            package: *package,
            path: at("p.deb"),
        })
        .collect();
    let rootfs = Rootfs::open(&at("root")).expect("made here");
    merge_usr(&rootfs, "amd64").expect("made here");
    if let Ok(records) = unpack(&rootfs, &ready, false, &mut |_| Ok(())) {
        for name in records.iter().flat_map(|record| &record.list) {
            assert!(!name.contains(char::is_control), "{name:?}");
        }
    }
    let names: BTreeSet<String> = std::fs::read_dir(directory.path())
        .expect("it stands")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().eq(["outside", "p.deb", "root"]), "{names:?}");
    assert_eq!(
        std::fs::read(at("outside")).expect("it stands"),
        b"untouched"
    );
});
