//! Lock files: everything that a build took, so that it can be built again (docs/lock-format.md).
//!
//! A lock takes the place of Release and Packages files, and is checked as those are: it may have
//! come from anybody, and names and paths in it become names and paths on disk.

use std::collections::BTreeSet;

use sampan_core::{Download, ErrorKind, Host, TemplateError};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result, deb822,
    packages::{self, is_architecture, is_archive_path, is_sha256},
    release::Release,
    selection::Selection,
    source::{Archive, Suite, Wanted, hex},
};

/// The format that is written and read.
const FORMAT: &str = "1";

/// How people know the file.
const WHAT: &str = "the file of -o lock=FILE";

/// Names of options and their values.
pub type Asked = Vec<(String, String)>;

/// A lock that was read.
#[derive(Debug, Clone)]
pub struct Lock<'t> {
    /// Its text.
    pub text: &'t str,
    /// The architecture.
    pub arch: &'t str,
    /// What was asked for, to be refused when it is asked for differently with the lock.
    pub asked: Asked,
    /// Where packages came from.
    pub archive: Archive,
    /// The packages.
    pub selection: Selection<'t>,
}

/// Writes the lock of a build.
pub fn write(archive: &Archive, selection: &Selection<'_>, asked: &[(String, String)]) -> String {
    let base = archive.base();
    let mut text = format!(
        "Format: {FORMAT}\nSuite: {}\nCodename: {}\nArchitecture: {}\nSource-Date-Epoch: {}\n",
        word(&base.release.suite),
        word(&base.release.codename),
        base.wanted.arch,
        archive.date(),
    );
    text.push_str("Asked:\n");
    for (name, value) in asked {
        text.push_str(&format!(" {name}={value}\n"));
    }
    text.push_str("Releases:\n");
    for (place, suite) in archive.suites().iter().enumerate() {
        let kind = match place < archive.own_suites().len() {
            true => "own",
            false => "repository",
        };
        text.push_str(&format!(
            " {kind} {} {} {} {} {} {}\n",
            word(&suite.release.suite),
            word(&suite.release.codename),
            suite.release.date,
            suite.signed_sha256,
            word(&suite.wanted.components.join(",")),
            suite.wanted.mirrors.join(","),
        ));
    }
    let required = selection
        .required
        .iter()
        .map(|package| (package, "required"));
    let base = selection.base.iter().map(|package| (package, "base"));
    for (package, stage) in required.chain(base) {
        text.push('\n');
        let size = package.size.to_string();
        let release = (package.origin + 1).to_string();
        for (field, value) in [
            ("Package", package.name),
            ("Version", package.version),
            ("Architecture", package.architecture),
            ("Multi-Arch", package.multi_arch),
            ("Priority", package.priority),
            ("Section", package.section),
            ("Essential", if package.essential { "yes" } else { "" }),
            ("Pre-Depends", package.pre_depends),
            ("Depends", package.depends),
            ("Provides", package.provides),
            ("Conflicts", package.conflicts),
            ("Breaks", package.breaks),
            ("Replaces", package.replaces),
            ("Filename", package.filename),
            ("Size", &size),
            ("SHA256", package.sha256),
            ("Stage", stage),
            ("Release", &release),
        ] {
            if !value.is_empty() {
                text.push_str(&format!("{field}: {value}\n"));
            }
        }
    }
    text
}

/// What tells images of one lock from those of another.
pub fn fingerprint(text: &str) -> String {
    format!("lock sha256:{}", hex(&Sha256::digest(text.as_bytes())))
}

