//! A copy of a tree, with all that a file system keeps of it: owners, modes, times, extended
//! attributes (with them ACLs and capabilities), hard links, holes, device nodes, fifos and sockets.
//!
//! Somebody else filled the tree: every name is opened in its open directory and never followed.
//! Blocks are shared where the file system can (reflink), else copied without the holes.

use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, copy_file_range, readlinkat};
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, Whence, fchown, fchownat, linkat, lseek, symlinkat};
use xattr::FileExt as _;

use crate::error::{Error, Result, Tried};
use crate::sys::file::{open_at, reflink};

/// How many levels of directories are held open at once, two descriptors for each.
const DEEPEST: usize = 256;
const CHUNK: usize = 64 << 20;

/// Copies what is in the directory `from`, and its own metadata, to the empty directory `to`.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let open = |path: &Path| -> Result<OwnedFd> {
        let file = File::open(path).tried(|| format!("open {}", path.display()))?;
        Ok(file.into())
    };
    let mut copying = Copying {
        from,
        target: open(to)?,
        links: HashMap::new(),
    };
    copying.directory(open(from)?, open(to)?, Path::new(""), 0)?;
    Ok(())
}

/// Copies the contents of a file to an empty one.
pub(crate) fn copy_file(source: &File, target: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    if length == 0 || reflink(source.as_fd(), target.as_fd()).is_ok() {
        return Ok(());
    }
    let mut at: i64 = 0;
    loop {
        let data = match lseek(source, at, Whence::SeekData) {
            Ok(data) => data,
            // Nothing but a hole is left.
            Err(Errno::ENXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let hole = lseek(source, data, Whence::SeekHole)?;
        copy_range(source, target, data, hole)?;
        at = hole;
    }
    target.set_len(length)
}

/// Gives `target` the owner, mode, extended attributes and times of `source`.
pub(crate) fn copy_metadata(source: &File, target: &File) -> io::Result<()> {
    let metadata = source.metadata()?;
    fchown(
        target,
        Some(Uid::from_raw(metadata.uid())),
        Some(Gid::from_raw(metadata.gid())),
    )?;
    // After the owner: changing that clears setuid and capabilities.
    fchmod(target, Mode::from_bits_truncate(metadata.mode()))?;
    for name in source.list_xattr()? {
        if let Some(value) = source.get_xattr(&name)? {
            target.set_xattr(&name, &value)?;
        }
    }
    futimens(
        target,
        &TimeSpec::new(metadata.atime(), metadata.atime_nsec()),
        &TimeSpec::new(metadata.mtime(), metadata.mtime_nsec()),
    )?;
    Ok(())
}

fn copy_range(source: &File, target: &File, from: i64, to: i64) -> io::Result<()> {
    let (mut read, mut write) = (from, from);
    while read < to {
        let want = usize::try_from(to - read).unwrap_or(CHUNK).min(CHUNK);
        match copy_file_range(source, Some(&mut read), target, Some(&mut write), want) {
            // The file became shorter while it was read.
            Ok(0) => break,
            Ok(_) => {}
            // Between file systems that cannot, the old way.
            Err(Errno::EXDEV | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                return copy_bytes(source, target, read, to);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn copy_bytes(source: &File, target: &File, mut at: i64, to: i64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; 256 << 10];
    while at < to {
        let want = usize::try_from(to - at)
            .unwrap_or(buffer.len())
            .min(buffer.len());
        let got = source.read_at(&mut buffer[..want], at as u64)?;
        if got == 0 {
            break;
        }
        target.write_all_at(&buffer[..got], at as u64)?;
        at += got as i64;
    }
    Ok(())
}

struct Copying<'a> {
    from: &'a Path,
    /// The root of the copy: hard links are made from names below it.
    target: OwnedFd,
    /// Where files with several names were copied to.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copying<'_> {
    fn directory(
        &mut self,
        source: OwnedFd,
        target: OwnedFd,
        path: &Path,
        depth: usize,
    ) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::user(format!(
                "{} is nested deeper than {DEEPEST} directories",
                self.from.join(path).display()
            )));
        }
        for name in names(&source).tried(|| self.words("list", path))? {
            let path = path.join(&name);
            self.entry(&source, &target, &name, &path, depth)?;
        }
        // Last: its entries change its times.
        copy_metadata(&source.into(), &target.into())
            .tried(|| self.words("copy the metadata of", path))
    }

    fn entry(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<()> {
        let what = || format!("copy {}", self.from.join(path).display());
        let stat = fstatat(source, name, AtFlags::AT_SYMLINK_NOFOLLOW).tried(what)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFDIR {
            let flags = libc::O_RDONLY | libc::O_DIRECTORY;
            let inside = open_at(source.as_fd(), name, flags, 0).tried(what)?;
            mkdirat(target, name, Mode::S_IRWXU).tried(what)?;
            let copy = open_at(target.as_fd(), name, flags, 0).tried(what)?;
            return self.directory(inside, copy, path, depth + 1);
        }
        let inode = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&inode) {
                let first = first.as_path();
                return linkat(&self.target, first, target, name, AtFlags::empty()).tried(what);
            }
            self.links.insert(inode, path.to_owned());
        }
        let copied = match kind {
            SFlag::S_IFREG => regular(source, target, name),
            SFlag::S_IFLNK => readlinkat(source, name)
                .and_then(|to| symlinkat(to.as_os_str(), target, name))
                .map_err(io::Error::from)
                .and_then(|()| special(source, target, name, &stat, false)),
            _ => mknodat(target, name, kind, Mode::S_IRUSR, stat.st_rdev)
                .map_err(io::Error::from)
                .and_then(|()| special(source, target, name, &stat, true)),
        };
        copied.tried(what)
    }

    fn words(&self, doing: &str, path: &Path) -> String {
        format!("{doing} {}", self.from.join(path).display())
    }
}

