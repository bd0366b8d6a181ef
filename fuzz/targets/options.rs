//! Words of `-o KEY=VALUE`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sampan_core::{Description, OptionKind, OptionSpec, Options};

fuzz_target!(|text: &str| {
    let mut description = Description::new("t", "1", "fuzzed");
    description.options = vec![
        OptionSpec::new("text", OptionKind::Text, "").default("a"),
        OptionSpec::new("on", OptionKind::Boolean, ""),
        OptionSpec::new("list", OptionKind::List, ""),
        OptionSpec::new("mirror", OptionKind::Mirror, "").mirror_of("debian"),
        OptionSpec::new("one", OptionKind::Text, "").allowed(["a", "b"]),
    ];
    let words: Vec<&str> = text.lines().collect();
    match Options::parse(&description, &words) {
        Ok(options) => {
            for (name, value) in options.iter() {
                assert!(description.option(name).is_some());
                assert_eq!(options.get(name), Some(value));
            }
            let _ = (options.is_on("on"), options.list("list"));
        }
        Err(error) => drop((error.to_string(), error.hint())),
    }
});
