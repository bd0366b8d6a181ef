//! Placing the entries of an archive into a rootfs.
//!
//! Archives are hostile: a name may be absolute, hold `..`, run through a link that an earlier
//! entry made, or name a hard link to something outside. Every entry goes through here.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag},
    sys::{
        stat::{
            Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, futimens, mkdirat, mknodat,
            utimensat,
        },
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat},
};
use xattr::FileExt as _;

use super::{Result, Rootfs, RootfsError, mode_of, open_in, remove_plain};

/// What an entry is.
pub enum Kind<'a> {
    /// A directory.
    Directory,
    /// A regular file of exactly `size` bytes.
    File {
        /// How many bytes `data` holds.
        size: u64,
        /// The contents.
        data: &'a mut dyn Read,
    },
    /// A regular file with these contents.
    Bytes(&'a [u8]),
    /// A symbolic link.
    Symlink(&'a Path),
    /// Another name of an earlier entry.
    HardLink(&'a Path),
    /// A fifo.
    Fifo,
    /// A device node: refused unless the placer allows them.
    Device {
        /// Block rather than character.
        block: bool,
        /// The device number.
        device: u64,
    },
}

/// Owner, mode and time of an entry, as numbers on disk.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// Extended attributes; for files and directories only.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// What to do with something that stands where an entry shall go. A directory that exists, or a
/// link to one, always serves for a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Replace it, as dpkg does. A directory is never replaced by something else.
    Replace,
    /// Leave it and skip the entry.
    Keep,
    /// Fail.
    Refuse,
}

/// Places entries one after another.
pub struct Placer<'a> {
    rootfs: &'a Rootfs,
    existing: Existing,
    devices: bool,
    /// The directory of the last entry: neighbours come one after another.
    last_parent: Option<(PathBuf, OwnedFd)>,
}

impl<'a> Placer<'a> {
    /// A placer that refuses device nodes.
    pub fn new(rootfs: &'a Rootfs, existing: Existing) -> Self {
        Self {
            rootfs,
            existing,
            devices: false,
            last_parent: None,
        }
    }

    /// The same placer, making device nodes.
    #[must_use]
    pub fn allow_devices(mut self) -> Self {
        self.devices = true;
        self
    }

    /// Places one entry. Missing parents are made with mode 0755, owned by 0:0.
    ///
    /// Answers whether the entry was placed ([`Existing::Keep`] may leave it).
    pub fn place(&mut self, name: &Path, kind: Kind<'_>, metadata: &Metadata) -> Result<bool> {
        let name = clean(name)?;
        let Some(file_name) = name.file_name().map(Path::new) else {
            // The root itself: only its metadata can be meant.
            let root = self
                .rootfs
                .resolve(Path::new("."), OFlag::O_RDONLY | OFlag::O_DIRECTORY)
                .map_err(RootfsError::at("open", &name))?;
            return apply(&File::from(root), metadata, &name).map(|()| true);
        };
        let parent_path = name.parent().unwrap_or(Path::new("")).to_owned();
        let parent = self.parent(&parent_path, &name)?;
        let at = |doing| RootfsError::at(doing, &name);

        if matches!(kind, Kind::Directory) {
            match mkdirat(&parent, file_name, first_mode(metadata, 0o700)) {
                Ok(()) => {
                    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
                    let made = open_in(parent.as_fd(), file_name, flags, 0).map_err(at("open"))?;
                    apply(&File::from(made), metadata, &name)?;
                }
                Err(Errno::EEXIST) if self.rootfs.is_dir(&name) => {}
                Err(errno) => return Err(at("create directory")(errno)),
            }
            self.last_parent = Some((parent_path, parent));
            return Ok(true);
        }

        // Making a file says itself that something stands there.
        let is_file = matches!(kind, Kind::File { .. } | Kind::Bytes(_));
        let refuse = self.existing == Existing::Refuse && is_file;
        let placed = refuse || self.clear(&parent, file_name, &name)?;
        if placed {
            match kind {
                // Handled above: a directory does not clear what stands in its place.
                Kind::Directory => {}
                Kind::File { size, data } => {
                    let mut file = create(&parent, file_name, metadata).map_err(at("create"))?;
                    copy(data, &mut file, size, &name)?;
                    apply(&file, metadata, &name)?;
                }
                Kind::Bytes(bytes) => {
                    let mut file = create(&parent, file_name, metadata).map_err(at("create"))?;
                    file.write_all(bytes)
                        .map_err(|error| RootfsError::io("write", &name, &error))?;
                    apply(&file, metadata, &name)?;
                }
                Kind::Symlink(target) => {
                    symlinkat(target, &parent, file_name).map_err(at("create symbolic link"))?;
                    self.apply_by_name(&parent, file_name, metadata, &name)?;
                }
                Kind::HardLink(to) => {
                    let to = clean(to)?;
                    let (source, source_name) = self.rootfs.parent(&to)?;
                    linkat(&source, source_name, &parent, file_name, AtFlags::empty())
                        .map_err(at("link"))?;
                }
                Kind::Fifo => {
                    mknodat(
                        &parent,
                        file_name,
                        SFlag::S_IFIFO,
                        mode_of(metadata.mode),
                        0,
                    )
                    .map_err(at("create fifo"))?;
                    self.apply_by_name(&parent, file_name, metadata, &name)?;
                }
                Kind::Device { block, device } => {
                    if !self.devices {
                        return Err(at("create device node")(Errno::EPERM));
                    }
                    let kind = if block {
                        SFlag::S_IFBLK
                    } else {
                        SFlag::S_IFCHR
                    };
                    mknodat(&parent, file_name, kind, mode_of(metadata.mode), device)
                        .map_err(at("create device node"))?;
                    self.apply_by_name(&parent, file_name, metadata, &name)?;
                }
            }
        }
        self.last_parent = Some((parent_path, parent));
        Ok(placed)
    }

