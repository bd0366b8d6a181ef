//! `RUN/.events`: the journal, one JSON object per line.
//!
//! Its first line is its number. When it has grown enough it becomes `.events.1` and a new one with
//! the next number takes its place, in one rename and under the lock that writers take: nobody
//! writes to what has been replaced, so a reader that reads it to its end has read all of it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{Change, Event};
use crate::error::{Result, Tried};

const FILE: &str = ".events";
const OLD: &str = ".events.1";
/// A journal is replaced when it is longer; so there are at most about twice as many bytes.
const SIZE: u64 = 1 << 20;
/// A writer holds the lock for microseconds. One that was stopped meanwhile must not hold up a
/// monitor: better an event that may come out of order than a container that nobody looks after.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// The first line.
#[derive(Serialize, Deserialize)]
struct Heading {
    journal: u64,
}

/// The journal of a run directory.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    pub(super) run: PathBuf,
    size: u64,
}

/// A journal's file, read up to somewhere.
pub(super) struct Volume {
    pub(super) number: u64,
    pub(super) file: File,
}

impl Journal {
    pub(crate) fn new(run: &Path) -> Journal {
        Journal {
            run: run.to_path_buf(),
            size: SIZE,
        }
    }

    #[cfg(test)]
    pub(super) fn of_size(run: &Path, size: u64) -> Journal {
        Journal {
            run: run.to_path_buf(),
            size,
        }
    }

    /// Appends an event that happens now.
    pub(crate) fn append(&self, container: &str, change: Change) -> Result<()> {
        let event = Event {
            time: now(),
            container: container.to_owned(),
            change,
        };
        let what = || format!("write to the journal {}", self.path().display());
        let mut line = serde_json::to_vec(&event)
            .map_err(io::Error::from)
            .tried(what)?;
        line.push(b'\n');
        self.append_line(&line).tried(what)
    }

    fn append_line(&self, line: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            let file = self.open_to_append()?;
            let mut file = match lock(file, deadline)? {
                Ok(locked) => locked,
                // Whoever holds it does not move.
                Err(mut unlocked) => return unlocked.write_all(line),
            };
            let ours = file.metadata()?;
            if fs::metadata(self.path())?.ino() != ours.ino() {
                // Replaced before we had the lock.
                continue;
            }
            if let Err(error) = file.write_all(line) {
                // Half a line would spoil the next one.
                let _ = file.set_len(ours.len());
                return Err(error);
            }
            if ours.len() + line.len() as u64 > self.size {
                // A journal that cannot be replaced grows on; the next writer tries again.
                let _ = self.replace(&mut file);
            }
            return Ok(());
        }
    }

    /// Opens the present journal at its end.
    pub(super) fn open_at_end(&self) -> Result<Volume> {
        let what = || format!("read the journal {}", self.path().display());
        drop(self.open_to_append().tried(what)?);
        let mut volume = self.open(FILE).tried(what)?;
        volume.file.seek(io::SeekFrom::End(0)).tried(what)?;
        Ok(volume)
    }

    /// Opens what comes after a volume that has been replaced, and whether something between them
    /// is lost. `None`: it has not been replaced.
    pub(super) fn after(&self, volume: &Volume) -> io::Result<Option<(Volume, bool)>> {
        if fs::metadata(self.path())?.ino() == volume.file.metadata()?.ino() {
            return Ok(None);
        }
        let present = self.open(FILE)?;
        if present.number == volume.number + 1 {
            return Ok(Some((present, false)));
        }
        match self.open(OLD) {
            Ok(old) if old.number == volume.number + 1 => Ok(Some((old, false))),
            _ => Ok(Some((present, true))),
        }
    }

    fn path(&self) -> PathBuf {
        self.run.join(FILE)
    }

    /// Opens a volume behind its first line.
    fn open(&self, name: &str) -> io::Result<Volume> {
        let mut file = File::open(self.run.join(name))?;
        let number = heading(&mut file)?;
        Ok(Volume { number, file })
    }

    fn open_to_append(&self) -> io::Result<File> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.run)?;
        loop {
            match OpenOptions::new().read(true).append(true).open(self.path()) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
            let first = self.prepare(1)?;
            let linked = fs::hard_link(&first, self.path());
            let _ = fs::remove_file(&first);
            match linked {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
    }

    /// Puts a new journal in the place of the one that is locked here.
    fn replace(&self, file: &mut File) -> io::Result<()> {
        file.seek(io::SeekFrom::Start(0))?;
        let next = self.prepare(heading(file)? + 1)?;
        let aside = next.with_extension("old");
        let replaced = fs::hard_link(self.path(), &aside)
            .and_then(|()| fs::rename(&aside, self.run.join(OLD)))
            .and_then(|()| fs::rename(&next, self.path()));
        if replaced.is_err() {
            let _ = fs::remove_file(&aside);
            let _ = fs::remove_file(&next);
        }
        replaced
    }

    /// A new journal under another name.
    fn prepare(&self, number: u64) -> io::Result<PathBuf> {
        let path = self
            .run
            .join(format!("{FILE}.new-{:08x}", rand::random::<u32>()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let mut line = serde_json::to_vec(&Heading { journal: number })?;
        line.push(b'\n');
        file.write_all(&line)?;
        Ok(path)
    }
}

fn heading(file: &mut File) -> io::Result<u64> {
    let mut line = Vec::new();
    let mut byte = [0u8];
    while line.len() < 64 && file.read(&mut byte)? == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    Ok(serde_json::from_slice::<Heading>(&line)?.journal)
}

/// The file back as it is if somebody holds the lock for too long.
fn lock(mut file: File, deadline: Instant) -> io::Result<Result<Flock<File>, File>> {
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(Ok(locked)),
            Err((back, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = back,
            Err((back, Errno::EWOULDBLOCK)) => return Ok(Err(back)),
            Err((_, e)) => return Err(e.into()),
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn now() -> f64 {
    // A clock before 1970 is no reason to fail. Milliseconds are enough.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_millis() as f64 / 1000.0)
}
