//! A directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::copy::copy_tree;
use super::{Backend, Place, RootPath, overlay};
use crate::error::{Error, Result, Tried};
use crate::sys::mount;

pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(super) fn new(path: &Path) -> Directory {
        Directory {
            path: path.to_owned(),
        }
    }
}

pub(super) fn make(place: &Place) -> Result<RootPath> {
    let path = place.path("rootfs");
    make_directory(&path, 0o755)?;
    Ok(RootPath::Dir(path))
}

impl Backend for Directory {
    fn mount(&self, user: Option<BorrowedFd<'_>>, attributes: u64) -> Result<OwnedFd> {
        // Ids can be shifted for one mount, not for what others mounted below.
        let below = user.is_none();
        let shown = self.path.display();
        let tree = mount::open_tree(&self.path, below)
            .tried(|| format!("open the root file system {shown}"))?;
        finish(tree, user, attributes, &self.path)
    }

    fn copy(&self, place: &Place) -> Result<RootPath> {
        let made = make(place)?;
        copy_tree(&self.path, made.own())?;
        Ok(made)
    }

    fn share(&self, place: &Place) -> Result<RootPath> {
        overlay::make(place, vec![self.path.clone()])
    }

    fn check(&self) -> Result<()> {
        check_directory(&self.path)
    }
}

/// Fails where there is no directory.
pub(super) fn check_directory(path: &Path) -> Result<()> {
    fs::metadata(path)
        .and_then(|metadata| {
            if metadata.is_dir() {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(libc::ENOTDIR))
            }
        })
        .tried(|| format!("open the root file system {}", path.display()))
}

pub(super) fn make_directory(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .mode(mode)
        .create(path)
        .tried(|| format!("create {}", path.display()))
}

/// Gives a detached mount its flags and the ids of a user namespace.
pub(super) fn finish(
    tree: OwnedFd,
    user: Option<BorrowedFd<'_>>,
    attributes: u64,
    path: &Path,
) -> Result<OwnedFd> {
    let shown = path.display();
    if attributes != 0 {
        mount::set_attributes(tree.as_fd(), attributes, 0)
            .tried(|| format!("set the mount flags of {shown}"))?;
    }
    if let Some(user) = user {
        mount::map_ids(tree.as_fd(), user, false).map_err(|cause| {
            let unsupported = matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS));
            let error = Error::os(format!("could not map the user ids of {shown}"), cause);
            if unsupported {
                error.with_hint(
                    "its file system does not support idmapped mounts on this kernel: put the directory on ext4, xfs or btrfs",
                )
            } else {
                error
            }
        })?;
    }
    Ok(tree)
}