    /// Gives a directory placed earlier its final mode and time, which placing entries in it
    /// changes.
    pub fn finish_directory(&self, name: &Path, metadata: &Metadata) -> Result<()> {
        let name = clean(name)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let directory = self
            .rootfs
            .resolve(&name, flags)
            .map_err(RootfsError::at("open", &name))?;
        apply(&File::from(directory), metadata, &name)
    }

    /// Takes the cached parent out, or opens it, making it where it is missing.
    fn parent(&mut self, path: &Path, name: &Path) -> Result<OwnedFd> {
        if let Some((cached, fd)) = self.last_parent.take()
            && cached == path
        {
            return Ok(fd);
        }
        let (fd, _) = self.rootfs.parent_made(name)?;
        Ok(fd)
    }

    /// Makes room for an entry; `false` means that what stands there stays.
    fn clear(&self, parent: &OwnedFd, file_name: &Path, name: &Path) -> Result<bool> {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        match fstatat(parent, file_name, flags) {
            Err(Errno::ENOENT) => Ok(true),
            Err(errno) => Err(RootfsError::new("look at", name, errno)),
            Ok(_) => match self.existing {
                Existing::Replace => remove_plain(parent, file_name, name).map(|()| true),
                Existing::Keep => Ok(false),
                Existing::Refuse => Err(RootfsError::new("create", name, Errno::EEXIST)),
            },
        }
    }

    fn apply_by_name(
        &self,
        parent: &OwnedFd,
        file_name: &Path,
        metadata: &Metadata,
        name: &Path,
    ) -> Result<()> {
        let itself = AtFlags::AT_SYMLINK_NOFOLLOW;
        let before =
            fstatat(parent, file_name, itself).map_err(RootfsError::at("look at", name))?;
        if (before.st_uid, before.st_gid) != (metadata.uid, metadata.gid) {
            let owner = Some(Uid::from_raw(metadata.uid));
            let group = Some(Gid::from_raw(metadata.gid));
            fchownat(parent, file_name, owner, group, itself)
                .map_err(RootfsError::at("set the owner of", name))?;
        }
        let time = TimeSpec::new(metadata.mtime, 0);
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(parent, file_name, &time, &time, flags)
            .map_err(RootfsError::at("set the time of", name))
    }
}

/// The name without leading `/` and `.`; `..`, a NUL or a newline (which would end a line of
/// dpkg's file lists) is refused.
fn clean(name: &Path) -> Result<PathBuf> {
    let bytes = name.as_os_str().as_bytes();
    if bytes.contains(&b'\n') || bytes.contains(&0) {
        return Err(RootfsError::new("use", name, Errno::EINVAL));
    }
    name.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(Ok(Path::new(part))),
            Component::RootDir | Component::CurDir => None,
            Component::ParentDir | Component::Prefix(_) => {
                Some(Err(RootfsError::new("use", name, Errno::EINVAL)))
            }
        })
        .collect()
}

fn create(parent: &OwnedFd, name: &Path, metadata: &Metadata) -> nix::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let mode = first_mode(metadata, 0o600).bits();
    open_in(parent.as_fd(), name, flags, mode).map(File::from)
}

/// The mode to make something with. What will be root's is so from the beginning and can have its
/// mode at once; everything else is for nobody until it has its owner.
fn first_mode(metadata: &Metadata, closed: u32) -> Mode {
    if (metadata.uid, metadata.gid) == (0, 0) {
        mode_of(metadata.mode & 0o777)
    } else {
        mode_of(closed)
    }
}

fn copy(data: &mut dyn Read, file: &mut File, size: u64, name: &Path) -> Result<()> {
    let mut left = size;
    let mut buffer = [0_u8; 64 * 1024];
    while left > 0 {
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let got = data
            .read(&mut buffer[..want])
            .map_err(|error| RootfsError::io("read the contents of", name, &error))?;
        if got == 0 {
            return Err(RootfsError::new(
                "read the contents of",
                name,
                Errno::ENODATA,
            ));
        }
        file.write_all(&buffer[..got])
            .map_err(|error| RootfsError::io("write", name, &error))?;
        left -= got as u64;
    }
    Ok(())
}

/// Owner before mode (chown clears setuid) and before capabilities (chown clears them too), time
/// last. To look first costs less than to set what is so already.
fn apply(file: &File, metadata: &Metadata, name: &Path) -> Result<()> {
    let before = fstat(file).map_err(RootfsError::at("look at", name))?;
    let owned = (before.st_uid, before.st_gid) == (metadata.uid, metadata.gid);
    if !owned {
        let owner = Some(Uid::from_raw(metadata.uid));
        let group = Some(Gid::from_raw(metadata.gid));
        fchown(file, owner, group).map_err(RootfsError::at("set the owner of", name))?;
    }
    let mode = mode_of(metadata.mode);
    if !owned || mode_of(before.st_mode) != mode {
        fchmod(file, mode).map_err(RootfsError::at("set the mode of", name))?;
    }
    for (key, value) in &metadata.xattrs {
        file.set_xattr(key, value)
            .map_err(|error| RootfsError::io("set an extended attribute of", name, &error))?;
    }
    let time = TimeSpec::new(metadata.mtime, 0);
    futimens(file, &time, &time).map_err(RootfsError::at("set the time of", name))
}