fn regular(source: &OwnedFd, target: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let from = File::from(open_at(source.as_fd(), name, flags, 0)?);
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
    let to = File::from(open_at(target.as_fd(), name, flags, 0o600)?);
    copy_file(&from, &to)?;
    copy_metadata(&from, &to)
}

/// Owner, mode, attributes and time of what cannot be opened.
fn special(
    source: &OwnedFd,
    target: &OwnedFd,
    name: &OsStr,
    stat: &FileStat,
    has_mode: bool,
) -> io::Result<()> {
    fchownat(
        target,
        name,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?;
    if has_mode {
        // Not a link: it was made a moment ago in a tree that nobody else writes to.
        nix::sys::stat::fchmodat(
            target,
            name,
            Mode::from_bits_truncate(stat.st_mode),
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )?;
    }
    // There is no call for an attribute of a name in an open directory; these follow no last link.
    let named = |directory: &OwnedFd| {
        Path::new("/proc/self/fd")
            .join(directory.as_raw_fd().to_string())
            .join(name)
    };
    let (from, to) = (named(source), named(target));
    for attribute in xattr::list(&from)? {
        if let Some(value) = xattr::get(&from, &attribute)? {
            xattr::set(&to, &attribute, &value)?;
        }
    }
    let time = |seconds, nanoseconds| TimeSpec::new(seconds, nanoseconds);
    utimensat(
        target,
        name,
        &time(stat.st_atime, stat.st_atime_nsec),
        &time(stat.st_mtime, stat.st_mtime_nsec),
        UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}

fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    // A descriptor of its own: reading moves its position.
    let own = open_at(
        directory.as_fd(),
        OsStr::new("."),
        libc::O_RDONLY | libc::O_DIRECTORY,
        0,
    )?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(own)?.iter() {
        let entry = entry?;
        let name: CString = entry.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(OsString::from_vec(name.into_bytes()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
