//! `RUN/.networks/NAME/service`: where a network's service has its files. They are there as long as
//! it runs.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::containers::lock_directory;
use crate::error::{Result, Tried};
use crate::run_directory::RunDirectory;

pub(super) struct Place {
    path: PathBuf,
    run: RunDirectory,
}

impl Place {
    /// That of a network.
    pub(super) fn of(directory: &Path) -> Place {
        let path = directory.join("service");
        Place {
            run: RunDirectory::at(path.clone()),
            path,
        }
    }

    /// Its lock, held as long as the supervisor lives, and its socket.
    pub(super) fn run(&self) -> &RunDirectory {
        &self.run
    }

    pub(super) fn table(&self) -> PathBuf {
        self.path.join("table")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Makes the directory, and waits until nobody else starts, stops or changes what runs there.
    pub(super) fn turn(&self) -> Result<Flock<File>> {
        loop {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.path)
                .tried(|| format!("create {}", self.path.display()))?;
            if let Some(turn) = self.turn_if_there()? {
                return Ok(turn);
            }
        }
    }

    /// The same, unless there is nothing.
    pub(super) fn turn_if_there(&self) -> Result<Option<Flock<File>>> {
        loop {
            if !self.run.exists() {
                return Ok(None);
            }
            let lock = match lock_directory(&self.path, FlockArg::LockExclusive) {
                Ok(lock) => lock,
                Err(_) if !self.run.exists() => return Ok(None),
                Err(error) => return Err(error),
            };
            // Whoever was before us may have removed it.
            let locked = lock.metadata().tried(|| "look at a lock".to_owned())?;
            if fs::metadata(&self.path).is_ok_and(|now| now.ino() == locked.ino()) {
                return Ok(Some(lock));
            }
        }
    }
}
