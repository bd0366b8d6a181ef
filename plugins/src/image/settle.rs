//! A finished tree that stays a tree: what packing would change in its archive is changed in place.

use std::{fs::File, path::Path};

use sampan_core::{
    Rootfs,
    rootfs::{Entry, EntryKind, Existing, Metadata, Placer, walk},
};
use xattr::FileExt as _;

use super::pack::{CAPABILITY, forget_namespace};
use crate::PluginError;

/// Makes the tree what unpacking its archive would give: no time later than `newest`, whole
/// seconds, capabilities of any namespace, a root of mode 0755 that is root's.
pub(super) fn settle(tree: &Path, newest: i64) -> Result<(), PluginError> {
    let rootfs = Rootfs::open(tree).map_err(PluginError::rootfs(tree))?;
    walk(&rootfs, &mut |Entry { path, stat, kind }| {
        match &kind {
            EntryKind::File(file) => generalize(file, &tree.join(&path))?,
            EntryKind::Socket => {
                return Err(PluginError::Unpackable(format!(
                    "`{}` is a socket, left behind by something that ran during the build",
                    path.display()
                )));
            }
            _ => {}
        }
        let exact = stat.st_mtime <= newest && stat.st_mtime_nsec == 0;
        if exact || path.as_os_str().is_empty() {
            return Ok(());
        }
        rootfs
            .set_time(&path, stat.st_mtime.clamp(0, newest))
            .map_err(PluginError::rootfs(tree))
    })?;
    let root = Metadata {
        mode: 0o755,
        mtime: newest,
        ..Metadata::default()
    };
    Placer::new(&rootfs, Existing::Keep)
        .finish_directory("".as_ref(), &root)
        .map_err(PluginError::rootfs(tree))
}

fn generalize(file: &File, path: &Path) -> Result<(), PluginError> {
    let Some(before) = file
        .get_xattr(CAPABILITY)
        .or_else(|error| match error.raw_os_error() {
            // A file system without attributes has no capability to be changed.
            Some(errno) if errno == nix::errno::Errno::EOPNOTSUPP as i32 => Ok(None),
            _ => Err(error),
        })
        .map_err(PluginError::io("read the attributes of", path))?
    else {
        return Ok(());
    };
    let mut after = before.clone();
    forget_namespace(&mut after);
    if after == before {
        return Ok(());
    }
    file.set_xattr(CAPABILITY, &after)
        .map_err(PluginError::io("set the capability of", path))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    use super::*;

    #[test]
    fn no_time_in_a_settled_tree_is_later_than_the_newest_and_older_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path();
        fs::create_dir(tree.join("d")).unwrap();
        fs::write(tree.join("d/new"), "").unwrap();
        fs::write(tree.join("old"), "").unwrap();
        std::os::unix::fs::symlink("/nowhere", tree.join("link")).unwrap();
        fs::set_permissions(tree, fs::Permissions::from_mode(0o700)).unwrap();
        Rootfs::open(tree).unwrap().set_time("old", 5).unwrap();
        settle(tree, 1000).unwrap();
        for (name, time) in [
            ("", 1000),
            ("d", 1000),
            ("d/new", 1000),
            ("old", 5),
            ("link", 1000),
        ] {
            let metadata = tree.join(name).symlink_metadata().unwrap();
            assert_eq!(
                (metadata.mtime(), metadata.mtime_nsec()),
                (time, 0),
                "{name}"
            );
        }
        assert_eq!(fs::metadata(tree).unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_socket_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("s")).unwrap();
        let error = settle(directory.path(), 0).unwrap_err();
        assert!(error.to_string().contains("`s` is a socket"), "{error}");
    }
}
