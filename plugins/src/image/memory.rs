//! Trees that are built in memory, because a disk is slow with a hundred thousand small writes and
//! the tree is thrown away when it is packed.
//!
//! Not a mount of our own: a killed process would leave it behind. The machine's /dev/shm is used
//! where it is a tmpfs with room to spare; leftovers are swept as those of other staging
//! directories are. Whoever builds there must be ready to do so again on disk.

use std::{
    fs::DirBuilder,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::Path,
};

use nix::sys::{statfs, statvfs};

use sampan_runtime::sandbox::Sandbox;

use crate::{
    PluginError,
    staging::{Staging, sweep},
};

/// Where.
const PARENT: &str = "/dev/shm/sampan";

/// How much must be free, of the file system and of the machine's memory: several times what a
/// large image takes, so that neither the build nor the machine feels it. 4 GiB.
const ROOM: u64 = 4 << 30;

/// How much memory a worker may take that builds there: 3 GiB. What it writes counts.
pub(super) const LIMIT: u64 = 3 << 30;

/// A directory in memory, if this machine has room for one.
pub(super) fn stage() -> Option<Staging> {
    if !nix::unistd::geteuid().is_root() || !Sandbox::can_limit_memory() || free_memory()? < ROOM {
        return None;
    }
    let parent = Path::new(PARENT);
    let above = parent.parent()?;
    let kind = statfs::statfs(above).ok()?;
    if kind.filesystem_type() != statfs::TMPFS_MAGIC || free(above)? < ROOM {
        return None;
    }
    match DirBuilder::new().mode(0o700).create(parent) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(_) => return None,
    }
    // Anybody may write to /dev/shm, so that somebody else may have been first.
    let metadata = parent.symlink_metadata().ok()?;
    let ours =
        metadata.is_dir() && metadata.uid() == 0 && metadata.permissions().mode() & 0o077 == 0;
    if !ours {
        return None;
    }
    // What could not be swept takes room, which was looked at above.
    let _ = sweep(parent);
    Staging::create(parent).ok()
}

/// Whether a build may have failed for want of room, or because it was there at all.
pub(super) fn may_be_to_blame(error: &PluginError, staging: &Staging) -> bool {
    match error {
        // Idmapped mounts of a tmpfs came with Linux 6.3.
        PluginError::Sandbox { .. } => true,
        // The kernel ends who takes too much.
        PluginError::Died { .. } => true,
        PluginError::Cancelled => false,
        _ => free(staging.path()).is_none_or(|free| free < ROOM - LIMIT),
    }
}

fn free(path: &Path) -> Option<u64> {
    let stat = statvfs::statvfs(path).ok()?;
    let programs_may_run = !stat.flags().contains(statvfs::FsFlags::ST_NOEXEC);
    programs_may_run.then(|| stat.blocks_available() * stat.fragment_size())
}

/// MemAvailable of proc_meminfo(5), in bytes.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
