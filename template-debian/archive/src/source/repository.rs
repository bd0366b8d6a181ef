//! Repositories that a person adds: one-line and deb822 sources (sources.list(5)), each with the
//! keys that sign it.

use crate::{
    Error, Result, deb822,
    openpgp::{Concessions, Keyring},
    packages::is_archive_path,
};

/// One `deb` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Addresses without a `/` at their ends, each a repository of its own.
    pub uris: Vec<String>,
    /// Suites.
    pub suites: Vec<String>,
    /// Components.
    pub components: Vec<String>,
    /// Architectures; empty for all.
    pub architectures: Vec<String>,
    /// The armored key that stands in it.
    pub key: Option<String>,
}

/// Sources and the keys for those without a key of their own.
#[derive(Debug, Clone)]
pub struct Repositories {
    /// What was read, in order.
    pub sources: Vec<Source>,
    keyring: Option<Vec<u8>>,
    name: String,
}

impl Repositories {
    /// Reads a file of either syntax; `name` is what people know it by, `keyring` the contents of
    /// a keyring file. A source without a key is refused: nothing is taken unverified.
    pub fn parse(bytes: &[u8], name: &str, keyring: Option<Vec<u8>>) -> Result<Self> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| Error::malformed(name, "it is not UTF-8"))?;
        let sources = match is_one_line(text) {
            true => one_line(text, name)?,
            false => stanzas(text, name)?,
        };
        if sources.is_empty() {
            return Err(Error::malformed(name, "there is no `deb` source in it"));
        }
        for source in &sources {
            check(source, name)?;
            if source.key.is_none() && keyring.is_none() {
                let what = format!("{} in {name}", source.uris.join(" "));
                return Err(Error::Unsatisfiable {
                    message: format!(
                        "cannot use {what}: it has no key, so that nothing from it \
                                      could be verified"
                    ),
                    hint: Some(
                        "give the file with its keys as -o repo-keyring=FILE, or put the armored \
                         key into Signed-By of a deb822 source"
                            .to_owned(),
                    ),
                });
            }
        }
        Ok(Self {
            sources,
            keyring,
            name: name.to_owned(),
        })
    }

    /// The keys that may sign a source, as its file or the keyring has them.
    pub fn key_of(&self, source: &Source) -> Vec<u8> {
        match (&source.key, &self.keyring) {
            (Some(key), _) => key.clone().into_bytes(),
            (None, keyring) => keyring.clone().unwrap_or_default(),
        }
    }

    /// The same, ready to judge.
    pub fn keyring_of(&self, source: &Source, allow: Concessions) -> Result<Keyring> {
        let name = match source.key {
            Some(_) => format!("in {}", self.name),
            None => "given as -o repo-keyring=FILE".to_owned(),
        };
        Ok(Keyring::parse(&self.key_of(source), &name)?.allowing(allow))
    }
}

/// The first line that says something begins with a type in one syntax and with a field in the
/// other.
fn is_one_line(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    lines
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .and_then(|line| line.split([' ', '\t', '[']).next())
        .is_some_and(|word| matches!(word, "deb" | "deb-src"))
}

fn one_line(text: &str, name: &str) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let bad = |reason: &str| Error::syntax(name, index + 1, reason);
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (kind, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        match kind {
            "deb" => {}
            "deb-src" => continue,
            _ => return Err(bad("it begins with neither deb nor deb-src")),
        }
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(inside) => inside
                .split_once(']')
                .ok_or_else(|| bad("an option list without an end"))?,
            None => ("", rest),
        };
        let mut architectures = Vec::new();
        for option in options.split_ascii_whitespace() {
            match option.split_once('=') {
                Some(("arch", value)) => {
                    architectures.extend(value.split(',').map(str::to_owned));
                }
                Some(("trusted", value)) if is_yes(value) => return Err(trusted(name)),
                // A path on this machine or a fingerprint says nothing here: the keyring decides.
                Some(("signed-by" | "trusted", _)) => {}
                _ => return Err(bad("an option other than arch, signed-by or trusted")),
            }
        }
        let mut words = rest.split_ascii_whitespace().map(str::to_owned);
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
            return Err(bad("an address and a suite are expected"));
        };
        sources.push(Source {
            uris: vec![uri.trim_end_matches('/').to_owned()],
            suites: vec![suite],
            components: words.collect(),
            architectures,
            key: None,
        });
    }
    Ok(sources)
}

fn stanzas(text: &str, name: &str) -> Result<Vec<Source>> {
    // Comments may stand between any two lines.
    let mut plain: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n");
    plain.push('\n');
    let mut sources = Vec::new();
    for stanza in deb822::stanzas(&plain, name) {
        let stanza = stanza?;
        let words = |field: &str| -> Vec<String> {
            let value = stanza.get(field).unwrap_or_default();
            value.split_ascii_whitespace().map(str::to_owned).collect()
        };
        if stanza.get("Enabled").is_some_and(is_no) || !words("Types").iter().any(|t| t == "deb") {
            continue;
        }
        if stanza.get("Trusted").is_some_and(is_yes) {
            return Err(trusted(name));
        }
        let known = [
            "Types",
            "URIs",
            "Suites",
            "Components",
            "Architectures",
            "Signed-By",
            "Enabled",
            "Trusted",
            "X-Repolib-Name",
        ];
        let odd = stanza
            .iter()
            .find(|(field, _)| !known.iter().any(|known| known.eq_ignore_ascii_case(field)));
        if let Some((field, _)) = odd {
            return Err(Error::malformed(
                name,
                format!("the field {field} is not supported"),
            ));
        }
        sources.push(Source {
            uris: words("URIs")
                .iter()
                .map(|uri| uri.trim_end_matches('/').to_owned())
                .collect(),
            suites: words("Suites"),
            components: words("Components"),
            architectures: words("Architectures"),
            key: stanza.get("Signed-By").and_then(inline_key),
        });
    }
    Ok(sources)
}

