//! Packages files: what an archive offers.

use std::collections::HashMap;

use crate::{Error, Result, deb822, version};

/// One package as the archive describes it. All text is borrowed from the Packages file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package<'t> {
    /// Package.
    pub name: &'t str,
    /// Version.
    pub version: &'t str,
    /// Architecture: `all` or a real one.
    pub architecture: &'t str,
    /// Multi-Arch; `no` when absent.
    pub multi_arch: &'t str,
    /// Priority; `optional` when absent.
    pub priority: &'t str,
    /// Section; empty when absent.
    pub section: &'t str,
    /// Whether Essential is `yes`.
    pub essential: bool,
    /// Pre-Depends; empty when absent.
    pub pre_depends: &'t str,
    /// Depends; empty when absent.
    pub depends: &'t str,
    /// Provides; empty when absent.
    pub provides: &'t str,
    /// Conflicts; empty when absent.
    pub conflicts: &'t str,
    /// Breaks; empty when absent.
    pub breaks: &'t str,
    /// Replaces; empty when absent.
    pub replaces: &'t str,
    /// Filename, relative to the mirror's address.
    pub filename: &'t str,
    /// Size of the .deb in bytes.
    pub size: u64,
    /// SHA256 of the .deb, 64 lower case hexadecimal digits.
    pub sha256: &'t str,
    /// The place of the suite that offers it in the archive; 0 is the base suite.
    pub origin: usize,
}

/// The packages of one or more Packages files, in the order of the files.
#[derive(Debug, Default)]
pub struct Index<'t> {
    packages: Vec<Package<'t>>,
    by_name: HashMap<&'t str, Vec<usize>>,
}

impl<'t> Index<'t> {
    /// Adds all stanzas of a Packages file; `what` names it in errors.
    pub fn add(&mut self, text: &'t str, what: &'t str) -> Result<()> {
        self.add_from(text, what, 0)
    }

    /// The same for a suite that is not the base one. Those come after it, and have no say in what
    /// a base system is: what is required, important or essential there is so by the base suite.
    pub fn add_from(&mut self, text: &'t str, what: &'t str, origin: usize) -> Result<()> {
        for stanza in deb822::stanzas(text, what) {
            let mut package = read(&stanza?, what)?;
            package.origin = origin;
            if origin > 0 {
                let base = self.versions(package.name).rfind(|other| other.origin == 0);
                package.priority = match base {
                    Some(base) => base.priority,
                    None if matches!(package.priority, "required" | "important") => "optional",
                    None => package.priority,
                };
                package.essential = base.is_some_and(|base| base.essential);
            }
            self.by_name
                .entry(package.name)
                .or_default()
                .push(self.packages.len());
            self.packages.push(package);
        }
        Ok(())
    }

    /// All packages.
    pub fn iter(&self) -> impl Iterator<Item = &Package<'t>> {
        self.packages.iter()
    }

    /// Every version of a package, in the order of the files.
    pub fn versions(&self, name: &str) -> impl DoubleEndedIterator<Item = &Package<'t>> {
        self.by_name
            .get(name)
            .into_iter()
            .flatten()
            .map(|index| &self.packages[*index])
    }

    /// The last one in a suite's files, which is what debootstrap takes; where several suites have
    /// it, the highest version of these, and of equal ones that of the first suite.
    pub fn last(&self, name: &str) -> Option<&Package<'t>> {
        let mut best: Option<&Package<'t>> = None;
        let mut suite = None;
        for package in self.versions(name).rev() {
            if suite.replace(package.origin) == Some(package.origin) {
                continue;
            }
            let lower =
                |best: &Package<'t>| version::compare(package.version, best.version).is_lt();
            if !best.is_some_and(lower) {
                best = Some(package);
            }
        }
        best
    }

    /// The one with the highest version, which is what apt takes; of equal ones that of the first
    /// suite.
    pub fn highest(&self, name: &str) -> Option<&Package<'t>> {
        self.versions(name).max_by(|a, b| {
            version::compare(a.version, b.version).then_with(|| b.origin.cmp(&a.origin))
        })
    }

    /// Every package's name, sorted.
    pub fn names(&self) -> Vec<&'t str> {
        let mut names: Vec<&'t str> = self.by_name.keys().copied().collect();
        names.sort_unstable();
        names
    }
}

