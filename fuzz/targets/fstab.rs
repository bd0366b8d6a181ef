//! Lines of lxc.mount.entry and of an fstab.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sampan_runtime::config::MountEntry;

fuzz_target!(|text: &str| {
    for line in text.lines() {
        if let Ok(entry) = MountEntry::parse(line, Path::new("/srv/rootfs"), "fstab:1") {
            assert!(entry.target.is_relative());
            assert!(entry.target.components().count() > 0);
            assert!(!entry.source.contains('\0'));
        }
    }
});