impl<'t> Lock<'t> {
    /// Reads a lock and checks all that is in it.
    pub fn parse(text: &'t str) -> Result<Self> {
        let bad = |reason: String| Error::malformed(WHAT, reason);
        let mut stanzas = deb822::stanzas(text, WHAT);
        let head = stanzas
            .next()
            .unwrap_or_else(|| Ok(deb822::Stanza::default()))?;
        match head.get("Format") {
            Some(FORMAT) => {}
            Some(other) => {
                return Err(bad(format!(
                    "its format is `{}`, and this version reads {FORMAT}",
                    other.escape_debug()
                )));
            }
            None => return Err(bad("it does not begin with a Format".to_owned())),
        }
        let arch = head.get("Architecture").unwrap_or_default();
        if !is_architecture(arch) {
            return Err(bad("its Architecture is not an architecture".to_owned()));
        }
        let lines = |field: &str| head.get(field).unwrap_or_default().lines().map(str::trim);
        let mut asked = Asked::new();
        for line in lines("Asked").filter(|line| !line.is_empty()) {
            let (name, value) = line
                .split_once('=')
                .ok_or_else(|| bad("a line of its Asked has no `=`".to_owned()))?;
            asked.push((name.to_owned(), value.to_owned()));
        }
        let mut suites = Vec::new();
        let mut own = 0;
        for line in lines("Releases").filter(|line| !line.is_empty()) {
            let (suite, is_own) = release(line, arch)
                .ok_or_else(|| bad(format!("`{}` is not a Release", line.escape_debug())))?;
            if is_own && own < suites.len() {
                return Err(bad("an own Release follows one of a repository".to_owned()));
            }
            own += usize::from(is_own);
            suites.push(suite);
        }
        let archive = Archive::locked(suites, own)
            .ok_or_else(|| bad("it has no Release of its own".to_owned()))?;
        if head.get("Source-Date-Epoch") != Some(archive.date().to_string().as_str()) {
            return Err(bad(
                "its Source-Date-Epoch is not the date of its newest Release".to_owned(),
            ));
        }
        let mut selection = Selection {
            required: Vec::new(),
            base: Vec::new(),
            split_usr: false,
        };
        let mut names = BTreeSet::new();
        for stanza in stanzas {
            let stanza = stanza?;
            let mut package = packages::read(&stanza, WHAT)?;
            let name = package.name;
            let bad = |reason: &str| Error::malformed(format!("package {name} in {WHAT}"), reason);
            if !names.insert(name) {
                return Err(bad("it is there twice"));
            }
            if package.architecture != "all" && package.architecture != arch {
                return Err(bad("it is of another architecture"));
            }
            let place = stanza.get("Release").and_then(|number| number.parse().ok());
            package.origin = place
                .and_then(|place: usize| place.checked_sub(1))
                .filter(|place| *place < archive.suites().len())
                .ok_or_else(|| bad("its Release is not one of those above"))?;
            match stanza.get("Stage") {
                Some("required") => selection.required.push(package),
                Some("base") => selection.base.push(package),
                _ => return Err(bad("its Stage is neither required nor base")),
            }
        }
        if selection.required.is_empty() {
            return Err(bad("it has no required packages".to_owned()));
        }
        selection.required.sort_by_key(|package| package.name);
        selection.base.sort_by_key(|package| package.name);
        let is_buildd = asked
            .iter()
            .any(|(name, value)| name == "variant" && value == "buildd");
        selection.split_usr = is_buildd && selection.is_of_the_transition();
        Ok(Self {
            text,
            arch,
            asked,
            archive,
            selection,
        })
    }

