//! The cache of images on disk.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{FORMAT, ImageKey, ImageRecord};
use crate::{
    Cancellation, PluginError,
    download::hex,
    staging::{self, Staging, still_there},
};

/// How long to wait before asking again whether another process has built an image.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// The images below one directory.
#[derive(Debug, Clone)]
pub struct ImageStore {
    pub(super) images: PathBuf,
    pub(super) staging: PathBuf,
    /// Unfinished downloads.
    pub(super) parts: PathBuf,
}

/// An image that is there.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// Template and key.
    pub key: ImageKey,
    /// The archive.
    pub path: PathBuf,
    /// What is known of it.
    pub record: ImageRecord,
}

/// Held while one process builds an image, so that others wait rather than build it too.
pub(super) struct BuildLock {
    file: File,
    path: PathBuf,
}

impl Drop for BuildLock {
    fn drop(&mut self) {
        // Whoever waits for it notices that the name is gone and locks anew.
        if still_there(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl ImageStore {
    /// The images below `cache`, the directory of all caches. Nothing is made.
    pub fn new(cache: &Path) -> Self {
        Self {
            images: cache.join("images").join(FORMAT),
            staging: cache.join("staging").join(FORMAT),
            parts: cache.join("downloads/v1/parts"),
        }
    }

    /// All images, sorted by template and key.
    ///
    /// # Errors
    /// When the directory exists but cannot be read.
    pub fn list(&self) -> Result<Vec<StoredImage>, PluginError> {
        let mut images = Vec::new();
        for template in names(&self.images)? {
            for file in names(&self.images.join(&template))? {
                if let Some(key) = file.strip_suffix(".json") {
                    let key = ImageKey {
                        template: template.clone(),
                        key: key.to_owned(),
                    };
                    images.extend(self.get(&key)?);
                }
            }
        }
        images.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(images)
    }

    /// The image of exactly this key, if it is there.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn get(&self, key: &ImageKey) -> Result<Option<StoredImage>, PluginError> {
        let path = self.record_path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PluginError::io("read", path)(error)),
        };
        let record = serde_json::from_slice(&bytes).map_err(|error| PluginError::Damaged {
            key: key.to_string(),
            reason: format!("its record {} cannot be read: {error}", path.display()),
        })?;
        Ok(Some(StoredImage {
            key: key.clone(),
            path: self.archive_path(key),
            record,
        }))
    }

