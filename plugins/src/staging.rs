//! Directories for work in progress.
//!
//! A staging directory is locked (flock(2) on the directory itself) as long as its owner lives.
//! Whatever is found unlocked belongs to a process that was killed, and the next one to stage
//! something removes it: so a crash at any moment leaves nothing for good.

use std::{
    fs::{DirEntry, File, TryLockError},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
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
        Self::create_as(parent, "")
    }

    /// Makes a fresh, hidden directory (mode 0700) beside `target`, whose directory exists.
    pub(crate) fn beside(target: &Path) -> Result<Self, PluginError> {
        Self::create_as(directory_of(target), &prefix_beside(target))
    }

    fn create_as(parent: &Path, prefix: &str) -> Result<Self, PluginError> {
        loop {
            let path = parent.join(format!("{prefix}{:016x}", rand::random::<u64>()));
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
    sweep_those(parent, |_| true)
}

/// Removes what [`Staging::beside`] made for this target when its owner is gone. Other people may
/// write there, so that only this user's own directories of exactly such a name count.
pub(crate) fn sweep_beside(target: &Path) -> Result<(), PluginError> {
    let prefix = prefix_beside(target);
    sweep_those(directory_of(target), |entry| {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        random.is_some_and(|random| {
            random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit())
        }) && entry.metadata().is_ok_and(|metadata| {
            metadata.is_dir() && metadata.uid() == nix::unistd::geteuid().as_raw()
        })
    })
}

fn sweep_those(parent: &Path, ours: impl Fn(&DirEntry) -> bool) -> Result<(), PluginError> {
    let entries = match parent.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PluginError::io("read the directory", parent)(error)),
    };
    let mut result = Ok(());
    for entry in entries.flatten().filter(ours) {
        let path = entry.path();
        let open = File::options()
            .read(true)
            .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits())
            .open(&path);
        let Ok(directory) = open else {
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

fn directory_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn prefix_beside(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    // A file's name has 255 bytes at most, and the rest of this one needs its part.
    let short: String = name.chars().take(50).collect();
    format!(".{short}.sampan-")
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

    #[test]
    fn beside_a_target_only_its_own_leftovers_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("tree");
        let in_use = Staging::beside(&target).unwrap();
        let kept = [
            ".tree.sampan-notes",
            ".other.sampan-0123456789abcdef",
            "0123456789abcdef",
        ];
        for name in kept.iter().chain(&[".tree.sampan-0123456789abcdef"]) {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        sweep_beside(&target).unwrap();
        assert!(in_use.path().exists());
        assert!(kept.iter().all(|name| parent.path().join(name).exists()));
        assert_eq!(parent.path().read_dir().unwrap().count(), 4);
    }
}
