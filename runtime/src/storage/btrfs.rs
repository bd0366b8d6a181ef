//! A subvolume of btrfs: copies are snapshots, sizes are limited by quota groups.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{BTRFS_SUPER_MAGIC, statfs};

use super::directory::{Directory, check_directory};
use super::{Backend, Place, RootPath};
use crate::error::{Error, Result, Tried};
use crate::sys::btrfs;

pub(super) struct Subvolume {
    path: PathBuf,
}

impl Subvolume {
    pub(super) fn new(path: &Path) -> Subvolume {
        Subvolume {
            path: path.to_owned(),
        }
    }
}

/// Whether a path is on btrfs; one that does not exist yet is where its nearest parent is.
pub(super) fn is_btrfs(path: &Path) -> bool {
    path.ancestors()
        .find_map(|path| statfs(path).ok())
        .is_some_and(|info| info.filesystem_type() == BTRFS_SUPER_MAGIC)
}

/// Whether a path is the root of a subvolume.
pub(super) fn is_subvolume(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.is_dir() && metadata.ino() == btrfs::SUBVOLUME_INODE)
        && is_btrfs(path)
}

pub(super) fn make(place: &Place, size: Option<u64>) -> Result<RootPath> {
    let path = place.path("rootfs");
    let (parent, name) = split(&path)?;
    let what = || format!("make the subvolume {}", path.display());
    btrfs::create_subvolume(parent.as_fd(), name).tried(what)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).tried(what)?;
    if let Some(size) = size {
        Subvolume::new(&path).set_size_limit(size)?;
    }
    Ok(RootPath::Dir(path))
}

/// Removes a subvolume; `false` where subvolumes inside stand against it.
pub(super) fn destroy(path: &Path) -> Result<bool> {
    let (parent, name) = split(path)?;
    match btrfs::destroy_subvolume(parent.as_fd(), name) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ENOTEMPTY) => Ok(false),
        Err(e) => Err(e).tried(|| format!("remove the subvolume {}", path.display())),
    }
}

fn split(path: &Path) -> Result<(File, &OsStr)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::user(format!(
            "{} cannot be a subvolume",
            path.display()
        )));
    };
    let parent = File::open(parent).tried(|| format!("open {}", parent.display()))?;
    Ok((parent, name))
}

impl Backend for Subvolume {
    fn mount(&self, user: Option<BorrowedFd<'_>>, attributes: u64) -> Result<OwnedFd> {
        Directory::new(&self.path).mount(user, attributes)
    }

    fn copy(&self, place: &Place) -> Result<RootPath> {
        self.share(place)
    }

    fn share(&self, place: &Place) -> Result<RootPath> {
        let path = place.path("rootfs");
        let (parent, name) = split(&path)?;
        let what = || {
            format!(
                "make a snapshot of {} at {}",
                self.path.display(),
                path.display()
            )
        };
        let source = File::open(&self.path).tried(what)?;
        btrfs::snapshot(source.as_fd(), parent.as_fd(), name).tried(what)?;
        Ok(RootPath::Dir(path))
    }

    fn check(&self) -> Result<()> {
        check_directory(&self.path)
    }

    fn set_size_limit(&self, bytes: u64) -> Result<()> {
        let what = || format!("limit the size of {}", self.path.display());
        let subvolume = File::open(&self.path).tried(what)?;
        btrfs::limit_subvolume(subvolume.as_fd(), bytes).tried(what)
    }
}
