//! A tree as an archive whose bytes depend on nothing but the tree.
//!
//! Sorted names, numeric owners, no user names, times clamped to the newest input, extended
//! attributes as pax records, zstd with a fixed level and at least one worker (zstd's output is
//! the same for any number of workers from one up, but not for none).

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use sampan_core::{
    Rootfs, Unit,
    rootfs::{Entry, EntryKind, RootfsError, walk},
};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use xattr::FileExt as _;

use crate::{Cancellation, PluginError, Reporter, download::hex};

/// Level 3 packs as fast as the disk writes; higher ones save little on a Debian tree.
const LEVEL: i32 = 3;
/// A file capability (vfs_cap_data in linux/capability.h) of revision 3 holds the id of a user
/// namespace's root behind the 20 bytes of revision 2.
pub(super) const CAPABILITY: &str = "security.capability";
const CAPABILITY_REVISION_2: u8 = 2;
const CAPABILITY_REVISION_3: u8 = 3;
const CAPABILITY_2_LENGTH: usize = 20;

/// What was packed.
#[derive(Debug)]
pub(super) struct Packed {
    pub sha256: String,
    pub size: u64,
    pub unpacked_size: u64,
    pub entries: u64,
}

/// How an archive's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// As they are.
    None,
    /// With zstd.
    Zstd,
}

/// Packs the tree at `tree` into the new file `archive`, with zstd, and syncs it.
pub(super) fn pack(
    tree: &Path,
    archive: &Path,
    newest: i64,
    reporter: &dyn Reporter,
    cancellation: &Cancellation,
) -> Result<Packed, PluginError> {
    let compression = Compression::Zstd;
    pack_as(compression, tree, archive, newest, reporter, cancellation)
}

/// Packs as [`pack`] does, with this compression.
pub(super) fn pack_as(
    compression: Compression,
    tree: &Path,
    archive: &Path,
    newest: i64,
    reporter: &dyn Reporter,
    cancellation: &Cancellation,
) -> Result<Packed, PluginError> {
    let rootfs = Rootfs::open(tree).map_err(PluginError::rootfs(tree))?;
    let file = File::create_new(archive).map_err(PluginError::io("create", archive))?;
    let written = |source| PluginError::io("write", archive)(source);
    let encoder = Encoder::new(compression, Hashing::new(BufWriter::new(file))).map_err(written)?;
    let mut packer = Packer {
        tree,
        archive,
        builder: Builder::new(encoder),
        newest,
        seen: HashMap::new(),
        entries: 0,
        unpacked_size: 0,
        reporter,
        cancellation,
    };
    walk(&rootfs, &mut |entry| packer.add(entry))?;
    let (entries, unpacked_size) = (packer.entries, packer.unpacked_size);
    let hashing = packer
        .builder
        .into_inner()
        .and_then(Encoder::finish)
        .map_err(written)?;
    let (sha256, size, buffered) = hashing.finish();
    let file = buffered
        .into_inner()
        .map_err(|error| written(error.into_error()))?;
    file.sync_all().map_err(written)?;
    reporter.progress("packing", unpacked_size, unpacked_size, Unit::Bytes);
    Ok(Packed {
        sha256,
        size,
        unpacked_size,
        entries,
    })
}

impl From<RootfsError> for PluginError {
    fn from(source: RootfsError) -> Self {
        Self::Rootfs {
            path: PathBuf::new(),
            source,
        }
    }
}

struct Packer<'a, W: Write> {
    tree: &'a Path,
    archive: &'a Path,
    builder: Builder<W>,
    newest: i64,
    /// The first name of every file that has several.
    seen: HashMap<(u64, u64), PathBuf>,
    entries: u64,
    unpacked_size: u64,
    reporter: &'a dyn Reporter,
    cancellation: &'a Cancellation,
}

