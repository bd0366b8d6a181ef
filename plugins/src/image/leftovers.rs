//! What killed builds and interrupted downloads left in the cache. The next build removes the one
//! and goes on with the other; until then it takes space.

use std::{
    fs::{self, File, Metadata},
    path::{Path, PathBuf},
};

use super::ImageStore;
use crate::PluginError;

/// Something that nobody works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The file or directory.
    pub path: PathBuf,
    /// How much is in it.
    pub bytes: u64,
}

impl ImageStore {
    /// Looks for them, and changes nothing.
    ///
    /// # Errors
    /// When a directory of the cache exists but cannot be read.
    pub fn leftovers(&self) -> Result<Vec<Leftover>, PluginError> {
        let mut found = Vec::new();
        for path in entries(&self.staging)? {
            found.extend(unless_locked(path));
        }
        for template in entries(&self.images)? {
            for path in entries(&template)? {
                let name = path.to_string_lossy();
                let Some(stem) = name.strip_suffix(".tar.zst") else {
                    continue;
                };
                let lock = PathBuf::from(format!("{stem}.lock"));
                // A builder puts the archive in place first, under its lock.
                if !Path::new(&format!("{stem}.json")).exists() && !is_locked(&lock) {
                    found.extend(measured(path.clone()));
                }
            }
        }
        for path in entries(&self.parts)? {
            found.extend(unless_locked(path));
        }
        Ok(found)
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, PluginError> {
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(PluginError::io("read the directory", directory)(error)),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn unless_locked(path: PathBuf) -> Option<Leftover> {
    (!is_locked(&path)).then(|| measured(path)).flatten()
}

/// What cannot be opened may be in use.
fn is_locked(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

fn measured(path: PathBuf) -> Option<Leftover> {
    let metadata = path.symlink_metadata().ok()?;
    let bytes = size(&path, &metadata);
    Some(Leftover { path, bytes })
}

fn size(path: &Path, metadata: &Metadata) -> u64 {
    if !metadata.is_dir() {
        return metadata.len();
    }
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    below
        .map(|entry| {
            entry
                .metadata()
                .map_or(0, |metadata| size(&entry.path(), &metadata))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_is_in_use_and_the_rest_is_left_over() {
        let cache = tempfile::tempdir().unwrap();
        let store = ImageStore::new(cache.path());
        assert_eq!(store.leftovers().unwrap(), []);
        let make = |path: &str, bytes: usize| {
            let path = cache.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, vec![0; bytes]).unwrap();
            path
        };
        make("staging/v1/0001/rootfs/file", 10);
        make("staging/v1/0002/rootfs/file", 20);
        let used = File::open(cache.path().join("staging/v1/0002")).unwrap();
        used.lock().unwrap();
        let orphan = make("images/v1/debian/a.tar.zst", 30);
        make("images/v1/debian/b.tar.zst", 40);
        make("images/v1/debian/b.json", 1);
        make("images/v1/debian/c.tar.zst", 50);
        let lock = make("images/v1/debian/c.lock", 0);
        let building = File::open(lock).unwrap();
        building.lock().unwrap();
        let part = make("downloads/v1/parts/x", 60);
        let found: Vec<(PathBuf, u64)> = store
            .leftovers()
            .unwrap()
            .into_iter()
            .map(|left| (left.path, left.bytes))
            .collect();
        assert_eq!(
            found,
            [
                (cache.path().join("staging/v1/0001"), 10),
                (orphan, 30),
                (part, 60)
            ]
        );
    }
}
