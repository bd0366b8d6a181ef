//! Files by the hash of their contents, and the unfinished ones.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sampan_core::{Download, ErrorKind, TemplateError};
use sha2::{Digest, Sha256};

use crate::{PluginError, staging::still_there};

/// How long to wait before asking again whether another process has finished a file.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

/// What the cache has of a file.
pub(super) enum Cached {
    Sound,
    Absent,
    /// It is removed already.
    Damaged {
        path: PathBuf,
        reason: String,
    },
}

impl Store {
    pub(super) fn create(directory: &Path) -> Result<Self, PluginError> {
        for name in ["sha256", "parts"] {
            let path = directory.join(name);
            fs::create_dir_all(&path).map_err(PluginError::io("create", &path))?;
        }
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn look_up(&self, download: &Download) -> Result<Cached, TemplateError> {
        let path = self.directory.join(name(&download.sha256)?);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Cached::Absent);
            }
            Err(error) => return Err(trouble("open", &path, &error)),
        };
        let hash = hash(&mut file).map_err(|error| trouble("read", &path, &error))?;
        if hash == download.sha256 {
            return Ok(Cached::Sound);
        }
        fs::remove_file(&path).map_err(|error| trouble("remove", &path, &error))?;
        Ok(Cached::Damaged {
            path,
            reason: format!("its SHA-256 is {hash}"),
        })
    }

    /// The unfinished file, locked; waits while another process writes it.
    pub(super) async fn part(&self, download: &Download) -> Result<Part, TemplateError> {
        let path = self.directory.join("parts").join(&download.sha256);
        let target = self.directory.join(name(&download.sha256)?);
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|error| trouble("create", &path, &error))?;
            match file.try_lock() {
                Ok(()) if still_there(&file, &path) => {
                    return Ok(Part { file, path, target });
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_INTERVAL).await,
                Err(TryLockError::Error(error)) => return Err(trouble("lock", &path, &error)),
            }
        }
    }
}

/// An unfinished file that only we write.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Part {
    /// How much is there already, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Throws away what is there.
    pub(super) fn restart(&mut self) -> Result<(), TemplateError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map(drop)
            .map_err(|error| trouble("empty", &self.path, &error))
    }

    /// Puts the write position behind what is there.
    pub(super) fn resume(&mut self) -> Result<(), TemplateError> {
        self.file
            .seek(SeekFrom::End(0))
            .map(drop)
            .map_err(|error| trouble("use", &self.path, &error))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), TemplateError> {
        self.file
            .write_all(bytes)
            .map_err(|error| trouble("write", &self.path, &error))
    }

    pub(super) fn copy_from(
        &mut self,
        path: &Path,
        download: &Download,
    ) -> Result<(), TemplateError> {
        self.restart()?;
        let failed = |error: &std::io::Error| unreadable(path, &error.to_string());
        let mut source = open_local(path).map_err(|error| failed(&error))?;
        let mut buffer = vec![0_u8; 256 * 1024];
        let mut left = download.size.saturating_add(1);
        while left > 0 {
            let want = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            match source
                .read(&mut buffer[..want])
                .map_err(|error| failed(&error))?
            {
                0 => break,
                got => {
                    self.write(&buffer[..got])?;
                    left -= got as u64;
                }
            }
        }
        Ok(())
    }

    /// Checks size and hash and gives the file its name. A file that does not match is removed.
    pub(super) fn finish(&mut self, download: &Download, url: &str) -> Result<(), TemplateError> {
        let mismatch = |what: &str, is: &str, should: &str| {
            TemplateError::new(
                ErrorKind::Fetch,
                format!("{url} is not what was promised: its {what} is {is}, not {should}"),
            )
            .with_hint("the mirror may be in the middle of an update, or tampered with; try again later or another -o mirror=URL")
        };
        let length = self.length();
        let hash = self
            .file
            .rewind()
            .and_then(|()| hash(&mut self.file))
            .map_err(|error| trouble("read", &self.path, &error))?;
        if length != download.size || hash != download.sha256 {
            let _ = fs::remove_file(&self.path);
            self.restart()?;
            return Err(if length == download.size {
                mismatch("SHA-256", &hash, &download.sha256)
            } else {
                mismatch("size", &length.to_string(), &download.size.to_string())
            });
        }
        let directory = self.target.parent().unwrap_or(&self.target);
        fs::create_dir_all(directory).map_err(|error| trouble("create", directory, &error))?;
        self.file
            .set_permissions(fs::Permissions::from_mode(0o644))
            .and_then(|()| fs::rename(&self.path, &self.target))
            .map_err(|error| trouble("store", &self.target, &error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.length() == 0 && still_there(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The name of a finished file below the directory.
pub(super) fn name(sha256: &str) -> Result<PathBuf, TemplateError> {
    let well_formed = sha256.len() == 64
        && sha256
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !well_formed {
        return Err(TemplateError::untrusted(format!(
            "`{}` is not a SHA-256",
            sha256.escape_default()
        )));
    }
    Ok(Path::new("sha256").join(&sha256[..2]).join(sha256))
}

/// Reads a small file of a mirror on this machine.
pub(super) fn read_local(path: &Path, limit: u64) -> Result<Vec<u8>, TemplateError> {
    let failed = |error: &std::io::Error| unreadable(path, &error.to_string());
    let file = open_local(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > limit {
        return Err(unreadable(
            path,
            &format!("it is larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Opens a file of a mirror on this machine. A fifo would be waited for, and a device may never
/// end.
fn open_local(path: &Path) -> std::io::Result<File> {
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    Ok(file)
}

fn unreadable(path: &Path, reason: &str) -> TemplateError {
    TemplateError::new(
        ErrorKind::Fetch,
        format!("cannot fetch file://{}: {reason}", path.display()),
    )
}

fn hash(file: &mut File) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            got => hasher.update(&buffer[..got]),
        }
    }
}

fn trouble(doing: &str, path: &Path, error: &std::io::Error) -> TemplateError {
    let plain = TemplateError::failed(format!(
        "cannot {doing} {} in the cache of downloads: {error}",
        path.display()
    ));
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => plain.with_hint(
            "free some space there; what was fetched whole is kept, the rest is resumed",
        ),
        _ => plain,
    }
}

/// Bytes as lower case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
