//! `lxc.rootfs.path`: `[KIND:]PATH`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::btrfs::{Subvolume, is_subvolume};
use super::directory::Directory;
use super::loop_image::LoopImage;
use super::overlay::Overlay;
use super::{Backend, StorageKind};
use crate::error::Result;

/// Where a root file system is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootPath {
    /// `dir:PATH`, or just a path: a directory or a subvolume of btrfs.
    Dir(PathBuf),
    /// `overlay:LOWER[:LOWER…]:UPPER`, the topmost lower one first.
    Overlay {
        /// Read-only.
        lower: Vec<PathBuf>,
        /// What differs; beside it is the working directory of overlayfs.
        upper: PathBuf,
    },
    /// `btrfs:PATH`, a subvolume, as LXC writes it.
    Btrfs(PathBuf),
    /// `loop:PATH`, a file that holds a file system.
    Loop(PathBuf),
}

impl RootPath {
    /// Reads a value of `lxc.rootfs.path`; says what is wrong with it.
    pub fn parse(value: &str) -> Result<RootPath, &'static str> {
        let absolute = |path: &str| {
            if Path::new(path).is_absolute() {
                Ok(PathBuf::from(path))
            } else {
                Err("is not an absolute path")
            }
        };
        match value.split_once(':') {
            Some(("dir", path)) => Ok(RootPath::Dir(absolute(path)?)),
            Some(("btrfs", path)) => Ok(RootPath::Btrfs(absolute(path)?)),
            Some(("loop", path)) => Ok(RootPath::Loop(absolute(path)?)),
            // The second is what LXC wrote before overlayfs was part of the kernel.
            Some(("overlay" | "overlayfs", paths)) => {
                let mut paths = paths
                    .split(':')
                    .map(absolute)
                    .collect::<Result<Vec<_>, _>>()?;
                match (paths.pop(), paths.is_empty()) {
                    (Some(upper), false) => Ok(RootPath::Overlay {
                        lower: paths,
                        upper,
                    }),
                    _ => Err("is not overlay:LOWER:UPPER"),
                }
            }
            Some((kind, _)) if !kind.contains('/') => {
                Err("has a kind of storage that is not supported; dir, overlay, btrfs and loop are")
            }
            _ => Ok(RootPath::Dir(absolute(value)?)),
        }
    }

    /// The value of `lxc.rootfs.path`.
    pub fn value(&self) -> String {
        let paths: Vec<String> = self
            .paths()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        // A subvolume is a directory to LXC too, which shifts ids for `dir` only.
        let kind = match self {
            RootPath::Dir(_) => "dir",
            RootPath::Overlay { .. } => "overlay",
            RootPath::Btrfs(_) => "btrfs",
            RootPath::Loop(_) => "loop",
        };
        format!("{kind}:{}", paths.join(":"))
    }

    /// Its kind.
    pub fn kind(&self) -> StorageKind {
        match self {
            RootPath::Dir(path) if is_subvolume(path) => StorageKind::Btrfs,
            RootPath::Dir(_) => StorageKind::Dir,
            RootPath::Overlay { .. } => StorageKind::Overlay,
            RootPath::Btrfs(_) => StorageKind::Btrfs,
            RootPath::Loop(_) => StorageKind::Loop,
        }
    }

    /// The path of what is the container's own.
    pub fn own(&self) -> &Path {
        match self {
            RootPath::Dir(path) | RootPath::Btrfs(path) | RootPath::Loop(path) => path,
            RootPath::Overlay { upper, .. } => upper,
        }
    }

    /// What it shares with others.
    pub fn lower(&self) -> &[PathBuf] {
        match self {
            RootPath::Overlay { lower, .. } => lower,
            _ => &[],
        }
    }

    /// The most that it may hold, where its storage says so itself.
    pub fn size_limit(&self) -> Option<u64> {
        self.backend().size_limit()
    }

    /// The files as a mount that is attached nowhere, ids as on disk. Its root is reached by the
    /// descriptor (`/proc/self/fd/N`) as long as that is open.
    pub fn open(&self) -> Result<OwnedFd> {
        self.mount(None, 0)
    }

    /// Begins to write what is small and its own; the next sync on its file system makes that last.
    pub(crate) fn begin_sync(&self) -> Result<()> {
        self.backend().begin_sync()
    }

    pub(crate) fn mount_for_work(&self, user: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
        self.backend().mount_for_work(user, attributes)
    }

    pub(crate) fn end_work(&self) -> Result<()> {
        self.backend().end_work()
    }

    /// The same in another directory: paths below `from` become paths below `to`.
    #[must_use]
    pub fn moved(&self, from: &Path, to: &Path) -> RootPath {
        let moved = |path: &PathBuf| match path.strip_prefix(from) {
            Ok(rest) => to.join(rest),
            Err(_) => path.clone(),
        };
        match self {
            RootPath::Dir(path) => RootPath::Dir(moved(path)),
            RootPath::Btrfs(path) => RootPath::Btrfs(moved(path)),
            RootPath::Loop(path) => RootPath::Loop(moved(path)),
            RootPath::Overlay { lower, upper } => RootPath::Overlay {
                lower: lower.iter().map(moved).collect(),
                upper: moved(upper),
            },
        }
    }

    /// All paths that it names.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let lower = self.lower().iter().map(PathBuf::as_path);
        lower.chain([self.own()]).collect()
    }

    pub(crate) fn mount(&self, user: Option<BorrowedFd<'_>>, attributes: u64) -> Result<OwnedFd> {
        self.backend().mount(user, attributes)
    }

    pub(crate) fn backend(&self) -> Box<dyn Backend> {
        match self {
            RootPath::Dir(path) if is_subvolume(path) => Box::new(Subvolume::new(path)),
            RootPath::Dir(path) => Box::new(Directory::new(path)),
            RootPath::Btrfs(path) => Box::new(Subvolume::new(path)),
            RootPath::Loop(path) => Box::new(LoopImage::new(path)),
            RootPath::Overlay { lower, upper } => Box::new(Overlay::new(lower, upper)),
        }
    }
}

