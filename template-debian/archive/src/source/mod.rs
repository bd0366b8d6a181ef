//! A suite on a mirror: its verified Release, its package lists, and where its .debs are.

use std::path::PathBuf;

use sampan_core::{Download, ErrorKind, Host, Level, TemplateError};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    compression::{Compression, amount},
    date,
    openpgp::Verifier,
    packages::{Package, is_archive_path},
    release::Release,
};

/// No InRelease file is larger: 4 MiB (Debian's have 140 KB).
const INRELEASE_LIMIT: u64 = 4 << 20;

/// No Packages file is larger when unpacked: 256 MiB (Debian's main has 60 MB).
const PACKAGES_LIMIT: u64 = 256 << 20;

/// No file is larger, whatever an archive says of it: 4 GiB. A .deb is read into memory.
const DOWNLOAD_LIMIT: u64 = 4 << 30;

/// Which suite of which mirror is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The mirror's address, without a `/` at its end.
    pub mirror: String,
    /// Suite or codename.
    pub suite: String,
    /// Architecture.
    pub arch: String,
    /// Components.
    pub components: Vec<String>,
    /// Whether a Release whose time is over is accepted, with a warning.
    pub allow_expired_release: bool,
}

/// A suite whose Release was signed by a trusted key and checked against what was wanted.
#[derive(Debug, Clone)]
pub struct Suite {
    /// What was wanted.
    pub wanted: Wanted,
    /// What the archive says.
    pub release: Release,
    /// The directory of the suite on the mirror, below `dists/`.
    pub directory: String,
    /// SHA-256 of the signed text.
    pub signed_sha256: String,
}

/// The text of one Packages file.
#[derive(Debug)]
pub struct PackagesText {
    /// Its address, for errors.
    pub what: String,
    /// Its contents.
    pub text: String,
}

impl Suite {
    /// Fetches and verifies the InRelease of the suite, as of now.
    ///
    /// An alias such as `stable` is followed to its codename: a caching mirror may serve an old
    /// file under one name and a new one under the other, and the newer of the two counts.
    pub fn open(host: &dyn Host, wanted: Wanted, verifier: &dyn Verifier) -> Result<Self> {
        if !is_archive_path(&wanted.suite) {
            let suite = wanted.suite.escape_debug();
            return Err(Error::Host(TemplateError::bad_option(format!(
                "`{suite}` cannot be the name of a suite"
            ))));
        }
        let suite = Self::fetch(host, &wanted, &wanted.suite, verifier)
            .map_err(|error| unknown_suite(error, &wanted))?;
        let codename = suite.release.codename.clone();
        if codename == wanted.suite || !is_archive_path(&codename) {
            return Ok(suite);
        }
        match Self::fetch(host, &wanted, &codename, verifier) {
            Ok(by_codename) if by_codename.release.date >= suite.release.date => Ok(by_codename),
            Ok(_) => Ok(suite),
            // A mirror without that directory: the alias alone will do.
            Err(Error::Host(error)) if error.kind() == ErrorKind::Fetch => Ok(suite),
            Err(error) => Err(error),
        }
    }

    fn fetch(
        host: &dyn Host,
        wanted: &Wanted,
        directory: &str,
        verifier: &dyn Verifier,
    ) -> Result<Self> {
        let url = format!("{}/dists/{directory}/InRelease", wanted.mirror);
        let now = date::now();
        let message = host.fetch_unverified(&url, INRELEASE_LIMIT)?;
        let signed = verifier.verify(&message, now, &url)?;
        let release = Release::parse(&signed, &url)?;
        release.check(&wanted.suite, now, wanted.allow_expired_release, &url)?;
        release.check_offers(&wanted.arch, &wanted.components, &url)?;
        if let Some(until) = release.valid_until.filter(|until| *until < now) {
            let until = date::format(until);
            host.log(
                Level::Warn,
                &format!(
                    "{url} was valid until {until}; it is accepted because you allowed that, and \
                     what it lists may have known holes"
                ),
            );
        }
        Ok(Self {
            wanted: wanted.clone(),
            release,
            directory: directory.to_owned(),
            signed_sha256: hex(&Sha256::digest(signed.as_bytes())),
        })
    }

    /// What changes exactly when the archive's state changes.
    pub fn fingerprint(&self) -> String {
        format!(
            "{} {} sha256:{}",
            self.name(),
            date::format(self.release.date),
            self.signed_sha256
        )
    }

    /// The codename, or the suite's name where there is none.
    pub fn name(&self) -> &str {
        if self.release.codename.is_empty() {
            &self.release.suite
        } else {
            &self.release.codename
        }
    }

