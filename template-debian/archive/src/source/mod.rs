//! A suite on a mirror: its verified Release, its package lists, and where its .debs are.

mod archive;
mod excerpt;
mod repository;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use sampan_core::{Download, ErrorKind, Host, Level, TemplateError};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    compression::{Compression, amount},
    date,
    openpgp::{Signed, Verifier},
    packages::{Package, is_archive_path},
    release::Release,
};

pub use archive::{Archive, Beside, Companions};
pub use repository::{Repositories, Source};

/// No InRelease file is larger: 4 MiB (Debian's have 140 KB).
const INRELEASE_LIMIT: u64 = 4 << 20;

/// No Packages file is larger when unpacked: 256 MiB (Debian's main has 60 MB).
const PACKAGES_LIMIT: u64 = 256 << 20;

/// No file is larger, whatever an archive says of it: 4 GiB. A .deb is read into memory.
const DOWNLOAD_LIMIT: u64 = 4 << 30;

/// Which suite of which mirrors is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Addresses of mirrors with the same contents, without a `/` at their ends. The first that
    /// answers serves.
    pub mirrors: Vec<String>,
    /// Suite or codename.
    pub suite: String,
    /// Architecture.
    pub arch: String,
    /// Components.
    pub components: Vec<String>,
    /// Whether a Release whose time is over is accepted, with a warning.
    pub allow_expired_release: bool,
    /// Whether a Release older than one seen before is accepted, with a warning.
    pub allow_older_release: bool,
    /// What tells it from other archives that the same keys sign; empty for a distribution's own.
    pub scope: String,
}

/// A suite whose Release was signed by a trusted key and checked against what was wanted.
#[derive(Debug, Clone)]
pub struct Suite {
    /// What was wanted.
    pub wanted: Wanted,
    /// The wanted mirrors, the one that served the Release first.
    pub mirrors: Vec<String>,
    /// What the archive says.
    pub release: Release,
    /// The directory of the suite on the mirror, below `dists/`.
    pub directory: String,
    /// SHA-256 of the signed text.
    pub signed_sha256: String,
    /// Whether its mirror answers as fast as a disk.
    pub(crate) is_near: bool,
}