impl From<&Path> for RootPath {
    fn from(path: &Path) -> RootPath {
        RootPath::Dir(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_read_and_written_as_lxc_does() {
        for value in [
            "dir:/a/rootfs",
            "overlay:/lower:/c/delta0",
            "overlay:/top:/bottom:/c/delta0",
            "btrfs:/a/rootfs",
            "loop:/a/rootfs.img",
        ] {
            assert_eq!(RootPath::parse(value).unwrap().value(), value);
        }
        let plain = RootPath::parse("/a/with:colon").unwrap();
        assert_eq!(plain, RootPath::Dir("/a/with:colon".into()));
    }

    #[test]
    fn what_is_not_supported_or_relative_is_refused() {
        for value in [
            "zfs:pool/a",
            "dir:rootfs",
            "overlay:/one",
            "overlay:a:/b",
            "",
            "loop:",
        ] {
            assert!(RootPath::parse(value).is_err(), "{value}");
        }
    }

    #[test]
    fn only_paths_below_the_old_directory_move() {
        let path = RootPath::parse("overlay:/s/.images/x:/s/a/delta/upper").unwrap();
        let moved = path.moved(Path::new("/s/a"), Path::new("/s/b"));
        assert_eq!(moved.value(), "overlay:/s/.images/x:/s/b/delta/upper");
    }

    proptest! {
        #[test]
        fn no_value_makes_the_reader_panic(value in "(dir|overlay|btrfs|loop|zfs)?:?[/a:.]{0,20}") {
            if let Ok(path) = RootPath::parse(&value) {
                prop_assert_eq!(RootPath::parse(&path.value()), Ok(path));
            }
        }
    }
}