    /// Fetches the Packages files of the wanted architecture and components.
    pub fn packages(&self, host: &dyn Host) -> Result<Vec<PackagesText>> {
        let mut found = Vec::new();
        for component in &self.wanted.components {
            found.push(self.index(component, &self.wanted.arch)?);
            if self.release.all_is_separate {
                found.extend(self.index(component, "all").ok());
            }
        }
        let downloads: Vec<Download> = found.iter().map(|index| index.download.clone()).collect();
        let paths = fetch(host, &downloads)?;
        found
            .into_iter()
            .zip(paths)
            .map(|(index, path)| {
                let bytes = std::fs::read(&path).map_err(|source| Error::Read {
                    path: path.display().to_string(),
                    source,
                })?;
                let text = index
                    .compression
                    .read_all(&bytes, index.limit)
                    .map_err(|error| Error::malformed(&index.url, error.to_string()))?;
                let text = String::from_utf8(text)
                    .map_err(|_| Error::malformed(&index.url, "it is not UTF-8"))?;
                Ok(PackagesText {
                    what: index.url,
                    text,
                })
            })
            .collect()
    }

    /// How to get a package's .deb.
    pub fn download(&self, package: &Package<'_>) -> Download {
        let path = package.filename.trim_start_matches("./");
        Download {
            urls: vec![format!("{}/{path}", self.wanted.mirror)],
            sha256: package.sha256.to_owned(),
            size: package.size,
            label: package.name.to_owned(),
        }
    }

    fn index(&self, component: &str, arch: &str) -> Result<PackagesIndex> {
        let plain = format!("{component}/binary-{arch}/Packages");
        let limit = match self.release.indices.get(&plain) {
            Some((size, _)) => (*size).min(PACKAGES_LIMIT),
            None => PACKAGES_LIMIT,
        };
        let base = format!("{}/dists/{}", self.wanted.mirror, self.directory);
        for (extension, compression) in [
            (".xz", Compression::Xz),
            (".gz", Compression::Gzip),
            ("", Compression::None),
        ] {
            let path = format!("{plain}{extension}");
            let Some((size, sha256)) = self.release.indices.get(&path) else {
                continue;
            };
            let url = format!("{base}/{path}");
            let mut urls = Vec::new();
            if self.release.acquire_by_hash {
                // Not all mirrors have these, so that the plain address follows.
                urls.push(format!(
                    "{base}/{component}/binary-{arch}/by-hash/SHA256/{sha256}"
                ));
            }
            urls.push(url.clone());
            return Ok(PackagesIndex {
                download: Download {
                    urls,
                    sha256: sha256.clone(),
                    size: *size,
                    label: format!("{} {component} packages", self.name()),
                },
                compression,
                limit,
                url,
            });
        }
        Err(Error::Release {
            what: format!("{base}/InRelease"),
            reason: format!("it lists no {plain} as .xz, .gz or uncompressed"),
            hint: None,
        })
    }
}

/// Fetches files whose hashes are known: as many paths as downloads, in order.
pub fn fetch(host: &dyn Host, downloads: &[Download]) -> Result<Vec<PathBuf>> {
    if let Some(large) = downloads.iter().find(|one| one.size > DOWNLOAD_LIMIT) {
        let size = amount(large.size);
        return Err(Error::malformed(
            &large.label,
            format!(
                "the archive says it has {size}; no file may have more than {}",
                amount(DOWNLOAD_LIMIT)
            ),
        ));
    }
    let paths = host.fetch(downloads)?;
    if paths.len() != downloads.len() {
        let error = TemplateError::failed("the host handed on another number of files");
        return Err(Error::Host(error));
    }
    Ok(paths)
}

struct PackagesIndex {
    download: Download,
    compression: Compression,
    limit: u64,
    url: String,
}

/// A mirror that has no such suite answers 404: say what that means.
fn unknown_suite(error: Error, wanted: &Wanted) -> Error {
    match error {
        Error::Host(inner) if inner.kind() == ErrorKind::Fetch => {
            let Wanted { mirror, suite, .. } = wanted;
            let hint = inner.hint().map(str::to_owned).unwrap_or_else(|| {
                format!(
                    "if the mirror can be reached, see {mirror}/dists/ for the suites it has; a \
                     Debian mirror has stable, testing, sid and codenames such as trixie"
                )
            });
            let context = format!("cannot get suite {suite} from {mirror}");
            Error::Host(inner.context(context).with_hint(hint))
        }
        other => other,
    }
}

/// Lower case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
