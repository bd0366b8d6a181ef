//! A made-up mirror: paths and bytes, as they would lie on a web server.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use sha2::{Digest, Sha256};

use super::{
    DebBuilder, Key, compress,
    key::{keyring, sign_cleartext},
};
use crate::{compression::Compression, date, source::hex};

/// A mirror in the making.
#[derive(Debug, Clone)]
pub struct Mirror {
    suite: String,
    codename: String,
    version: Option<String>,
    directories: Vec<String>,
    architectures: Vec<String>,
    date: i64,
    valid_until: Option<i64>,
    by_hash: bool,
    separate_all: bool,
    compressions: Vec<Compression>,
    packages: Vec<(String, DebBuilder)>,
    keys: Vec<Key>,
}

/// A finished mirror.
#[derive(Debug, Clone)]
pub struct BuiltMirror {
    /// Contents by path below the mirror's address, such as `dists/stable/InRelease`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The public keys of all that signed it.
    pub keyring: Vec<u8>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self::new()
    }
}

impl Mirror {
    /// An empty suite `stable` with the codename `sailor` for amd64 and arm64, signed by one
    /// fresh key.
    pub fn new() -> Self {
        Self {
            suite: "stable".to_owned(),
            codename: "sailor".to_owned(),
            version: None,
            directories: vec!["stable".to_owned(), "sailor".to_owned()],
            architectures: vec!["amd64".to_owned(), "arm64".to_owned()],
            date: date::now() - 3_600,
            valid_until: None,
            by_hash: true,
            separate_all: false,
            compressions: vec![Compression::Xz, Compression::Gzip],
            packages: Vec::new(),
            keys: vec![Key::generate()],
        }
    }

    /// The same mirror with another suite and codename, found under both names.
    #[must_use]
    pub fn suite(mut self, suite: &str, codename: &str) -> Self {
        self.suite = suite.to_owned();
        self.codename = codename.to_owned();
        self.directories = vec![suite.to_owned(), codename.to_owned()];
        self
    }

