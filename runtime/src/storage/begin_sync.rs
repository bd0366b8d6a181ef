//! The contents of small trees on their way to disk, before one sync that takes the rest along.
//!
//! A sync of one file writes the file system's whole journal (ext4, xfs), and with it the names and
//! sizes of all files whose contents are there. So those are written here, all at once, and last when
//! the file that is synced next does: after one wait for the journal instead of one for each.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::dir::{Dir, Type};

use crate::error::{Result, Tried};
use crate::sys::file::{open_at, write_contents};

/// Of what a template adds to a container there is not more. What is larger is synced as a whole.
const MOST_FILES: usize = 100;
const DEEPEST: usize = 64;

/// Writes the contents of all files below `directory`, whose tree somebody else filled.
pub(super) fn begin_sync(directory: &Path) -> Result<()> {
    let what = || format!("sync {}", directory.display());
    let root = OwnedFd::from(File::open(directory).tried(what)?);
    let mut files = Vec::new();
    let copy = root.try_clone().tried(what)?;
    if !begin(copy, 0, &mut files).tried(what)? {
        return nix::unistd::syncfs(&root).tried(what);
    }
    files
        .iter()
        .try_for_each(|file| write_contents(file.as_fd(), true))
        .tried(what)
}

/// `false` when there is too much.
fn begin(directory: OwnedFd, depth: usize, files: &mut Vec<OwnedFd>) -> std::io::Result<bool> {
    let mut dir = Dir::from_fd(directory)?;
    let mut found = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push((name.to_owned(), entry.file_type()));
        }
        if found.len() + files.len() > MOST_FILES {
            return Ok(false);
        }
    }
    let at = dir.as_fd();
    for (name, kind) in found {
        let name = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
        match kind {
            Some(Type::Directory) => {
                let child = open_at(at, name, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
                if depth == DEEPEST || !begin(child, depth + 1, files)? {
                    return Ok(false);
                }
            }
            Some(Type::File) => {
                let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
                let file = open_at(at, name, flags, 0)?;
                write_contents(file.as_fd(), false)?;
                files.push(file);
            }
            // A link's target lies in its inode, and nothing else has contents.
            Some(_) => {}
            None => return Ok(false),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_of_any_shape_is_written_and_no_link_of_it_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "contents").unwrap();
        // Who followed it would wait for a writer.
        nix::unistd::mkfifo(&scratch.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("../fifo", tree.join("link")).unwrap();
        let root = || OwnedFd::from(File::open(&tree).unwrap());
        let mut files = Vec::new();
        assert!(begin(root(), 0, &mut files).unwrap());
        assert_eq!(files.len(), 1);
        begin_sync(&tree).unwrap();
        for number in 0..MOST_FILES {
            fs::write(tree.join(format!("{number}")), "").unwrap();
        }
        assert!(!begin(root(), 0, &mut Vec::new()).unwrap());
        begin_sync(&tree).unwrap();
    }
}
