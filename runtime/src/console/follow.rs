//! Reading a log along while somebody writes and rotates it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::error::{Error, Result, Tried};

/// A log from its beginning on, across its rotation into `PATH.1`, a new file of its name, and its
/// truncation.
pub struct LogReader {
    path: PathBuf,
    inotify: Option<Inotify>,
    file: Option<File>,
}

impl LogReader {
    /// Nothing is read yet; the file need not exist. Only one that follows can wait for more.
    pub fn open(path: &Path, follow: bool) -> Result<LogReader> {
        let what = || format!("watch {}", path.display());
        let inotify = if follow {
            let directory = path
                .parent()
                .ok_or_else(|| Error::user(format!("{} is not a file", path.display())))?;
            // Of a container that was never started.
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory)
                .tried(what)?;
            // Before anything is read: what happens after that is noticed.
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC).tried(what)?;
            let events = AddWatchFlags::IN_MODIFY
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVED_FROM
                | AddWatchFlags::IN_MOVED_TO;
            inotify.add_watch(directory, events).tried(what)?;
            Some(inotify)
        } else {
            None
        };
        Ok(LogReader {
            path: path.to_path_buf(),
            inotify,
            file: open(path)?,
        })
    }

    /// What has been written since the last call.
    pub fn read(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            self.read_file(&mut bytes)?;
            let now = inode(&self.path)?;
            let read = self.file.as_ref().and_then(|file| file.metadata().ok());
            match (read.map(|read| read.ino()), now) {
                (Some(read), Some(now)) if read != now => {
                    // It was moved aside, after a last line perhaps.
                    self.read_file(&mut bytes)?;
                    let old = self.old();
                    let next = match inode(&old)? {
                        // One that came and went meanwhile.
                        Some(between) if between != read && between != now => &old,
                        _ => &self.path,
                    };
                    self.file = open(next)?;
                }
                (None, Some(_)) => self.file = open(&self.path)?,
                _ => return Ok(bytes),
            }
        }
    }

    /// Waits until there may be more.
    pub fn wait(&mut self) -> Result<()> {
        let what = || format!("watch {}", self.path.display());
        match &self.inotify {
            Some(inotify) => inotify.read_events().map(drop).tried(what),
            None => Ok(()),
        }
    }

    fn read_file(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let what = || format!("read {}", self.path.display());
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if file.stream_position().tried(what)? > file.metadata().tried(what)?.len() {
            file.seek(SeekFrom::Start(0)).tried(what)?;
        }
        file.read_to_end(bytes).map(drop).tried(what)
    }

    fn old(&self) -> PathBuf {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        PathBuf::from(old)
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).tried(|| format!("read {}", path.display())),
    }
}

fn inode(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).tried(|| format!("look at {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_when_a_log_is_rotated_twice_between_two_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/web.console");
        let mut log = LogReader::open(&path, true).unwrap();
        assert_eq!(log.read().unwrap(), b"");
        fs::write(&path, "one\n").unwrap();
        log.wait().unwrap();
        assert_eq!(log.read().unwrap(), b"one\n");
        for text in ["two\n", "three\n"] {
            fs::rename(&path, log.old()).unwrap();
            fs::write(&path, text).unwrap();
        }
        assert_eq!(log.read().unwrap(), b"two\nthree\n");
        assert_eq!(log.read().unwrap(), b"");
    }

    #[test]
    fn a_truncated_log_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "long text\n").unwrap();
        let mut log = LogReader::open(&path, true).unwrap();
        log.read().unwrap();
        fs::write(&path, "new\n").unwrap();
        assert_eq!(log.read().unwrap(), b"new\n");
    }
}
