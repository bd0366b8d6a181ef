//! Directories for work in progress.
//!
//! A staging directory is locked (flock(2) on the directory itself) as long as its owner lives.
//! Whatever is found unlocked belongs to a process that was killed, and the next one to stage
//! something removes it: so a crash at any moment leaves nothing for good.

use std::{
    fs::{File, TryLockError},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use sampan_core::Rootfs;

use crate::PluginError;

/// A directory that is removed when dropped, or by others when its owner was killed.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    parent: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl Staging {
    /// Makes a fresh directory (mode 0700) below `parent`.
    pub(crate) fn create(parent: &Path) -> Result<Self, PluginError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(PluginError::io("create", parent))?;
        loop {
            let path = parent.join(format!("{:016x}", rand::random::<u64>()));
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(PluginError::io("create", &path))?;
            // Between the two steps a sweeping process may take it for a leftover.
            let Ok(lock) = File::open(&path) else {
                continue;
            };
            if lock.try_lock().is_ok() && still_there(&lock, &path) {
                return Ok(Self {
                    path,
                    parent: parent.to_owned(),
                    _lock: lock,
                });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next sweep.
        let _ = remove(&self.parent, &self.path);
    }
}

/// Removes every directory below `parent` whose owner is gone. One that cannot be removed does not
/// keep the others; the last such error is answered.
pub(crate) fn sweep(parent: &Path) -> Result<(), PluginError> {
    let entries = match parent.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PluginError::io("read the directory", parent)(error)),
    };
    let mut result = Ok(());
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(directory) = File::open(&path) else {
            continue;
        };
        match directory.try_lock() {
            Ok(()) => result = remove(parent, &path).and(result),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
    result
}

/// The tree may hold anything a template put there: removed without following a link.
fn remove(parent: &Path, path: &Path) -> Result<(), PluginError> {
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    Rootfs::open(parent)
        .and_then(|root| root.remove(name))
        .map_err(PluginError::rootfs(parent))
}

pub(crate) fn still_there(lock: &File, path: &Path) -> bool {
    match (lock.metadata(), path.symlink_metadata()) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_when_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::create(parent.path()).unwrap();
        std::fs::create_dir_all(staging.path().join("rootfs/etc")).unwrap();
        drop(staging);
        assert_eq!(parent.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_leftover_is_swept_and_one_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(parent.path().join("left/over")).unwrap();
        let first = Staging::create(parent.path()).unwrap();
        let second = Staging::create(parent.path()).unwrap();
        sweep(parent.path()).unwrap();
        assert!(first.path().exists() && second.path().exists());
        assert_eq!(parent.path().read_dir().unwrap().count(), 2);
    }
}
