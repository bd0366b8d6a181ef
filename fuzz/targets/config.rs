//! A container's config: read, changed and read again.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sampan_runtime::config::{ConfigFile, Settings, counting, effective, values_of};

fuzz_target!(|text: &str| {
    let mut file = ConfigFile::parse(Path::new("/no/such/config"), text);
    assert_eq!(file.to_string(), text);
    // What it includes is read from this machine, and not the fuzzer's to find.
    if file.lines().any(|line| line.key == "lxc.include") {
        return;
    }
    let _ = Settings::of(&file);
    let Ok(lines) = effective(&file) else { return };
    let others = |file: &ConfigFile| -> Vec<(String, String)> {
        let lines = counting(effective(file).expect("it was read before"));
        let pairs = lines.into_iter().map(|line| (line.key, line.value));
        pairs.filter(|(key, _)| key != "lxc.uts.name").collect()
    };
    let before = others(&file);
    for value in ["fuzz", "\"quoted\"", " blanks "] {
        file.assign("lxc.uts.name", &[value.to_owned()])
            .expect("a host name can be set");
        file = ConfigFile::parse(Path::new("/no/such/config"), &file.to_string());
        let got = values_of(
            effective(&file).expect("it was read before"),
            "lxc.uts.name",
        );
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].value, value);
    }
    assert_eq!(others(&file), before);
    file.unset("lxc.utsname").expect("it is set");
    assert!(file.lines().count() <= lines.len());
});
