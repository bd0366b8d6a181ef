//! The text of a Release file, as if it had been signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sampan_debian_archive::{packages::is_archive_path, release::Release};

fuzz_target!(|text: &str| {
    let Ok(release) = Release::parse(text, "Release") else {
        return;
    };
    assert!(release.indices.keys().all(|path| is_archive_path(path)));
    let now = 1_700_000_000;
    if release.check("stable", now, false, "Release").is_ok() {
        assert!(release.suite == "stable" || release.codename == "stable");
        assert!(release.valid_until.is_none_or(|until| until >= now));
    }
    let _ = release.check_offers("amd64", &["main".to_owned()], "Release");
});
