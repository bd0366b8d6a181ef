//! Where the files of a container are: the backends behind one trait.
//!
//! A [`RootPath`] is what `lxc.rootfs.path` says; its [`Backend`] can mount it, copy it and remove
//! it. Nothing here is ever attached to the host's tree: a mount is a descriptor, and goes with it.
//! What a container shares with others (the lower layers of an overlay) is found by reading all
//! configs, so that no count of references can be wrong.

mod begin_sync;
mod btrfs;
mod copy;
mod dependents;
mod directory;
mod layers;
mod loop_image;
mod overlay;
mod path;
mod remove;

use std::fmt;
use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use layers::{Layers, NewLayer};
pub use path::RootPath;

pub(crate) use copy::copy_file;
pub(crate) use dependents::{Dependent, dependents, names};
pub(crate) use remove::remove_tree;

use crate::error::{Error, Result};

/// The kinds of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StorageKind {
    /// A directory.
    Dir,
    /// What differs from a shared read-only tree, in a directory.
    Overlay,
    /// A subvolume of btrfs.
    Btrfs,
    /// A file system in a file.
    Loop,
}

impl StorageKind {
    /// Its name, as it is typed and as it stands before the path in `lxc.rootfs.path`.
    pub fn name(self) -> &'static str {
        match self {
            StorageKind::Dir => "dir",
            StorageKind::Overlay => "overlay",
            StorageKind::Btrfs => "btrfs",
            StorageKind::Loop => "loop",
        }
    }

    /// The kind for a new container in `state`, where nobody chose one: btrfs where it can be, a
    /// file system in a file where the size is limited, else a directory.
    pub fn default_in(state: &Path, size: Option<u64>) -> StorageKind {
        if btrfs::is_btrfs(state) {
            StorageKind::Btrfs
        } else if size.is_some() {
            StorageKind::Loop
        } else {
            StorageKind::Dir
        }
    }
}

impl fmt::Display for StorageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StorageKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<StorageKind> {
        [
            StorageKind::Dir,
            StorageKind::Overlay,
            StorageKind::Btrfs,
            StorageKind::Loop,
        ]
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| {
            Error::user(format!("there is no storage \"{text}\""))
                .with_hint("choose dir, overlay, btrfs or loop")
        })
    }
}

/// What storage a new container gets.
#[derive(Debug, Clone)]
pub struct NewStorage {
    /// Its kind.
    pub kind: StorageKind,
    /// The most that it may hold, in bytes; btrfs and loop only.
    pub size: Option<u64>,
    /// What lies under an overlay, the topmost first.
    pub lower: Vec<PathBuf>,
}

impl NewStorage {
    /// A kind without limit and without anything below.
    pub fn of(kind: StorageKind) -> NewStorage {
        NewStorage {
            kind,
            size: None,
            lower: Vec::new(),
        }
    }

    /// Refuses what cannot be, for a container of this state directory.
    pub fn check(&self, state: &Path) -> Result<()> {
        match (self.kind, self.size) {
            (StorageKind::Dir | StorageKind::Overlay, Some(_)) => Err(Error::user(format!(
                "storage {} cannot be limited in size",
                self.kind
            ))
            .with_hint("use --storage loop, or btrfs where the state directory is on btrfs")),
            (StorageKind::Loop, None) => Err(Error::user("storage loop needs a size")
                .with_hint("say how large it may grow, such as --size 10G")),
            (StorageKind::Btrfs, _) if !btrfs::is_btrfs(state) => {
                Err(Error::user(format!("{} is not on btrfs", state.display()))
                    .with_hint("use --storage dir, overlay or loop"))
            }
            _ => Ok(()),
        }
    }
}

/// Where a container's files are made: the directory being filled, and the names in there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `STATE/NAME`, or the temporary name that it has until it is committed.
    pub(crate) directory: PathBuf,
    /// Tells a restored tree from the one that it replaces; empty for the first.
    pub(crate) suffix: String,
}

impl Place {
    pub(crate) fn first(directory: &Path) -> Place {
        Place {
            directory: directory.to_owned(),
            suffix: String::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}{}", self.suffix))
    }
}

/// What every kind of storage can do.
pub(crate) trait Backend {
    /// The files as a mount that is attached nowhere, with the ids of a user namespace.
    fn mount(&self, user: Option<BorrowedFd<'_>>, attributes: u64) -> Result<OwnedFd>;

    /// The same for one process that works on what does not exist yet: what it writes need not be on
    /// disk when the mount goes, since [`Backend::begin_sync`] comes before anybody hears of it.
    fn mount_for_work(&self, user: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
        self.mount(Some(user), attributes)
    }

    /// After a mount for work is gone.
    fn end_work(&self) -> Result<()> {
        Ok(())
    }

    /// Begins to write what is small and its own, so that a sync of anything on this file system that
    /// follows finds it on its way.
    fn begin_sync(&self) -> Result<()> {
        Ok(())
    }

    /// Makes another of the same contents. The container must be stopped.
    fn copy(&self, place: &Place) -> Result<RootPath>;

    /// Makes another that begins as this one and takes no room for what they have in common.
    fn share(&self, place: &Place) -> Result<RootPath>;

    /// Fails where it is not there.
    fn check(&self) -> Result<()>;

    /// The most that it may hold, where that can be seen.
    fn size_limit(&self) -> Option<u64> {
        None
    }

    /// Limits it anew, as a copy of a limited one must be.
    fn set_size_limit(&self, _bytes: u64) -> Result<()> {
        Ok(())
    }
}

/// Makes an empty root file system. What is there of it when this fails is in `place` and goes
/// with that.
pub(crate) fn make(new: &NewStorage, place: &Place) -> Result<RootPath> {
    match new.kind {
        StorageKind::Dir => directory::make(place),
        StorageKind::Overlay => overlay::make(place, new.lower.clone()),
        StorageKind::Btrfs => btrfs::make(place, new.size),
        StorageKind::Loop => loop_image::make(place, new.size.unwrap_or(0)),
    }
}

/// The names that a backend uses in a container's directory: what is there of them and no config
/// names is a leftover.
pub(crate) const NAMES: [&str; 3] = ["rootfs", "delta", "rootfs.img"];

/// Removes the trees in a container's directory that its config does not name: of a restoration
/// that was interrupted, or of the tree that one replaced.
pub(crate) fn sweep_unnamed(directory: &Path, named: &RootPath) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = NAMES
            .iter()
            .any(|known| name == *known || name.strip_prefix(known).is_some_and(is_suffix));
        if ours
            && !named
                .paths()
                .iter()
                .any(|path| path.starts_with(entry.path()))
        {
            // What stays is tried again next time.
            let _ = remove_tree(&entry.path());
        }
    }
}

/// Whether this ends the name of a restored tree.
fn is_suffix(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}
