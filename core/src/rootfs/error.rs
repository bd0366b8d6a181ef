//! What failed inside a root file system.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// An operation on a path of a rootfs failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing} `{}` in the root file system: {}", path.display(), errno.desc())]
pub struct RootfsError {
    doing: &'static str,
    path: PathBuf,
    errno: Errno,
}

impl RootfsError {
    pub(super) fn new(doing: &'static str, path: &Path, errno: Errno) -> Self {
        Self {
            doing,
            path: path.to_owned(),
            errno,
        }
    }

    pub(super) fn at(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::new(doing, path, errno)
    }

    pub(super) fn io(doing: &'static str, path: &Path, error: &std::io::Error) -> Self {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        Self::new(doing, path, errno)
    }

    /// The kernel's reason.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// Whether the path, or a directory on the way, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.errno == Errno::ENOENT
    }
}
