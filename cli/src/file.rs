//! Files beside a command's main work: written whole or not at all.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use crate::failure::{Failure, Outcome};

/// Fails early where a file could not be written later.
pub fn check(path: &Path) -> Outcome {
    let parent = directory_of(path)?;
    if path.is_dir() {
        return Err(Failure::new(format!(
            "cannot write {}: it is a directory",
            path.display()
        )));
    }
    match fs::metadata(&parent) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::new(format!(
            "cannot write {}: {} is not a directory",
            path.display(),
            parent.display()
        ))),
        Err(error) => Err(Failure::new(format!(
            "cannot write {}: {}: {error}",
            path.display(),
            parent.display()
        ))),
    }
}

/// Writes a file under another name, syncs it, and renames it to `path`.
pub fn replace(path: &Path, bytes: &[u8]) -> Outcome {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = directory_of(path)?.join(format!(".{name}.sampan-{}", std::process::id()));
    let written = File::create_new(&new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, path));
    written.map_err(|error| {
        // What is not there need not be removed.
        let _ = fs::remove_file(&new);
        Failure::new(format!("cannot write {}: {error}", path.display()))
    })
}

fn directory_of(path: &Path) -> Outcome<PathBuf> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    absolute
        .parent()
        .map(Path::to_owned)
        .ok_or_else(|| Failure::new(format!("cannot write {}: it is the root", path.display())))
}
