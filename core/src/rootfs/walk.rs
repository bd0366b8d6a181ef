//! Walking and removing a tree without ever following a link.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, readlinkat},
    sys::stat::{FileStat, SFlag, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{Result, Rootfs, RootfsError, kind_of, open_in};

/// How many levels of directories are held open at once. Debian's deepest path has 14.
const DEEPEST: usize = 100;

/// One thing found by [`walk`].
pub struct Entry {
    /// Its path below the root, without a leading `/`; empty for the root itself.
    pub path: PathBuf,
    /// Its inode's data.
    pub stat: FileStat,
    /// What it is.
    pub kind: EntryKind,
}

/// What an [`Entry`] is, with what is needed to copy it.
pub enum EntryKind {
    /// A directory, open.
    Directory(File),
    /// A regular file, open for reading.
    File(File),
    /// A symbolic link and where it points.
    Symlink(PathBuf),
    /// A fifo.
    Fifo,
    /// A character or block device.
    Device {
        /// Block rather than character.
        block: bool,
    },
    /// A socket, which no archive can hold.
    Socket,
}

/// Visits the whole tree in the order of sorted names, a directory before what is in it. A tree of
/// more than 100 levels is an error.
pub fn walk<E: From<RootfsError>>(
    rootfs: &Rootfs,
    visit: &mut dyn FnMut(Entry) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let root = rootfs
        .resolve(Path::new("."), flags)
        .map_err(RootfsError::at("open", Path::new("/")))?;
    let stat = nix::sys::stat::fstat(&root).map_err(RootfsError::at("look at", Path::new("/")))?;
    let root = File::from(root);
    let inside = duplicate(&root, Path::new("/"))?;
    visit(Entry {
        path: PathBuf::new(),
        stat,
        kind: EntryKind::Directory(root),
    })?;
    directory(inside, Path::new(""), 0, visit)
}

fn directory<E: From<RootfsError>>(
    open: OwnedFd,
    path: &Path,
    depth: usize,
    visit: &mut dyn FnMut(Entry) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    if depth > DEEPEST {
        return Err(RootfsError::new("go deeper into", path, Errno::ENAMETOOLONG).into());
    }
    let listing = open
        .try_clone()
        .map_err(|e| RootfsError::io("list", path, &e))?;
    for name in names(listing).map_err(RootfsError::at("list", path))? {
        let path = path.join(&name);
        let look = || -> nix::Result<(FileStat, EntryKind)> {
            let stat = fstatat(&open, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
            let kind = match kind_of(&stat) {
                SFlag::S_IFDIR => EntryKind::Directory(
                    open_in(open.as_fd(), &name, flags | OFlag::O_DIRECTORY, 0)?.into(),
                ),
                SFlag::S_IFREG => EntryKind::File(open_in(open.as_fd(), &name, flags, 0)?.into()),
                SFlag::S_IFLNK => EntryKind::Symlink(readlinkat(&open, name.as_os_str())?.into()),
                SFlag::S_IFIFO => EntryKind::Fifo,
                SFlag::S_IFBLK => EntryKind::Device { block: true },
                SFlag::S_IFCHR => EntryKind::Device { block: false },
                _ => EntryKind::Socket,
            };
            Ok((stat, kind))
        };
        let (stat, kind) = look().map_err(RootfsError::at("look at", &path))?;
        let inside = match &kind {
            EntryKind::Directory(open) => Some(duplicate(open, &path)?),
            _ => None,
        };
        visit(Entry {
            path: path.clone(),
            stat,
            kind,
        })?;
        if let Some(inside) = inside {
            directory(inside, &path, depth + 1, visit)?;
        }
    }
    Ok(())
}

fn duplicate(file: &File, path: &Path) -> Result<OwnedFd> {
    file.try_clone()
        .map(OwnedFd::from)
        .map_err(|error| RootfsError::io("open", path, &error))
}

/// The names in an open directory, sorted by their bytes.
pub(super) fn names(directory: OwnedFd) -> nix::Result<Vec<OsString>> {
    let mut directory = Dir::from_fd(directory)?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

/// Removes `name` in an open directory with everything below it. Nothing there is fine.
///
/// Whoever made the tree may have nested it deeper than this process may have descriptors or
/// stack: what lies too deep is first moved up beside `name`.
pub(super) fn remove_all(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<()> {
    let mut removal = Removal {
        top: parent,
        moved: Vec::new(),
        count: 0,
        name: name.to_owned(),
    };
    removal.remove(parent, name, 0)?;
    while let Some(name) = removal.moved.pop() {
        removal.remove(parent, &name, 0)?;
    }
    Ok(())
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// Directories that lay too deep, by their names at the top.
    moved: Vec<OsString>,
    count: u64,
    name: OsString,
}

impl Removal<'_> {
    fn remove(&mut self, parent: BorrowedFd<'_>, name: &OsStr, depth: usize) -> nix::Result<()> {
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(errno),
        }
        if depth == DEEPEST {
            let mut moved = self.name.clone();
            moved.push(format!(".removed-{}", self.count));
            self.count += 1;
            nix::fcntl::renameat(parent, name, self.top, moved.as_os_str())?;
            self.moved.push(moved);
            return Ok(());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let open = open_in(parent, Path::new(name), flags, 0)?;
        for child in names(open.try_clone().map_err(|_| Errno::EMFILE)?)? {
            self.remove(open.as_fd(), &child, depth + 1)?;
        }
        unlinkat(parent, name, UnlinkatFlags::RemoveDir)
    }
}