    /// Refuses a request that asks for another image than the lock's. Options that have their
    /// default value cannot be told from those that were not given, and pass.
    pub fn check(
        &self,
        arch: &str,
        now: &[(String, String)],
        defaults: &[(String, String)],
    ) -> Result<()> {
        let refuse = |message: String, hint: &str| {
            let error = TemplateError::bad_option(message).with_hint(hint);
            Err(Error::Host(error))
        };
        if arch != self.arch {
            return refuse(
                format!("the lock is for architecture {}, not {arch}", self.arch),
                "a lock holds the packages of one architecture",
            );
        }
        let then = |name: &str| {
            let found = self.asked.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        for option in now {
            let (name, value) = option;
            if then(name) != Some(value) && !defaults.contains(option) {
                return refuse(
                    format!(
                        "option {name} cannot be `{value}` with this lock, which was made {}",
                        then(name).map_or_else(
                            || "without it".to_owned(),
                            |then| { format!("with `{}`", then.escape_debug()) }
                        )
                    ),
                    "a lock decides what is in the image: leave the option away, or build without \
                     lock",
                );
            }
        }
        // Of a file the lock knows only the hash, and it is part of the image.
        let files = self
            .asked
            .iter()
            .filter(|(_, value)| value.starts_with("sha256:"));
        for (name, value) in files {
            if !now.iter().any(|(given, _)| given == name) {
                return refuse(
                    format!("the lock was made with -o {name}=FILE, a file with {value}"),
                    "give the same file again",
                );
            }
        }
        Ok(())
    }

    /// Lets mirrors stand in for those that the lock names: for the distribution's own packages,
    /// and for its security updates.
    pub fn set_mirrors(&mut self, own: &[String], security: &[String]) {
        self.archive.put_mirrors_first(own, security);
    }
}

/// An error that says which of a lock's packages are nowhere any more, when that is why it failed.
pub fn explain(host: &dyn Host, downloads: &[Download], error: Error) -> Error {
    let is_fetch = matches!(&error, Error::Host(inner)
        if matches!(inner.kind(), ErrorKind::Fetch | ErrorKind::Untrusted));
    if !is_fetch {
        return error;
    }
    let mut gone = Vec::new();
    for download in downloads {
        if host.cancelled() {
            return error;
        }
        if host.fetch(std::slice::from_ref(download)).is_err() {
            gone.push(download.label.as_str());
        }
        // Without any network, all would be asked for in vain.
        if gone.len() == MOST_GONE {
            gone.push("perhaps more");
            break;
        }
    }
    if gone.is_empty() {
        return error;
    }
    let error = TemplateError::from(error);
    let context = format!(
        "packages of the lock are neither in the download cache nor on a mirror: {}",
        gone.join(", ")
    );
    Error::Host(error.context(context).with_hint(
        "archives drop old versions; name one that keeps them, such as a snapshot of the archive, \
         with -o mirror=URL and -o security-mirror=URL",
    ))
}

/// So many packages that are gone are named.
const MOST_GONE: usize = 20;

/// Empty text has a mark of its own, so that lines keep their columns.
fn word(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// One line of Releases.
fn release(line: &str, arch: &str) -> Option<(Suite, bool)> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let [kind, suite, codename, date, sha256, components, mirrors] = columns[..] else {
        return None;
    };
    let plain = |text: &str| match text {
        "-" => Some(String::new()),
        text if is_archive_path(text) => Some(text.to_owned()),
        _ => None,
    };
    let is_own = match kind {
        "own" => true,
        "repository" => false,
        _ => return None,
    };
    let components = match components {
        "-" => Vec::new(),
        list => list.split(',').map(plain).collect::<Option<Vec<_>>>()?,
    };
    let mirrors: Vec<String> = mirrors.split(',').map(str::to_owned).collect();
    let is_address = |url: &String| {
        ["http://", "https://", "file:/"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
            && url.bytes().all(|b| b.is_ascii_graphic())
    };
    if !mirrors.iter().all(is_address) || !is_sha256(sha256) {
        return None;
    }
    let release = Release::locked(plain(suite)?, plain(codename)?, date.parse().ok()?);
    let suite = Suite {
        wanted: Wanted {
            mirrors: mirrors.clone(),
            suite: suite.to_owned(),
            arch: arch.to_owned(),
            components,
            ..Wanted::default()
        },
        // A file: address of a lock is not one that the person chose.
        mirrors: mirrors
            .into_iter()
            .filter(|url| !url.starts_with("file:"))
            .collect(),
        release,
        directory: String::new(),
        signed_sha256: sha256.to_owned(),
        is_near: false,
    };
    Some((suite, is_own))
}

#[cfg(test)]
mod tests;
