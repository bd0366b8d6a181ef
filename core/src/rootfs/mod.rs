//! Safe access to a root file system that somebody else may have filled.
//!
//! A path in here is looked up as the container would look it up: symbolic links are followed
//! inside the tree, absolute ones from the tree's root, and nothing leads out of it
//! (openat2(2) with RESOLVE_IN_ROOT). The last component is never followed when something is
//! made, changed or removed. Owners are numbers as they stand on disk.

mod error;
mod place;
mod walk;

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2},
    sys::{
        stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstatat, mkdirat, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat},
};

pub use error::RootfsError;
pub use place::{Existing, Kind, Metadata, Placer};
pub use walk::{Entry, EntryKind, walk};

/// No file that is read whole may be larger: 64 MiB.
const READ_LIMIT: u64 = 64 << 20;

/// An open root file system.
#[derive(Debug)]
pub struct Rootfs {
    root: OwnedFd,
}

type Result<T> = std::result::Result<T, RootfsError>;

impl Rootfs {
    /// Opens the directory at `path`, which is trusted and may be anything the caller can open.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::fcntl::open(path, flags, Mode::empty())
            .map(|root| Self { root })
            .map_err(|errno| RootfsError::new("open the root file system", path, errno))
    }

    /// Reads a whole file of at most 64 MiB, following links inside the tree.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let file = self.open_file(path)?;
        let mut bytes = Vec::new();
        file.take(READ_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| RootfsError::io("read", path, &error))?;
        if bytes.len() as u64 > READ_LIMIT {
            return Err(RootfsError::new("read", path, Errno::EFBIG));
        }
        Ok(bytes)
    }

    /// Reads a whole text file; what is not UTF-8 is replaced.
    pub fn read_text(&self, path: impl AsRef<Path>) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// Opens a regular file for reading, following links inside the tree. A fifo or device is
    /// refused rather than waited for.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::from(
            self.resolve(path, flags)
                .map_err(RootfsError::at("open", path))?,
        );
        let kind = file
            .metadata()
            .map_err(|error| RootfsError::io("open", path, &error))?;
        if !kind.is_file() {
            return Err(RootfsError::new("open", path, Errno::EISDIR));
        }
        Ok(file)
    }

    /// Writes a file of exactly this mode, owned by 0:0. What stood there and was not a directory
    /// is replaced; missing parent directories are made with mode 0755.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        let mut file = self.create_file(path, mode)?;
        file.write_all(bytes.as_ref())
            .map_err(|error| RootfsError::io("write", path, &error))
    }

    /// Makes an empty file of exactly this mode, owned by 0:0, as [`Rootfs::write`] does.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> Result<File> {
        let path = path.as_ref();
        let (parent, name) = self.parent_made(path)?;
        remove_plain(&parent, name, path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let file =
            open_in(parent.as_fd(), name, flags, 0o600).map_err(RootfsError::at("create", path))?;
        fchown(&file, Some(Uid::from_raw(0)), Some(Gid::from_raw(0)))
            .and_then(|()| fchmod(&file, mode_of(mode)))
            .map_err(RootfsError::at("create", path))?;
        Ok(File::from(file))
    }

    /// Appends to a file that exists, following links inside the tree.
    pub fn append(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
        let path = path.as_ref();
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = self
            .resolve(path, flags)
            .map_err(RootfsError::at("open", path))?;
        File::from(file)
            .write_all(bytes.as_ref())
            .map_err(|error| RootfsError::io("append to", path, &error))
    }

    /// Makes a directory and its missing parents (0755). One that exists stays as it is.
    pub fn create_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        if self.is_dir(path) {
            return Ok(());
        }
        let (parent, name) = self.parent_made(path)?;
        mkdirat(&parent, name, mode_of(0o700))
            .and_then(|()| {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
                let made = open_in(parent.as_fd(), name, flags, 0)?;
                fchmod(&made, mode_of(mode))
            })
            .map_err(RootfsError::at("create directory", path))
    }

    /// Makes a symbolic link; what stood there and was not a directory is replaced.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = self.parent_made(path)?;
        remove_plain(&parent, name, path)?;
        nix::unistd::symlinkat(target.as_ref(), &parent, name)
            .map_err(RootfsError::at("create symbolic link", path))
    }

    /// Where a symbolic link points.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path)?;
        nix::fcntl::readlinkat(&parent, name)
            .map(PathBuf::from)
            .map_err(RootfsError::at("read symbolic link", path))
    }

    /// Whether something stands there, be it a link that leads nowhere.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path.as_ref()).is_ok()
    }

    /// Whether a directory, or a link to one inside the tree, stands there.
    pub fn is_dir(&self, path: impl AsRef<Path>) -> bool {
        self.resolve(path.as_ref(), OFlag::O_PATH | OFlag::O_DIRECTORY)
            .is_ok()
    }

    /// What stands there, its last component not followed.
    pub fn stat(&self, path: impl AsRef<Path>) -> Result<FileStat> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path)?;
        fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(RootfsError::at("look at", path))
    }

    /// The names in a directory, sorted.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<std::ffi::OsString>> {
        let path = path.as_ref();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let directory = self
            .resolve(path, flags)
            .map_err(RootfsError::at("list", path))?;
        walk::names(directory).map_err(RootfsError::at("list", path))
    }

    /// Sets owner and group of a file or directory, not following a link.
    pub fn set_owner(&self, path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path)?;
        nix::unistd::fchownat(
            &parent,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .map_err(RootfsError::at("set the owner of", path))
    }

    /// Sets the permission bits of a file or directory; a link is refused.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        open_in(parent.as_fd(), name, flags, 0)
            .and_then(|file| fchmod(&file, mode_of(mode)))
            .map_err(RootfsError::at("set the mode of", path))
    }

    /// Sets the modification time, in seconds since 1970, of whatever stands at the path itself.
    pub fn set_time(&self, path: impl AsRef<Path>, mtime: i64) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path)?;
        let time = TimeSpec::new(mtime, 0);
        utimensat(&parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
            .map_err(RootfsError::at("set the time of", path))
    }

    /// Renames within the tree; what stood at `to` and was not a directory is replaced.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let (old, old_name) = self.parent(from)?;
        let (new, new_name) = self.parent(to)?;
        nix::fcntl::renameat(&old, old_name, &new, new_name)
            .map_err(RootfsError::at("rename", from))
    }

    /// Removes a file, link, or whole directory, never following a link. Nothing there is fine.
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = match self.parent(path) {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        walk::remove_all(parent.as_fd(), name.as_ref()).map_err(RootfsError::at("remove", path))
    }

    /// Removes everything in a directory but leaves the directory. Nothing there is fine.
    pub fn remove_contents(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if !self.exists(path) {
            return Ok(());
        }
        for name in self.list(path)? {
            self.remove(path.join(name))?;
        }
        Ok(())
    }

    /// The directory's descriptor, opened with O_PATH.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        loop {
            match openat2(&self.root, path, how) {
                // A rename somewhere in the tree made the kernel give up on proving that the
                // path stays inside; openat2(2) asks to try again.
                Err(Errno::EAGAIN) => {}
                result => return result,
            }
        }
    }

    /// The open parent directory of `path` and the last component.
    fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p Path)> {
        let (parent, name) = split(path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        self.resolve(parent, flags)
            .map(|fd| (fd, name))
            .map_err(RootfsError::at("find", path))
    }

    fn parent_made<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p Path)> {
        match self.parent(path) {
            Err(error) if error.is_not_found() => {
                let (parent, _) = split(path)?;
                self.create_dir(parent, 0o755)?;
                self.parent(path)
            }
            result => result,
        }
    }
}

/// Splits a path into parent and last component; a path without one, or with `..` at its end, has
/// no meaning here.
fn split(path: &Path) -> Result<(&Path, &Path)> {
    match path.components().next_back() {
        Some(Component::Normal(name)) => {
            Ok((path.parent().unwrap_or(Path::new("")), Path::new(name)))
        }
        _ => Err(RootfsError::new("use", path, Errno::EINVAL)),
    }
}

/// Opens one component of an open directory, never following a link.
fn open_in(
    directory: BorrowedFd<'_>,
    name: impl AsRef<Path>,
    flags: OFlag,
    mode: u32,
) -> nix::Result<OwnedFd> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(directory, name.as_ref(), flags, mode_of(mode))
}

fn remove_plain(parent: &OwnedFd, name: &Path, path: &Path) -> Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(RootfsError::new("replace", path, errno)),
    }
}

fn mode_of(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode)
}

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

#[cfg(test)]
mod tests;
