//! Removing what a container had.

use std::fs;
use std::io;
use std::path::Path;

use super::btrfs;
use crate::error::{Result, Tried};

/// How deep subvolumes of ours lie in a container's directory: `snaps/NAME/rootfs`.
const DEPTH: usize = 3;

/// Removes a file or a tree. Subvolumes go as a whole, which takes no time however large they are.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let what = || format!("remove {}", path.display());
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return fs::remove_file(path).tried(what),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).tried(what),
    }
    if btrfs::is_btrfs(path) {
        remove_subvolumes(path, DEPTH);
    }
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.tried(what),
    }
}

/// What does not go this way is removed file by file.
fn remove_subvolumes(path: &Path, depth: usize) {
    if btrfs::is_subvolume(path) {
        let _ = btrfs::destroy(path);
        return;
    }
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_subvolumes(&entry.path(), depth);
        }
    }
}
