//! The directory of one test, and whether its test still lives.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::machine;

const PLACE: &str = "/var/tmp";
const PREFIX: &str = "sampan-e2e-";
const LOCK: &str = "lock";

/// A scratch directory that belongs to whoever holds its lock, however that process ends.
/// Dropped, it is removed.
pub(crate) struct World {
    path: PathBuf,
    _lock: Flock<File>,
}

impl World {
    /// A fresh one.
    #[track_caller]
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(PLACE)
            .expect("a scratch directory");
        // Locked before it has its name: nobody sees one that lives without a lock.
        let new = directory.path().join("lock.new");
        let file = File::create_new(&new).expect("a file for its lock");
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("its lock");
        fs::rename(new, directory.path().join(LOCK)).expect("its lock's name");
        Self {
            path: directory.keep(),
            _lock: lock,
        }
    }

    /// Those whose tests were killed, taken over.
    pub(crate) fn abandoned() -> Vec<Self> {
        let entries = fs::read_dir(PLACE).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
            .filter_map(|entry| Self::take_over(entry.path()))
            .collect()
    }

    fn take_over(path: PathBuf) -> Option<Self> {
        // One without a lock belongs to somebody who knows none.
        let file = File::open(path.join(LOCK)).ok()?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
        // Another may have removed it in between.
        let here = path.join(LOCK).exists();
        here.then_some(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A mount in it may be of something that is to stay.
        if machine::mounts_below(&self.path).is_empty() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