impl<W: Write> Packer<'_, W> {
    fn add(&mut self, entry: Entry) -> Result<(), PluginError> {
        if self.cancellation.is_cancelled() {
            return Err(PluginError::Cancelled);
        }
        if entry.path.as_os_str().is_empty() {
            // Every rootfs has a root of mode 0755; an archive member for it helps nobody.
            return Ok(());
        }
        let Entry { path, stat, kind } = entry;
        let mut header = Header::new_gnu();
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_mtime(u64::try_from(stat.st_mtime.min(self.newest)).unwrap_or(0));
        header.set_size(0);
        self.entries += 1;

        if stat.st_nlink > 1
            && !matches!(kind, EntryKind::Directory(_))
            && let Some(first) = self.seen.get(&(stat.st_dev, stat.st_ino))
        {
            header.set_entry_type(EntryType::Link);
            let first = first.clone();
            return self
                .builder
                .append_link(&mut header, &path, &first)
                .map_err(self.written());
        }
        if stat.st_nlink > 1 && !matches!(kind, EntryKind::Directory(_)) {
            self.seen.insert((stat.st_dev, stat.st_ino), path.clone());
        }
        let added = match kind {
            EntryKind::Directory(directory) => {
                self.attributes(&directory, &path)?;
                header.set_entry_type(EntryType::Directory);
                self.builder.append_data(&mut header, &path, io::empty())
            }
            EntryKind::File(file) => {
                self.attributes(&file, &path)?;
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                header.set_entry_type(EntryType::Regular);
                header.set_size(size);
                self.unpacked_size += size;
                self.reporter
                    .progress("packing", self.unpacked_size, 0, Unit::Bytes);
                let mut whole = Exactly { file, left: size };
                self.builder.append_data(&mut header, &path, &mut whole)
            }
            EntryKind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                self.builder.append_link(&mut header, &path, &target)
            }
            EntryKind::Fifo => {
                header.set_entry_type(EntryType::Fifo);
                self.builder.append_data(&mut header, &path, io::empty())
            }
            EntryKind::Socket => {
                return Err(PluginError::Unpackable(format!(
                    "`{}` is a socket, left behind by something that ran during the build",
                    path.display()
                )));
            }
            EntryKind::Device { .. } => {
                return Err(PluginError::Unpackable(format!(
                    "`{}` is a device node, which no unprivileged container can use",
                    path.display()
                )));
            }
        };
        added.map_err(self.written())
    }

    /// File capabilities and `user.*`. The rest is the host's business (SELinux labels, ACLs).
    fn attributes(&mut self, file: &File, path: &Path) -> Result<(), PluginError> {
        let read = |source| PluginError::io("read the attributes of", self.tree.join(path))(source);
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        for name in file.list_xattr().map_err(read)? {
            let Some(name) = name.to_str() else { continue };
            if name != CAPABILITY && !name.starts_with("user.") {
                continue;
            }
            if let Some(mut value) = file.get_xattr(name).map_err(read)? {
                if name == CAPABILITY {
                    forget_namespace(&mut value);
                }
                found.push((format!("SCHILY.xattr.{name}"), value));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        found.sort();
        self.builder
            .append_pax_extensions(found.iter().map(|(k, v)| (k.as_str(), v.as_slice())))
            .map_err(self.written())
    }

    fn written(&self) -> impl FnOnce(io::Error) -> PluginError + use<W> {
        let archive = self.archive.to_owned();
        move |source| PluginError::io("write", archive)(source)
    }
}

/// Writes through to `W`, compressed or not.
enum Encoder<W: Write> {
    Plain(W),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    fn new(compression: Compression, writer: W) -> io::Result<Self> {
        if compression == Compression::None {
            return Ok(Self::Plain(writer));
        }
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let mut encoder = zstd::Encoder::new(writer, LEVEL)?;
        encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
        encoder.include_checksum(true)?;
        Ok(Self::Zstd(encoder))
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(writer) => Ok(writer),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(writer) => writer.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Makes a capability that was set in the build's user namespace one of any namespace.
pub(super) fn forget_namespace(value: &mut Vec<u8>) {
    if value.len() > CAPABILITY_2_LENGTH && value[3] == CAPABILITY_REVISION_3 {
        value.truncate(CAPABILITY_2_LENGTH);
        value[3] = CAPABILITY_REVISION_2;
    }
}

/// A file that must hold what it said: one that shrinks would shift all that follows.
struct Exactly {
    file: File,
    left: u64,
}

impl io::Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        match self.file.read(&mut buffer[..want])? {
            0 => Err(io::Error::other("a file shrank while it was packed")),
            got => {
                self.left -= got as u64;
                Ok(got)
            }
        }
    }
}

/// Hashes and counts what it passes on.
pub(super) struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            size: 0,
        }
    }

    pub(super) fn finish(self) -> (String, u64, W) {
        (hex(&self.hasher.finalize()), self.size, self.inner)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn tree(directory: &Path, names: &[&str]) -> PathBuf {
        let tree = directory.join("tree");
        fs::create_dir(&tree).unwrap();
        for name in names {
            fs::write(tree.join(name), name).unwrap();
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o640)).unwrap();
        }
        fs::hard_link(tree.join("a"), tree.join("z-same-as-a")).unwrap();
        tree
    }

    fn packed(names: &[&str]) -> (tempfile::TempDir, Packed) {
        let directory = tempfile::tempdir().unwrap();
        let tree = tree(directory.path(), names);
        let cancellation = Cancellation::new().unwrap();
        let archive = directory.path().join("archive");
        let packed = pack(&tree, &archive, 1000, &Silent, &cancellation).unwrap();
        (directory, packed)
    }

    #[test]
    fn the_same_tree_made_in_another_order_gives_the_same_bytes() {
        let (_one, first) = packed(&["a", "b", "c"]);
        let (_two, second) = packed(&["c", "a", "b"]);
        assert_eq!(first.sha256, second.sha256);
        assert_eq!(first.entries, 4);
        let (_three, other) = packed(&["a", "b", "d"]);
        assert_ne!(first.sha256, other.sha256);
    }

    #[test]
    fn what_is_packed_comes_back() {
        let (directory, packed) = packed(&["a", "b"]);
        let target = directory.path().join("back");
        fs::create_dir(&target).unwrap();
        let unpacked = super::super::unpack::unpack_archive(
            &directory.path().join("archive"),
            &target,
            packed.size,
            &Silent,
            &Cancellation::new().unwrap(),
        )
        .unwrap();
        assert_eq!(unpacked, packed.sha256);
        assert_eq!(fs::read(target.join("z-same-as-a")).unwrap(), b"a");
        let mode = fs::metadata(target.join("b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
    }

    #[test]
    fn a_socket_cannot_be_packed_and_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let tree = tree(directory.path(), &["a"]);
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("s")).unwrap();
        let cancellation = Cancellation::new().unwrap();
        let archive = directory.path().join("archive");
        let error = pack(&tree, &archive, 0, &Silent, &cancellation).unwrap_err();
        assert!(error.to_string().contains("`s` is a socket"), "{error}");
    }

    #[test]
    fn a_capability_of_a_build_namespace_becomes_a_general_one() {
        let mut value = vec![1, 0, 0, 3, 1, 2, 3, 4];
        value.resize(24, 9);
        forget_namespace(&mut value);
        assert_eq!((value.len(), value[3]), (20, 2));
    }
}
