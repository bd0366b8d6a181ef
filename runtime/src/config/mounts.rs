//! `lxc.mount.auto` and `lxc.mount.entry`.

use std::path::{Component, Path, PathBuf};

/// How `/proc` is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcMount {
    /// `/proc/sys` and `/proc/sysrq-trigger` read-only, `/proc/sys/net` writable.
    Mixed,
    /// All writable.
    ReadWrite,
}

/// How `/sys` is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysMount {
    /// Read-only but for `/sys/devices/virtual/net`.
    Mixed,
    /// Read-only.
    ReadOnly,
    /// Writable.
    ReadWrite,
}

/// A line of `lxc.mount.entry`, in the words of fstab(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// A path of the host for bind mounts, else a name.
    pub source: String,
    /// Relative to the container's root.
    pub target: PathBuf,
    /// The file system, when it is not a bind mount.
    pub kind: Option<String>,
    /// A bind mount of what is mounted below, too.
    pub recursive: bool,
    /// `MOUNT_ATTR_*` to set.
    pub attributes: u64,
    /// The file system's own options.
    pub data: Vec<(String, Option<String>)>,
    /// `create=dir` or `create=file`: make a missing mount point.
    pub create: Option<Create>,
    /// A failure is no error.
    pub optional: bool,
    /// The source is relative to the container's root.
    pub relative: bool,
    /// `file:line` for messages.
    pub place: String,
}

/// What to make when a mount point is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// File systems that a container may mount by an entry: those that show nothing of the host.
const KINDS: [&str; 6] = ["tmpfs", "proc", "sysfs", "cgroup2", "devpts", "mqueue"];

impl MountEntry {
    /// Reads a value of `lxc.mount.entry`.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(super) fn parse(text: &str, rootfs: &Path, place: &str) -> Result<MountEntry, String> {
        let fields: Vec<String> = text.split_whitespace().map(unescape).collect();
        let (source, target, kind, options) = match &fields[..] {
            [source, target, kind] => (source, target, kind, ""),
            [source, target, kind, options, ..] if fields.len() <= 6 => {
                (source, target, kind, options.as_str())
            }
            _ => return Err("is not \"SOURCE TARGET TYPE OPTIONS\" as in fstab".to_owned()),
        };
        let mut entry = MountEntry {
            source: source.clone(),
            target: inside(target, rootfs)?,
            kind: None,
            recursive: false,
            attributes: 0,
            data: Vec::new(),
            create: None,
            optional: false,
            relative: false,
            place: place.to_owned(),
        };
        let mut bind = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "defaults" | "rw" | "suid" | "dev" | "exec" | "relatime" | "async" => {}
                "bind" => bind = true,
                "rbind" => {
                    bind = true;
                    entry.recursive = true;
                }
                "ro" => entry.attributes |= libc::MOUNT_ATTR_RDONLY,
                "nosuid" => entry.attributes |= libc::MOUNT_ATTR_NOSUID,
                "nodev" => entry.attributes |= libc::MOUNT_ATTR_NODEV,
                "noexec" => entry.attributes |= libc::MOUNT_ATTR_NOEXEC,
                "noatime" => entry.attributes |= libc::MOUNT_ATTR_NOATIME,
                "nodiratime" => entry.attributes |= libc::MOUNT_ATTR_NODIRATIME,
                "create=dir" => entry.create = Some(Create::Directory),
                "create=file" => entry.create = Some(Create::File),
                "optional" => entry.optional = true,
                "relative" => entry.relative = true,
                other => match other.split_once('=') {
                    Some((key, value)) => entry.data.push((key.to_owned(), Some(value.to_owned()))),
                    None => entry.data.push((other.to_owned(), None)),
                },
            }
        }
        if bind {
            if let Some((key, _)) = entry.data.first() {
                return Err(format!(
                    "has the option \"{key}\", which is not supported for bind mounts"
                ));
            }
            if !entry.relative && !Path::new(source).is_absolute() {
                return Err(format!("binds \"{source}\", which is not an absolute path"));
            }
        } else {
            if !KINDS.contains(&kind.as_str()) {
                return Err(format!(
                    "has the file system \"{kind}\", which is not supported (use bind, or one of {})",
                    KINDS.join(", ")
                ));
            }
            entry.kind = Some(kind.clone());
        }
        Ok(entry)
    }
}

/// The target relative to the container's root. As for LXC an absolute one must lie in the rootfs.
fn inside(target: &str, rootfs: &Path) -> Result<PathBuf, String> {
    let path = Path::new(target);
    let path = if path.is_absolute() {
        path.strip_prefix(rootfs).map_err(|_| {
            format!("mounts at \"{target}\"; write the path inside the container without a leading slash")
        })?
    } else {
        path
    };
    let clean: PathBuf = path
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    if clean.as_os_str().is_empty()
        || clean
            .components()
            .any(|p| !matches!(p, Component::Normal(_)))
    {
        return Err(format!(
            "mounts at \"{target}\", which is not a path inside the container"
        ));
    }
    Ok(clean)
}

/// fstab(5): blanks are written in octal.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<MountEntry, String> {
        MountEntry::parse(text, Path::new("/srv/web/rootfs"), "config:1")
    }

    #[test]
    fn a_bind_mount_with_its_extras() {
        let entry =
            parse("/srv/my\\040data srv/data none bind,ro,create=dir,optional 0 0").unwrap();
        assert_eq!(entry.source, "/srv/my data");
        assert_eq!(entry.target, Path::new("srv/data"));
        assert_eq!(entry.kind, None);
        assert_eq!(entry.attributes, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(entry.create, Some(Create::Directory));
        assert!(entry.optional);
    }

    #[test]
    fn a_file_system_keeps_its_own_options() {
        let entry = parse("tmpfs /srv/web/rootfs/run tmpfs nosuid,size=10m").unwrap();
        assert_eq!(entry.target, Path::new("run"));
        assert_eq!(entry.data, [("size".to_owned(), Some("10m".to_owned()))]);
    }

    #[test]
    fn targets_outside_the_container_and_wrong_entries_are_refused() {
        for wrong in [
            "",
            "/a b",
            "/a /etc none bind",
            "/a ../etc none bind",
            "/a . none bind",
            "a b none bind",
            "/dev/sda1 mnt ext4 rw",
            "/a b none bind,size=3",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_entry_makes_the_parser_panic_or_leads_out(text in ".*") {
            if let Ok(entry) = parse(&text) {
                proptest::prop_assert!(entry.target.is_relative());
            }
        }
    }
}