/// The text of one Packages file.
#[derive(Debug)]
pub struct PackagesText {
    /// Its address, for errors.
    pub what: String,
    /// The place of its suite in the [`Archive`].
    pub origin: usize,
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
        let mut refused: Option<Error> = None;
        for (index, mirror) in wanted.mirrors.iter().enumerate() {
            let found = Self::on_mirror(host, &wanted, mirror, verifier)
                .and_then(|suite| suite.refuse_older(host, mirror, verifier));
            let error = match found {
                Ok(mut suite) => {
                    suite.mirrors.retain(|other| other != mirror);
                    suite.mirrors.insert(0, mirror.clone());
                    return Ok(suite);
                }
                Err(error) => unknown_suite(error, &wanted.suite, mirror),
            };
            if is_final(&error) {
                return Err(error);
            }
            if index + 1 < wanted.mirrors.len() {
                let message = format!("mirror {mirror} is passed over: {error}");
                host.log(Level::Warn, &message);
            }
            // One that serves what cannot be trusted says more than one that does not answer.
            if refused.as_ref().is_none_or(is_unanswered) {
                refused = Some(error);
            }
        }
        let none = || Error::Host(TemplateError::bad_option("no mirror was named"));
        Err(refused.unwrap_or_else(none))
    }

    fn on_mirror(
        host: &dyn Host,
        wanted: &Wanted,
        mirror: &str,
        verifier: &dyn Verifier,
    ) -> Result<Self> {
        let suite = Self::fetch(host, wanted, mirror, &wanted.suite, verifier)?;
        let codename = suite.release.codename.clone();
        if codename == wanted.suite || !is_archive_path(&codename) {
            return Ok(suite);
        }
        match Self::fetch(host, wanted, mirror, &codename, verifier) {
            Ok(by_codename) if by_codename.release.date >= suite.release.date => Ok(by_codename),
            Ok(_) => Ok(suite),
            // A mirror without that directory: the alias alone will do.
            Err(error) if is_unanswered(&error) => Ok(suite),
            Err(error) => Err(error),
        }
    }

    /// Refuses a Release older than the newest that was accepted on this machine with the same
    /// keys: a signature stays good for ever, and whoever replays an old state hides updates.
    fn refuse_older(self, host: &dyn Host, mirror: &str, verifier: &dyn Verifier) -> Result<Self> {
        // Of a hash, since addresses may be long.
        let scope = match self.wanted.scope.as_str() {
            "" => String::new(),
            scope => format!(" {}", &hex(&Sha256::digest(scope))[..32]),
        };
        let name = format!("release {} {}{scope}", self.name(), verifier.identity());
        let newest = host.remember_highest(&name, self.release.date)?;
        if newest <= self.release.date {
            return Ok(self);
        }
        let url = format!("{mirror}/dists/{}/InRelease", self.directory);
        let (date, newest) = (date::format(self.release.date), date::format(newest));
        if !self.wanted.allow_older_release {
            return Err(Error::Release {
                what: url,
                reason: format!(
                    "it is of {date}, but one of {newest} was seen before; somebody may be \
                     replaying an old state to hide updates"
                ),
                hint: Some(
                    "if the mirror is merely behind, use another one with -o mirror=URL, or \
                     accept its age with -o allow-older-release=true"
                        .to_owned(),
                ),
            });
        }
        let message = format!(
            "{url} is of {date}, older than one of {newest} that was seen before; it is accepted \
             because you allowed that, and updates may be missing"
        );
        host.log(Level::Warn, &message);
        Ok(self)
    }

    fn fetch(
        host: &dyn Host,
        wanted: &Wanted,
        mirror: &str,
        directory: &str,
        verifier: &dyn Verifier,
    ) -> Result<Self> {
        let url = format!("{mirror}/dists/{directory}/InRelease");
        let now = date::now();
        let begun = Instant::now();
        let message = host.fetch_unverified(&url, INRELEASE_LIMIT)?;
        let is_near = is_near(message.len(), begun.elapsed());
        let Signed {
            text: signed,
            conceded,
        } = verifier.verify(&message, now, &url)?;
        if let Some(reason) = conceded {
            let message = format!(
                "{url} would not be trusted: {reason}; it is accepted because you allowed that, and \
                 somebody else may have made it"
            );
            host.log(Level::Warn, &message);
        }
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
            mirrors: wanted.mirrors.clone(),
            wanted: wanted.clone(),
            release,
            directory: directory.to_owned(),
            is_near,
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
        read_lists(host, self.lists(0)?)
    }

    fn lists(&self, origin: usize) -> Result<Vec<PackagesIndex>> {
        let mut found = Vec::new();
        for component in &self.wanted.components {
            found.push(self.index(component, &self.wanted.arch, origin)?);
            if self.release.all_is_separate {
                found.extend(self.index(component, "all", origin).ok());
            }
        }
        Ok(found)
    }

    /// How to get a package's .deb.
    pub fn download(&self, package: &Package<'_>) -> Download {
        let path = package.filename.trim_start_matches("./");
        Download {
            urls: self.urls(path),
            sha256: package.sha256.to_owned(),
            size: package.size,
            label: package.name.to_owned(),
        }
    }

    /// A path's addresses on all mirrors.
    fn urls(&self, path: &str) -> Vec<String> {
        let mirrors = self.mirrors.iter();
        mirrors.map(|mirror| format!("{mirror}/{path}")).collect()
    }

    fn index(&self, component: &str, arch: &str, origin: usize) -> Result<PackagesIndex> {
        let plain = format!("{component}/binary-{arch}/Packages");
        let limit = match self.release.indices.get(&plain) {
            Some((size, _)) => (*size).min(PACKAGES_LIMIT),
            None => PACKAGES_LIMIT,
        };
        let base = format!("dists/{}", self.directory);
        // A list as .gz is a third larger and decoded in half the time.
        let (first, second) = match self.is_near {
            true => ((".gz", Compression::Gzip), (".xz", Compression::Xz)),
            false => ((".xz", Compression::Xz), (".gz", Compression::Gzip)),
        };
        for (extension, compression) in [first, second, ("", Compression::None)] {
            let path = format!("{plain}{extension}");
            let Some((size, sha256)) = self.release.indices.get(&path) else {
                continue;
            };
            let by_hash = format!("{base}/{component}/binary-{arch}/by-hash/SHA256/{sha256}");
            let mut urls = Vec::new();
            for mirror in &self.mirrors {
                if self.release.acquire_by_hash {
                    // Not all mirrors have these, so that the plain address follows.
                    urls.push(format!("{mirror}/{by_hash}"));
                }
                urls.push(format!("{mirror}/{base}/{path}"));
            }
            let first = self.mirrors.first().map_or("", String::as_str);
            let url = format!("{first}/{base}/{path}");
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
                origin,
            });
        }
        Err(Error::Release {
            what: self.urls(&format!("{base}/InRelease")).swap_remove(0),
            reason: format!("it lists no {plain} as .xz, .gz or uncompressed"),
            hint: None,
        })
    }
}

/// Whether a mirror is so near that what it sends costs less time than decoding it: on this machine
/// or in its network. At 10 MB/s the larger list costs as much as it saves.
fn is_near(bytes: usize, took: Duration) -> bool {
    bytes as f64 / took.as_secs_f64().max(1e-6) > 10e6
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
    origin: usize,
}

fn read_lists(host: &dyn Host, lists: Vec<PackagesIndex>) -> Result<Vec<PackagesText>> {
    let downloads: Vec<Download> = lists.iter().map(|index| index.download.clone()).collect();
    let paths = fetch(host, &downloads)?;
    lists
        .into_iter()
        .zip(paths)
        .map(|(index, path)| {
            let bytes = std::fs::read(&path).map_err(|source| Error::Read {
                path: path.display().to_string(),
                source,
            })?;
            let text = index
                .compression
                .reader(&bytes, index.limit)
                .and_then(excerpt::read)
                .map_err(|error| Error::malformed(&index.url, error.to_string()))?;
            let text = String::from_utf8(text)
                .map_err(|_| Error::malformed(&index.url, "it is not UTF-8"))?;
            Ok(PackagesText {
                what: index.url,
                origin: index.origin,
                text,
            })
        })
        .collect()
}

/// The mirror does not answer, or not with that file.
fn is_unanswered(error: &Error) -> bool {
    matches!(error, Error::Host(inner) if inner.kind() == ErrorKind::Fetch)
}

/// No other mirror could help.
fn is_final(error: &Error) -> bool {
    let kinds = [ErrorKind::Cancelled, ErrorKind::BadOption];
    matches!(error, Error::Host(inner) if kinds.contains(&inner.kind()))
}

/// A mirror that has no such suite answers 404: say what that means.
fn unknown_suite(error: Error, suite: &str, mirror: &str) -> Error {
    match error {
        Error::Host(inner) if inner.kind() == ErrorKind::Fetch => {
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