    /// The one image that `word` names: TEMPLATE/KEY, TEMPLATE or KEY, a key by its first
    /// characters.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub fn find(&self, word: &str) -> Result<StoredImage, PluginError> {
        let matches = |key: &ImageKey| match word.split_once('/') {
            Some((template, start)) => key.template == template && key.key.starts_with(start),
            None => key.template == word || (word.len() >= 4 && key.key.starts_with(word)),
        };
        let mut found: Vec<StoredImage> = self
            .list()?
            .into_iter()
            .filter(|image| matches(&image.key))
            .collect();
        match (found.pop(), found.as_slice()) {
            (Some(image), []) => Ok(image),
            (None, _) => Err(PluginError::NoImage(format!(
                "there is no image `{word}` in {}",
                self.images.display()
            ))),
            (Some(last), others) => {
                let mut keys: Vec<String> =
                    others.iter().map(|image| image.key.to_string()).collect();
                keys.push(last.key.to_string());
                Err(PluginError::NoImage(format!(
                    "`{word}` could be any of {}",
                    keys.join(", ")
                )))
            }
        }
    }

    /// Removes an image. Containers made from it have their own copy.
    ///
    /// # Errors
    /// When a file cannot be removed; the image is then no longer listed.
    pub fn remove(&self, image: &StoredImage) -> Result<(), PluginError> {
        // The record first: an image is there exactly when its record is.
        let key = &image.key;
        let paths = [
            self.record_path(key),
            image.path.clone(),
            self.looked_path(key),
        ];
        for path in paths {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(PluginError::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the whole archive and compares its hash with the record.
    ///
    /// # Errors
    /// [`PluginError::Damaged`] names what differs.
    pub fn verify(&self, image: &StoredImage) -> Result<(), PluginError> {
        copy_verified(image, &mut std::io::sink())
    }

    /// Writes the archive to the new file `target`, verified on the way.
    ///
    /// # Errors
    /// When `target` exists or cannot be written, or the image is damaged; no file is left then.
    pub fn export(&self, image: &StoredImage, target: &Path) -> Result<(), PluginError> {
        let mut file = File::create_new(target).map_err(PluginError::io("create", target))?;
        let exported = copy_verified(image, &mut file)
            .and_then(|()| file.sync_all().map_err(PluginError::io("write", target)));
        if exported.is_err() {
            let _ = fs::remove_file(target);
        }
        exported
    }

    /// A directory for a build, on the file system of the images so that one rename suffices.
    pub(super) fn stage(&self) -> Result<Staging, PluginError> {
        Staging::create(&self.staging)
    }

    /// Removes what killed builds left behind: their trees, and archives without a record.
    ///
    /// # Errors
    /// When something cannot be looked at or removed.
    pub fn sweep(&self) -> Result<(), PluginError> {
        staging::sweep(&self.staging)?;
        for template in names(&self.images)? {
            let directory = self.images.join(&template);
            for file in names(&directory)? {
                let path = directory.join(&file);
                let (stem, orphan) = match file.split_once('.') {
                    Some((stem, "tar.zst" | "looked" | "new")) => {
                        (stem, !directory.join(format!("{stem}.json")).exists())
                    }
                    Some((stem, "lock")) => (stem, true),
                    _ => continue,
                };
                if !orphan {
                    continue;
                }
                let key = ImageKey {
                    template: template.clone(),
                    key: stem.to_owned(),
                };
                // Under the lock, so that no builder is between its two renames.
                if let Some(_lock) = self.try_lock(&key)?
                    && !file.ends_with(".lock")
                    && !self.record_path(&key).exists()
                {
                    fs::remove_file(&path).map_err(PluginError::io("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    /// Locks a key for building; `waiting` is called once if somebody else holds it. A wish to
    /// stop ends the wait.
    pub(super) fn lock(
        &self,
        key: &ImageKey,
        cancellation: &Cancellation,
        waiting: impl FnOnce(),
    ) -> Result<BuildLock, PluginError> {
        if let Some(lock) = self.try_lock(key)? {
            return Ok(lock);
        }
        waiting();
        loop {
            cancellation.wait(LOCK_INTERVAL)?;
            if let Some(lock) = self.try_lock(key)? {
                return Ok(lock);
            }
        }
    }

    fn try_lock(&self, key: &ImageKey) -> Result<Option<BuildLock>, PluginError> {
        loop {
            let (file, path) = self.lock_file(key)?;
            match file.try_lock() {
                Ok(()) if still_there(&file, &path) => return Ok(Some(BuildLock { file, path })),
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(error)) => {
                    return Err(PluginError::io("lock", path)(error));
                }
            }
        }
    }

    fn lock_file(&self, key: &ImageKey) -> Result<(File, PathBuf), PluginError> {
        let path = self
            .images
            .join(&key.template)
            .join(format!("{}.lock", key.key));
        let directory = self.images.join(&key.template);
        fs::create_dir_all(&directory).map_err(PluginError::io("create", &directory))?;
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(PluginError::io("create", &path))?;
        Ok((file, path))
    }

    /// Puts a packed archive and its record in place: record out, archive in, record in. A crash
    /// between the steps leaves no record, that is, no image.
    pub(super) fn commit(
        &self,
        key: &ImageKey,
        staging: &Staging,
        archive: &Path,
        record: &ImageRecord,
    ) -> Result<StoredImage, PluginError> {
        let new_record = staging.path().join("record.json");
        let json = serde_json::to_vec_pretty(record).unwrap_or_default();
        File::create_new(&new_record)
            .and_then(|mut file| file.write_all(&json).and_then(|()| file.sync_all()))
            .map_err(PluginError::io("write", &new_record))?;
        let record_path = self.record_path(key);
        let archive_path = self.archive_path(key);
        match fs::remove_file(&record_path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(PluginError::io("replace", record_path)(error));
            }
            _ => {}
        }
        fs::rename(archive, &archive_path).map_err(PluginError::io("store", &archive_path))?;
        fs::rename(&new_record, &record_path).map_err(PluginError::io("store", &record_path))?;
        let directory = self.images.join(&key.template);
        File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(PluginError::io("sync", &directory))?;
        Ok(StoredImage {
            key: key.clone(),
            path: archive_path,
            record: record.clone(),
        })
    }

    pub(super) fn record_path(&self, key: &ImageKey) -> PathBuf {
        self.images
            .join(&key.template)
            .join(format!("{}.json", key.key))
    }

    fn archive_path(&self, key: &ImageKey) -> PathBuf {
        self.images
            .join(&key.template)
            .join(format!("{}.tar.zst", key.key))
    }
}

/// Copies an image's archive and fails when it is not what was stored.
pub(super) fn copy_verified(
    image: &StoredImage,
    target: &mut dyn Write,
) -> Result<(), PluginError> {
    let read = || PluginError::io("read", &image.path);
    let mut file = File::open(&image.path).map_err(read())?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 256 * 1024];
    loop {
        let got = file.read(&mut buffer).map_err(read())?;
        if got == 0 {
            break;
        }
        hasher.update(&buffer[..got]);
        target
            .write_all(&buffer[..got])
            .map_err(PluginError::io("write a copy of", &image.path))?;
    }
    let hash = hex(&hasher.finalize());
    if hash != image.record.sha256 {
        return Err(PluginError::Damaged {
            key: image.key.to_string(),
            reason: format!(
                "the SHA-256 of {} is {hash}, not {}",
                image.path.display(),
                image.record.sha256
            ),
        });
    }
    Ok(())
}

fn names(directory: &Path) -> Result<Vec<String>, PluginError> {
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PluginError::io("read the directory", directory)(error)),
    };
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}
