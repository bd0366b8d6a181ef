//! The log of a console: all that was shown, up to a bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, Tried};

/// A console log is moved aside when it has grown to this; so there are at most twice as much.
const LOG_SIZE: u64 = 4 << 20;

pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<Log> {
        let what = || format!("open the console log {}", path.display());
        let file = append(path).tried(what)?;
        let size = file.metadata().tried(what)?.len();
        Ok(Log {
            path: path.to_path_buf(),
            file,
            size,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size > LOG_SIZE {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            self.file = append(&self.path)?;
            self.size = 0;
        }
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_log_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.console");
        let mut log = Log::open(&path).unwrap();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..12 {
            log.write(&block).unwrap();
        }
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&path) <= LOG_SIZE + (1 << 20));
        assert!(size(&dir.path().join("web.console.1")) <= LOG_SIZE + (1 << 20));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
