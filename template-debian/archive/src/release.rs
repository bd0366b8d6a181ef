//! The signed Release file: which suite this is, until when, and the hashes of its indices.

use std::collections::BTreeMap;

use crate::{
    Error, Result, date, deb822,
    packages::{is_architecture, is_archive_path, is_sha256},
};

/// What a Release file says. Only ever made from text whose signature was good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Suite, such as `stable`; empty when absent.
    pub suite: String,
    /// Codename, such as `trixie`; empty when absent.
    pub codename: String,
    /// Version, such as `13.8`; empty when absent.
    pub version: String,
    /// Date, seconds since 1970.
    pub date: i64,
    /// Valid-Until, seconds since 1970.
    pub valid_until: Option<i64>,
    /// Whether indices can be had under their hash.
    pub acquire_by_hash: bool,
    /// Whether the indices of an architecture hold its `all` packages too. Where they do not,
    /// binary-all must be read beside them.
    pub all_is_separate: bool,
    /// Architectures.
    pub architectures: Vec<String>,
    /// Components.
    pub components: Vec<String>,
    /// Size and SHA-256 of each index, by its path below the suite's directory.
    pub indices: BTreeMap<String, (u64, String)>,
}

impl Release {
    /// What a lock file keeps of a Release: who it was and when, and no indices.
    pub(crate) fn locked(suite: String, codename: String, date: i64) -> Self {
        Self {
            suite,
            codename,
            version: String::new(),
            date,
            valid_until: None,
            acquire_by_hash: false,
            all_is_separate: false,
            architectures: Vec::new(),
            components: Vec::new(),
            indices: BTreeMap::new(),
        }
    }

    /// Reads the signed text; `what` names it in errors.
    pub fn parse(text: &str, what: &str) -> Result<Self> {
        let stanza = deb822::single(text, what)?;
        let bad = |reason: String| Error::malformed(what, reason);
        let words = |field| -> Vec<String> {
            let value = stanza.get(field).unwrap_or_default();
            value.split_ascii_whitespace().map(str::to_owned).collect()
        };
        let when = |field: &str| match stanza.get(field) {
            None => Ok(None),
            Some(value) => date::parse(value).map(Some).ok_or_else(|| {
                bad(format!(
                    "its {field} `{}` is not a date",
                    value.escape_debug()
                ))
            }),
        };
        let plain = |field: &str| {
            let value = stanza.get(field).unwrap_or_default();
            if value.bytes().all(|b| b.is_ascii_graphic()) {
                Ok(value.to_owned())
            } else {
                Err(bad(format!("its {field} is not one word")))
            }
        };
        let architectures = words("Architectures");
        if let Some(name) = architectures.iter().find(|name| !is_architecture(name)) {
            let name = name.escape_debug();
            return Err(bad(format!("`{name}` is not an architecture")));
        }
        let listed = architectures.iter().any(|name| name == "all");
        let in_others = stanza
            .get("No-Support-for-Architecture-all")
            .is_some_and(|value| {
                value
                    .split_ascii_whitespace()
                    .any(|word| word == "Packages")
            });
        let section = stanza.get("SHA256").filter(|section| !section.is_empty());
        let section = section.ok_or_else(|| {
            bad("it has no SHA256 section, and weaker hashes can be forged".to_owned())
        })?;
        Ok(Self {
            suite: plain("Suite")?,
            codename: plain("Codename")?,
            version: stanza.get("Version").unwrap_or_default().to_owned(),
            date: when("Date")?.ok_or_else(|| bad("it has no Date".to_owned()))?,
            valid_until: when("Valid-Until")?,
            acquire_by_hash: stanza.get("Acquire-By-Hash") == Some("yes"),
            all_is_separate: listed && !in_others,
            architectures,
            components: words("Components"),
            indices: indices(section, what)?,
        })
    }

    /// Whether this is a released suite, which has suites for updates and security beside it:
    /// testing and sid have no Version, and those other suites have a `-` in their codenames.
    pub fn is_released(&self) -> bool {
        !self.version.is_empty() && !self.codename.is_empty() && !self.codename.contains('-')
    }

