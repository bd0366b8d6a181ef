//! A container's config: read, changed and read again.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sampan_runtime::config::{ConfigFile, Settings};

fuzz_target!(|text: &str| {
    let mut file = ConfigFile::parse(Path::new("config"), text);
    let _ = Settings::of(&file);
    file.set("lxc.uts.name", "fuzz");
    assert_eq!(file.get("lxc.uts.name").as_deref(), Some("fuzz"));
    let again = ConfigFile::parse(Path::new("config"), &file.to_string());
    assert!(file.lines().eq(again.lines()));
    file.remove("lxc.uts.name");
    assert_eq!(file.get("lxc.uts.name"), None);
});
