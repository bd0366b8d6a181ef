//! The apt sources of a machine, in both styles.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sampan_plugins::apt_mirror;

fuzz_target!(|bytes: &[u8]| {
    for name in ["sources.list", "sources.list.d/x.sources"] {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("below")).expect("a directory");
        std::fs::write(path, bytes).expect("a file");
        if let Some(mirror) = apt_mirror(directory.path(), "debian") {
            assert!(mirror.ends_with("/debian") && !mirror.contains(char::is_whitespace));
        }
    }
});