    /// The same mirror with a version, as released suites have one.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    /// The same mirror, found below `dists/` under these names only.
    #[must_use]
    pub fn directories(mut self, names: &[&str]) -> Self {
        self.directories = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// The same mirror at another time.
    #[must_use]
    pub fn date(mut self, date: i64) -> Self {
        self.date = date;
        self
    }

    /// The same mirror, valid until then only.
    #[must_use]
    pub fn valid_until(mut self, date: i64) -> Self {
        self.valid_until = Some(date);
        self
    }

    /// The same mirror without by-hash addresses.
    #[must_use]
    pub fn without_by_hash(mut self) -> Self {
        self.by_hash = false;
        self
    }

    /// The same mirror with these architectures.
    #[must_use]
    pub fn architectures(mut self, names: &[&str]) -> Self {
        self.architectures = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// The same mirror with packages for all architectures in a list of their own.
    #[must_use]
    pub fn separate_all(mut self) -> Self {
        self.separate_all = true;
        self
    }

    /// The same mirror with package lists in these compressions.
    #[must_use]
    pub fn compressions(mut self, kinds: &[Compression]) -> Self {
        self.compressions = kinds.to_vec();
        self
    }

    /// The same mirror with one more package.
    #[must_use]
    pub fn package(self, package: DebBuilder) -> Self {
        self.package_in("main", package)
    }

    /// The same mirror with one more package in this component.
    #[must_use]
    pub fn package_in(mut self, component: &str, package: DebBuilder) -> Self {
        self.packages.push((component.to_owned(), package));
        self
    }

    /// The same mirror signed by these keys.
    #[must_use]
    pub fn keys(mut self, keys: Vec<Key>) -> Self {
        self.keys = keys;
        self
    }

    /// All files, signed.
    pub fn build(&self) -> BuiltMirror {
        let mut files = BTreeMap::new();
        let mut debs = Vec::new();
        let mut components = vec!["main"];
        for (component, package) in &self.packages {
            let deb = package.clone().build();
            let path = format!("pool/{component}/{}", package.file_name());
            files.insert(path, deb.clone());
            debs.push((component, package, deb));
            if !components.contains(&component.as_str()) {
                components.push(component);
            }
        }
        let mut release = format!(
            "Origin: Made up\nSuite: {}\nCodename: {}\nDate: {}\n",
            self.suite,
            self.codename,
            date::format_release(self.date)
        );
        if let Some(version) = &self.version {
            let _ = writeln!(release, "Version: {version}");
        }
        if let Some(until) = self.valid_until {
            let _ = writeln!(release, "Valid-Until: {}", date::format_release(until));
        }
        if self.by_hash {
            release.push_str("Acquire-By-Hash: yes\n");
        }
        if !self.separate_all {
            release.push_str("No-Support-for-Architecture-all: Packages\n");
        }
        let _ = writeln!(
            release,
            "Architectures: all {}\nComponents: {}\nSHA256:",
            self.architectures.join(" "),
            components.join(" ")
        );
        let mut lists = self.architectures.clone();
        if self.separate_all {
            lists.push("all".to_owned());
        }
        for component in components {
            for arch in &lists {
                let stanzas = debs.iter().filter(|(part, package, _)| {
                    let is_apart = arch == "all" || !package.is_for("all");
                    *part == component && package.is_for(arch) && (!self.separate_all || is_apart)
                });
                let text: String = stanzas
                    .map(|(_, package, deb)| package.stanza_in(&format!("pool/{component}/"), deb))
                    .collect();
                let list = format!("{component}/binary-{arch}");
                self.add_list(&list, text.as_bytes(), &mut release, &mut files);
            }
        }
        let in_release = sign_cleartext(&release, &self.keys);
        for directory in &self.directories {
            files.insert(format!("dists/{directory}/InRelease"), in_release.clone());
        }
        BuiltMirror {
            files,
            keyring: keyring(&self.keys),
        }
    }

    fn add_list(
        &self,
        list: &str,
        text: &[u8],
        release: &mut String,
        files: &mut BTreeMap<String, Vec<u8>>,
    ) {
        // Debian lists the uncompressed file too, without having it.
        let plain = format!("{list}/Packages");
        let mut listed = vec![(plain.clone(), text.to_vec(), false)];
        for kind in &self.compressions {
            let (extension, kind) = match kind {
                Compression::None => ("", Compression::None),
                Compression::Gzip => (".gz", Compression::Gzip),
                Compression::Xz => (".xz", Compression::Xz),
                Compression::Zstd => (".zst", Compression::Zstd),
            };
            listed.retain(|(path, ..)| *path != format!("{plain}{extension}"));
            listed.push((format!("{plain}{extension}"), compress(kind, text), true));
        }
        for (path, bytes, there) in listed {
            let hash = hex(&Sha256::digest(&bytes));
            let _ = writeln!(release, " {hash} {} {path}", bytes.len());
            for directory in self.directories.iter().filter(|_| there) {
                let base = format!("dists/{directory}");
                files.insert(format!("{base}/{path}"), bytes.clone());
                if self.by_hash {
                    let by_hash = format!("{base}/{list}/by-hash/SHA256/{hash}");
                    files.insert(by_hash, bytes.clone());
                }
            }
        }
    }
}

impl BuiltMirror {
    /// One more suite on the same mirror; its keys are trusted too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        self.keyring.extend(other.keyring);
        self
    }

    /// Changes each file whose path holds `part`; panics when there is none.
    #[must_use]
    pub fn tamper(mut self, part: &str, change: impl Fn(&mut Vec<u8>)) -> Self {
        let mut hits = 0;
        for (path, bytes) in &mut self.files {
            if path.contains(part) {
                change(bytes);
                hits += 1;
            }
        }
        assert!(hits > 0, "no path of the mirror holds {part}");
        self
    }

    /// Takes away each file whose path holds `part`; panics when there is none.
    #[must_use]
    pub fn without(mut self, part: &str) -> Self {
        let before = self.files.len();
        self.files.retain(|path, _| !path.contains(part));
        assert!(
            self.files.len() < before,
            "no path of the mirror holds {part}"
        );
        self
    }

    /// Writes the mirror below a directory, for a web server or a file:// address, with its
    /// keyring beside it as `keyring.gpg`.
    pub fn write_to(&self, directory: &Path) -> std::io::Result<()> {
        for (path, bytes) in &self.files {
            let path = directory.join(path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, bytes)?;
        }
        std::fs::write(directory.join("keyring.gpg"), &self.keyring)
    }
}