/// Whether a text may stand as a package's name (Policy 5.6.1, but lengths from 1 are let pass).
/// File names and commands are made from it.
pub fn is_package_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.')
        })
}

/// Whether a text may stand as an architecture's name.
pub fn is_architecture(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether a text is a SHA-256 in lower case hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether a path of an archive stays below the mirror's address.
pub fn is_archive_path(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with('/')
        && path.bytes().all(|b| b.is_ascii_graphic())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The fields that [`Package`] is made of; of a list nothing else is kept.
pub(crate) const FIELDS: [&str; 16] = [
    "Package",
    "Version",
    "Architecture",
    "Multi-Arch",
    "Priority",
    "Section",
    "Essential",
    "Pre-Depends",
    "Depends",
    "Provides",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Filename",
    "Size",
    "SHA256",
];

pub(crate) fn read<'t>(stanza: &deb822::Stanza<'t>, what: &str) -> Result<Package<'t>> {
    let name = stanza.get("Package").unwrap_or_default();
    if !is_package_name(name) {
        let name = name.escape_debug();
        return Err(Error::malformed(
            what,
            format!("`{name}` is not a package's name"),
        ));
    }
    let bad = |reason: &str| Error::malformed(format!("package {name} in {what}"), reason);
    let need = |field: &str| {
        stanza
            .get(field)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| bad(&format!("it has no {field}")))
    };
    let optional = |field: &str| stanza.get(field).unwrap_or_default();
    let package = Package {
        name,
        version: need("Version")?,
        architecture: need("Architecture")?,
        multi_arch: stanza.get("Multi-Arch").unwrap_or("no"),
        priority: stanza.get("Priority").unwrap_or("optional"),
        section: optional("Section"),
        essential: stanza.get("Essential") == Some("yes"),
        pre_depends: optional("Pre-Depends"),
        depends: optional("Depends"),
        provides: optional("Provides"),
        conflicts: optional("Conflicts"),
        breaks: optional("Breaks"),
        replaces: optional("Replaces"),
        filename: need("Filename")?,
        size: need("Size")?
            .parse()
            .map_err(|_| bad("its Size is not a number"))?,
        sha256: need("SHA256")?,
        origin: 0,
    };
    if !version::is_valid(package.version) {
        return Err(bad("its Version is not a version"));
    }
    if !is_architecture(package.architecture) {
        return Err(bad("its Architecture is not an architecture"));
    }
    if !is_sha256(package.sha256) {
        return Err(bad("its SHA256 is not one"));
    }
    if !is_archive_path(
        package
            .filename
            .strip_prefix("./")
            .unwrap_or(package.filename),
    ) {
        return Err(bad("its Filename leads out of the archive"));
    }
    Ok(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, version: &str, filename: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nFilename: {filename}\n\
             Size: 5\nSHA256: {}\n\n",
            "0".repeat(64)
        )
    }

    #[test]
    fn the_last_and_the_highest_version_are_found() {
        let text =
            stanza("a", "2", "a2.deb") + &stanza("b", "1", "b.deb") + &stanza("a", "1", "a1.deb");
        let mut index = Index::default();
        index.add(&text, "Packages").unwrap();
        assert_eq!(index.last("a").unwrap().version, "1");
        assert_eq!(index.highest("a").unwrap().version, "2");
        assert!(index.highest("c").is_none());
    }

    #[test]
    fn a_stanza_without_hash_or_size_or_with_a_way_out_is_refused() {
        let good = stanza("a", "1", "pool/a.deb");
        assert!(Index::default().add(&good, "P").is_ok());
        for (from, to) in [
            ("SHA256", "SHA1"),
            ("Size: 5", "Size: five"),
            ("pool/a.deb", "../a.deb"),
            ("pool/a.deb", "/a.deb"),
            ("Package: a", "Package: ../a"),
            ("Version: 1", "Version: 1/2"),
        ] {
            let text = good.replace(from, to);
            assert!(Index::default().add(&text, "P").is_err(), "{text}");
        }
    }
}
