//! Whether a library may be loaded: only root, or the person who runs Sampan, may have been able
//! to change it.
//!
//! Checked are the file and every directory on the way to it, each as it really is (links
//! resolved). Under sudo the person who typed it counts too: sudo gave them root already. Whoever can write one of those directories can put another file in the place of the
//! one that was checked. A sticky directory such as /tmp is no exception for the last directory:
//! another person could have made the file there under that name first.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The resolved path of a library that is safe to load, or what is wrong in words.
pub(crate) fn check(library: &Path) -> Result<PathBuf, String> {
    let resolved = library
        .canonicalize()
        .map_err(|error| format!("it cannot be found: {error}"))?;
    let caller = nix::unistd::geteuid().as_raw();
    let behind_sudo = (caller == 0)
        .then(|| std::env::var("SUDO_UID").ok()?.parse::<u32>().ok())
        .flatten();
    for (depth, path) in resolved.ancestors().enumerate() {
        let metadata = path
            .metadata()
            .map_err(|error| format!("{} cannot be looked at: {error}", path.display()))?;
        if depth == 0 && !metadata.is_file() {
            return Err("it is not a file".to_owned());
        }
        let owner = metadata.uid();
        if owner != 0 && owner != caller && Some(owner) != behind_sudo {
            return Err(format!(
                "{} belongs to user id {owner}, neither to root nor to you",
                path.display()
            ));
        }
        let sticky = metadata.mode() & 0o1000 != 0;
        if metadata.mode() & 0o022 != 0 && !(sticky && depth > 1) {
            return Err(format!(
                "{} can be written by others (mode {:04o})",
                path.display(),
                metadata.mode() & 0o7777
            ));
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn library(mode: u32, directory_mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("templates");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("x.so");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(directory_mode)).unwrap();
        (dir, file)
    }

    #[test]
    fn a_file_that_only_we_can_write_is_accepted() {
        let (_dir, file) = library(0o644, 0o755);
        assert!(check(&file).is_ok());
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        for mode in [0o666, 0o664] {
            let (_dir, file) = library(mode, 0o755);
            assert!(check(&file).unwrap_err().contains("written by others"));
        }
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused_even_when_sticky() {
        for mode in [0o777, 0o1777, 0o775] {
            let (_dir, file) = library(0o644, mode);
            assert!(check(&file).unwrap_err().contains("written by others"));
        }
    }

    #[test]
    fn a_link_is_judged_by_what_it_points_to() {
        let (dir, file) = library(0o666, 0o755);
        let link = dir.path().join("link.so");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(check(&link).is_err());
    }
}