    /// Refuses a Release that is of another suite, or whose time is over.
    pub fn check(&self, wanted: &str, now: i64, allow_expired: bool, what: &str) -> Result<()> {
        let refuse = |reason: String, hint: Option<&str>| Error::Release {
            what: what.to_owned(),
            reason,
            hint: hint.map(str::to_owned),
        };
        if wanted != self.suite && wanted != self.codename {
            return Err(refuse(
                format!(
                    "suite {wanted} was asked for, but this is suite `{}` with codename `{}`",
                    self.suite, self.codename
                ),
                None,
            ));
        }
        match self.valid_until {
            Some(until) if until < now && !allow_expired => Err(refuse(
                format!(
                    "it was valid until {} and now is {}; somebody may be replaying an old state",
                    date::format(until),
                    date::format(now)
                ),
                Some(
                    "if the mirror is merely behind, use another one with -o mirror=URL, \
                     or accept its age with -o allow-expired-release=true",
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses an architecture or component that the suite does not have.
    pub fn check_offers(&self, arch: &str, components: &[String], what: &str) -> Result<()> {
        let refuse = |kind: &str, wanted: &str, there: &[String]| Error::Release {
            what: what.to_owned(),
            reason: format!("it has no {kind} {wanted}; there is {}", there.join(", ")),
            hint: None,
        };
        if !self.architectures.iter().any(|name| name == arch) {
            return Err(refuse("architecture", arch, &self.architectures));
        }
        for component in components {
            // Security archives write `updates/main` for what is called `main`.
            let known = self.components.iter().any(|name| {
                name == component || name.rsplit('/').next() == Some(component.as_str())
            });
            if !known {
                return Err(refuse("component", component, &self.components));
            }
        }
        Ok(())
    }
}

fn indices(section: &str, what: &str) -> Result<BTreeMap<String, (u64, String)>> {
    let mut indices = BTreeMap::new();
    for line in section.lines().filter(|line| !line.trim_ascii().is_empty()) {
        let mut words = line.split_ascii_whitespace();
        let (hash, size, path) = (words.next(), words.next(), words.next());
        let entry = match (hash, size.map(str::parse::<u64>), path, words.next()) {
            (Some(hash), Some(Ok(size)), Some(path), None)
                if is_sha256(hash) && is_archive_path(path) =>
            {
                (path.to_owned(), (size, hash.to_owned()))
            }
            _ => {
                let line = line.trim_ascii().escape_debug();
                return Err(Error::malformed(
                    what,
                    format!("its SHA256 section has the line `{line}`"),
                ));
            }
        };
        let (path, index) = entry;
        if let Some(other) = indices.insert(path.clone(), index.clone())
            && other != index
        {
            let reason = format!("its SHA256 section has {path} twice, with different hashes");
            return Err(Error::malformed(what, reason));
        }
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "Suite: stable\nCodename: trixie\nDate: Sat, 21 Nov 2026 09:15:44 UTC\n\
        Valid-Until: Sat, 28 Nov 2026 09:15:44 UTC\nAcquire-By-Hash: yes\n\
        No-Support-for-Architecture-all: Packages\nArchitectures: all amd64 arm64\n\
        Components: main contrib\nSHA256:\n \
        0000000000000000000000000000000000000000000000000000000000000000 12 main/binary-amd64/Packages\n";

    fn release() -> Release {
        Release::parse(TEXT, "Release").unwrap()
    }

    #[test]
    fn a_release_is_read() {
        let release = release();
        assert_eq!((&*release.suite, &*release.codename), ("stable", "trixie"));
        assert!(release.acquire_by_hash && !release.all_is_separate);
        assert_eq!(release.indices["main/binary-amd64/Packages"].0, 12);
    }

    #[test]
    fn a_suite_with_a_version_is_a_released_one_and_those_beside_it_are_not() {
        let read = |text: &str| Release::parse(text, "Release").unwrap();
        assert!(!release().is_released());
        let released = TEXT.replace("Codename", "Version: 13.8\nCodename");
        assert!(read(&released).is_released());
        let security = released.replace("trixie", "trixie-security");
        assert!(!read(&security).is_released());
    }

    #[test]
    fn another_suite_is_refused() {
        let release = release();
        assert!(release.check("trixie", release.date, false, "R").is_ok());
        let error = release
            .check("bookworm", release.date, false, "R")
            .unwrap_err();
        assert!(
            error.to_string().contains("suite bookworm was asked for"),
            "{error}"
        );
    }

    #[test]
    fn a_release_past_its_time_is_refused_unless_allowed() {
        let release = release();
        let later = release.date + 8 * 86_400;
        let error = release.check("stable", later, false, "R").unwrap_err();
        assert!(
            error.to_string().contains("valid until 2026-11-28"),
            "{error}"
        );
        assert!(release.check("stable", later, true, "R").is_ok());
    }

    #[test]
    fn a_missing_architecture_or_component_names_what_there_is() {
        let main = ["main".to_owned()];
        let error = release().check_offers("s390x", &main, "R").unwrap_err();
        assert!(error.to_string().contains("all, amd64, arm64"), "{error}");
        let other = ["nonfree".to_owned()];
        let error = release().check_offers("amd64", &other, "R").unwrap_err();
        assert!(error.to_string().contains("main, contrib"), "{error}");
    }

    #[test]
    fn an_index_that_leads_out_of_the_archive_is_refused() {
        let text = TEXT.replace("main/binary-amd64", "../../etc");
        assert!(Release::parse(&text, "Release").is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(Suite: [a-z]*\n|Date: .*\n|SHA256:\n|( [0-9a-f ]+\n)|.*\n){0,8}") {
            let _ = Release::parse(&text, "Release");
        }
    }
}
