//! The package mirror that this machine itself uses, read from apt's sources
//! (sources.list(5): one-line and deb822 style).

use std::path::Path;

/// The first mirror in `etc_apt` (usually /etc/apt) that carries `distribution`: one whose
/// address ends in `/DISTRIBUTION`, as in `…/debian`.
pub fn apt_mirror(etc_apt: &Path, distribution: &str) -> Option<String> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = etc_apt.join("sources.list.d").read_dir() {
        let mut more: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    files.iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        let addresses = match file.extension()?.to_str()? {
            "list" => one_line(&text),
            "sources" => deb822(&text),
            _ => return None,
        };
        addresses
            .into_iter()
            .map(|address| address.trim_end_matches('/').to_owned())
            .find(|address| is_mirror_of(address, distribution))
    })
}

fn is_mirror_of(address: &str, distribution: &str) -> bool {
    let known = ["http://", "https://", "file://"];
    known.iter().any(|scheme| address.starts_with(scheme))
        && address.rsplit('/').next() == Some(distribution)
        && !address.contains(['[', ' ', '@'])
}

fn one_line(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default().trim();
            let rest = line.strip_prefix("deb")?.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']')?.1,
                None => rest,
            };
            rest.split_whitespace().next().map(str::to_owned)
        })
        .collect()
}

fn deb822(text: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for stanza in text.split("\n\n") {
        let mut field = String::new();
        let mut uris = Vec::new();
        let (mut binary, mut enabled) = (false, true);
        for line in stanza.lines().filter(|line| !line.starts_with('#')) {
            let value = match line.split_once(':') {
                Some((name, value)) if !line.starts_with([' ', '\t']) => {
                    field = name.to_ascii_lowercase();
                    value
                }
                _ => line,
            };
            let words = value.split_whitespace();
            match field.as_str() {
                "types" => binary |= words.clone().any(|word| word == "deb"),
                "uris" => uris.extend(words.map(str::to_owned)),
                "enabled" => enabled = value.trim() != "no",
                _ => {}
            }
        }
        if binary && enabled {
            addresses.append(&mut uris);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn apt(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn a_one_line_source_with_options_is_read() {
        let text = "# deb http://no/debian x\ndeb [arch=amd64] http://m.example/debian/ sid main\n";
        let apt = apt(&[("sources.list", text)]);
        let mirror = apt_mirror(apt.path(), "debian");
        assert_eq!(mirror.as_deref(), Some("http://m.example/debian"));
        assert_eq!(apt_mirror(apt.path(), "ubuntu"), None);
    }

    #[test]
    fn a_deb822_source_is_read_and_security_is_not_taken_for_it() {
        let text = "Types: deb\nURIs: http://m.example/debian-security\nSuites: a\n\n\
                    Types: deb-src\nURIs: http://src.example/debian\n\n\
                    Types: deb\nEnabled: no\nURIs: http://off.example/debian\n\n\
                    Types: deb deb-src\n# a remark\nURIs:\n http://m.example/debian\nSuites: a\n";
        let apt = apt(&[("sources.list.d/debian.sources", text)]);
        let mirror = apt_mirror(apt.path(), "debian");
        assert_eq!(mirror.as_deref(), Some("http://m.example/debian"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _ = (one_line(&text), deb822(&text));
        }
    }
}
