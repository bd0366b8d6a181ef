//! The root file system.

use std::path::PathBuf;

use super::Key;
use super::value::path;
use crate::config::effective::Assignment;
use crate::config::settings::Draft;
use crate::storage::RootPath;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.rootfs.path",
        "[dir:|btrfs:|loop:]PATH or overlay:LOWER[:LOWER…]:UPPER",
        "where the root file system is",
        read_path,
    ),
    Key::new(
        "lxc.rootfs.options",
        "OPTION[,OPTION…]",
        "`ro`, `rw`, `nosuid`, `nodev`, `noexec`, `noatime`, `nodiratime`; `idmap=container`: files keep the ids of the inside on disk",
        read_options,
    ),
    Key::new(
        "lxc.rootfs.mount",
        "PATH",
        "where hooks see the root; by default /mnt, in the guest's mount namespace only",
        |draft, line| {
            draft.settings.rootfs_mount = path(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.rootfs.managed",
        "0 or 1",
        "0: storage that is somebody else's to change or remove",
        |draft, line| {
            draft.settings.rootfs_managed = match line.value.as_str() {
                "" | "1" => true,
                "0" => false,
                _ => return Err(line.wrong("is neither 0 nor 1")),
            };
            Ok(())
        },
    )
    .refused_but(&["1"]),
];

fn read_path(draft: &mut Draft, line: &Assignment) -> Result<(), String> {
    draft.settings.root = match line.value.as_str() {
        "" => RootPath::Dir(PathBuf::new()),
        value => RootPath::parse(value).map_err(|what| line.wrong(what))?,
    };
    draft.settings.rootfs = draft.settings.root.own().to_owned();
    Ok(())
}

fn read_options(draft: &mut Draft, line: &Assignment) -> Result<(), String> {
    let s = &mut draft.settings;
    // One value holds all options: the last line counts.
    (s.rootfs_mapped, s.rootfs_read_only, s.rootfs_attributes) = (false, false, 0);
    for option in line.value.split(',').filter(|option| !option.is_empty()) {
        match option {
            "idmap=container" => s.rootfs_mapped = true,
            "ro" => s.rootfs_read_only = true,
            "rw" => s.rootfs_read_only = false,
            "nosuid" => s.rootfs_attributes |= libc::MOUNT_ATTR_NOSUID,
            "nodev" => s.rootfs_attributes |= libc::MOUNT_ATTR_NODEV,
            "noexec" => s.rootfs_attributes |= libc::MOUNT_ATTR_NOEXEC,
            "noatime" => s.rootfs_attributes |= libc::MOUNT_ATTR_NOATIME,
            "nodiratime" => s.rootfs_attributes |= libc::MOUNT_ATTR_NODIRATIME,
            "defaults" | "relatime" | "suid" | "dev" | "exec" | "bind" | "rbind" => {}
            _ => return Err(line.wrong("has an option that is not supported")),
        }
    }
    Ok(())
}