/// The armored key of a Signed-By field, where continuation lines begin with a space and an empty
/// line is ` .`; a path or fingerprint is none.
fn inline_key(value: &str) -> Option<String> {
    if !value.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        return None;
    }
    let mut key = String::new();
    for line in value.lines() {
        let line = line.trim();
        key.push_str(if line == "." { "" } else { line });
        key.push('\n');
    }
    Some(key)
}

fn check(source: &Source, name: &str) -> Result<()> {
    let bad = |reason: String| Err(Error::malformed(name, reason));
    if source.uris.is_empty() || source.suites.is_empty() {
        return bad("a source needs URIs and Suites".to_owned());
    }
    for uri in &source.uris {
        let known = ["http://", "https://", "file:///"];
        if !known.iter().any(|scheme| uri.starts_with(scheme)) {
            let uri = uri.escape_debug();
            return bad(format!(
                "`{uri}` begins with none of http://, https://, file:///"
            ));
        }
    }
    for suite in &source.suites {
        if suite.ends_with('/') {
            return bad(format!(
                "{suite} is a flat repository, which is not supported; suites below dists/ are"
            ));
        }
        if !is_archive_path(suite) {
            let suite = suite.escape_debug();
            return bad(format!("`{suite}` cannot be the name of a suite"));
        }
    }
    if source.components.is_empty() {
        return bad("a source needs components".to_owned());
    }
    match source.components.iter().find(|part| !is_archive_path(part)) {
        Some(part) => bad(format!(
            "`{}` cannot be the name of a component",
            part.escape_debug()
        )),
        None => Ok(()),
    }
}

fn trusted(name: &str) -> Error {
    Error::Unsatisfiable {
        message: format!(
            "cannot use {name}: it says trusted=yes, and nothing is installed unverified"
        ),
        hint: Some(
            "take that out and give the file with its keys as -o repo-keyring=FILE".to_owned(),
        ),
    }
}

fn is_yes(value: &str) -> bool {
    ["yes", "true", "with", "on", "enable", "1", "force"].contains(&&*value.to_ascii_lowercase())
}

fn is_no(value: &str) -> bool {
    ["no", "false", "without", "off", "disable", "0"].contains(&&*value.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Key;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Repositories> {
        Repositories::parse(
            text.as_bytes(),
            "extra.list",
            Some(Key::generate().public()),
        )
    }

    #[test]
    fn one_line_sources_are_read() {
        let text = "# mine\ndeb [arch=amd64,arm64 signed-by=/x.gpg] http://a.example/r/ boat main more # end\n\
                    deb-src http://a.example/r boat main\n";
        let sources = parse(text).unwrap().sources;
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].uris, ["http://a.example/r"]);
        assert_eq!(sources[0].suites, ["boat"]);
        assert_eq!(sources[0].components, ["main", "more"]);
        assert_eq!(sources[0].architectures, ["amd64", "arm64"]);
    }

    #[test]
    fn deb822_sources_are_read_with_the_key_inside() {
        let key = Key::generate();
        let armored: String = key
            .public_armored()
            .lines()
            .map(|line| match line.is_empty() {
                true => " .\n".to_owned(),
                false => format!(" {line}\n"),
            })
            .collect();
        let text = format!(
            "# two\nTypes: deb deb-src\nURIs: http://a.example/r http://b.example/r\n\
             Suites: boat boat-extra\nComponents: main\nSigned-By:\n{armored}\n\
             Types: deb-src\nURIs: x\n\nTypes: deb\nEnabled: no\nURIs: x\n"
        );
        let read = Repositories::parse(text.as_bytes(), "extra.sources", None).unwrap();
        assert_eq!(read.sources.len(), 1);
        assert_eq!(read.sources[0].suites, ["boat", "boat-extra"]);
        let ring = read.keyring_of(&read.sources[0], Concessions::default());
        assert_eq!(ring.unwrap().len(), 1);
    }

    #[test]
    fn a_source_without_a_key_or_that_asks_for_blind_trust_is_refused() {
        let line = "deb http://a.example/r boat main\n";
        let error = Repositories::parse(line.as_bytes(), "x.list", None).unwrap_err();
        assert!(error.to_string().contains("it has no key"), "{error}");
        assert!(error.hint().unwrap().contains("repo-keyring"));
        let path =
            "Types: deb\nURIs: http://a.example\nSuites: b\nComponents: c\nSigned-By: /k.gpg\n";
        assert!(Repositories::parse(path.as_bytes(), "x.sources", None).is_err());
        for text in [
            "deb [trusted=yes] http://a.example/r boat main\n",
            "Types: deb\nURIs: http://a.example\nSuites: b\nComponents: c\nTrusted: yes\n",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains("trusted=yes"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_a_source_is_refused() {
        for text in [
            "",
            "deb\n",
            "deb http://a.example/r\n",
            "deb http://a.example/r boat\n",
            "deb http://a.example/r ./\n",
            "deb http://a.example/r ../x main\n",
            "deb http://a.example/r boat ../x\n",
            "deb cdrom:[x] boat main\n",
            "deb [allow-insecure=yes] http://a.example/r boat main\n",
            "rpm http://a.example/r boat main\n",
            "Types: deb\nURIs: http://a.example\nSuites: b\nComponents: c\nAllow-Weak: yes\n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(deb |Types: |URIs: |\\[[a-z=]*\\]|[ -~]|\n){0,30}") {
            let _ = parse(&text);
        }
    }
}
