//! `lxc.mount.auto`, `lxc.mount.entry` and `lxc.mount.fstab`.

use std::path::{Component, Path, PathBuf};

use super::file::read_text;
use super::mount_options::MountOptions;
use crate::error::Error;

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
    /// How.
    pub options: MountOptions,
    /// `file:line` for messages.
    pub place: String,
}

/// File systems that a container may mount by an entry: those that show nothing of the host.
const KINDS: [&str; 6] = ["tmpfs", "proc", "sysfs", "cgroup2", "devpts", "mqueue"];

impl MountEntry {
    /// Reads a value of `lxc.mount.entry`, or a line of an fstab.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str, rootfs: &Path, place: &str) -> Result<MountEntry, String> {
        let fields: Vec<String> = text.split_whitespace().map(unescape).collect();
        let (source, target, kind, options) = match &fields[..] {
            [source, target, kind] => (source, target, kind, ""),
            [source, target, kind, options, ..] if fields.len() <= 6 => {
                (source, target, kind, options.as_str())
            }
            _ => return Err("is not \"SOURCE TARGET TYPE OPTIONS\" as in fstab".to_owned()),
        };
        if fields.iter().any(|field| field.contains('\0')) {
            return Err("contains a zero byte".to_owned());
        }
        let target = inside(target, rootfs)?;
        let options = MountOptions::parse(options)?;
        let kind = if options.bind {
            if !options.relative && !Path::new(source).is_absolute() {
                return Err(format!("binds \"{source}\", which is not an absolute path"));
            }
            None
        } else {
            if !KINDS.contains(&kind.as_str()) {
                return Err(format!(
                    "has the file system \"{kind}\", which is not supported (use bind, or one of {})",
                    KINDS.join(", ")
                ));
            }
            Some(kind.clone())
        };
        Ok(MountEntry {
            source: source.clone(),
            target,
            kind,
            options,
            place: place.to_owned(),
        })
    }
}

/// Reads the file of `lxc.mount.fstab`.
///
/// # Errors
/// It cannot be read, or one of its lines is wrong: which, and why.
pub fn read_fstab(path: &Path, rootfs: &Path) -> Result<Vec<MountEntry>, Error> {
    let failed = |error: Error| error.wrap("could not read the lxc.mount.fstab");
    let text = read_text(path).map_err(failed)?;
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let place = format!("{}:{number}", path.display());
            MountEntry::parse(line, rootfs, &place)
                .map_err(|what| Error::user(format!("{place}: \"{line}\" {what}")))
        })
        .collect()
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
    use super::super::mount_options::Create;
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
        assert_eq!(entry.options.attributes, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(entry.options.create, Some(Create::Directory));
        assert!(entry.options.optional);
    }

    #[test]
    fn a_file_system_keeps_its_own_options() {
        let entry = parse("tmpfs /srv/web/rootfs/run tmpfs nosuid,size=10m").unwrap();
        assert_eq!(entry.target, Path::new("run"));
        let data = [("size".to_owned(), Some("10m".to_owned()))];
        assert_eq!(entry.options.data, data);
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

    #[test]
    fn an_fstab_is_read_and_its_errors_name_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fstab");
        std::fs::write(
            &path,
            "# mine\n\n  /srv srv none bind 0 0\ntmpfs /r/run tmpfs rw\n",
        )
        .unwrap();
        let entries = read_fstab(&path, Path::new("/r")).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].target, Path::new("run"));
        std::fs::write(&path, "/srv srv none bind\n/a b ext4 rw\n").unwrap();
        let text = read_fstab(&path, Path::new("/r")).unwrap_err().chain();
        assert!(
            text.contains("fstab:2: \"/a b ext4 rw\" has the file system \"ext4\""),
            "{text}"
        );
        let text = read_fstab(&dir.path().join("gone"), Path::new("/r"))
            .unwrap_err()
            .chain();
        assert!(
            text.contains("lxc.mount.fstab") && text.contains("No such file"),
            "{text}"
        );
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
