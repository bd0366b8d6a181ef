//! One entry of a package's data archive, on its way into the tree.

use std::{
    ffi::OsString,
    io::{self, Read},
    os::unix::ffi::OsStringExt,
    path::{Component, Path, PathBuf},
};

use md5::{Digest, Md5};
use sampan_core::rootfs::{Kind, Metadata, Placer, Rootfs, RootfsError};

use super::Layout;
use crate::{deb::mtime, source::hex, tarball};

/// An entry whose header is read and whose contents are not.
pub(super) struct Entry<'e, 'a, R: Read> {
    /// As dpkg lists it: `/usr/bin/env`, and `/.` for the root.
    pub listed: String,
    /// Below the root, with the links of a merged /usr followed.
    pub path: PathBuf,
    /// Owner, mode and time.
    pub metadata: Metadata,
    kind: tar::EntryType,
    target: PathBuf,
    reader: &'e mut tarball::Entry<'a, R>,
}

impl<'e, 'a, R: Read> Entry<'e, 'a, R> {
    /// Reads the header, and refuses names that the tree or dpkg's lists cannot hold.
    pub(super) fn read(reader: &'e mut tarball::Entry<'a, R>, layout: Layout) -> io::Result<Self> {
        let shown = || {
            String::from_utf8_lossy(&reader.name)
                .escape_debug()
                .to_string()
        };
        let bad = |reason| io::Error::other(format!("its file name `{}` {reason}", shown()));
        let text = std::str::from_utf8(&reader.name).map_err(|_| bad("is not UTF-8"))?;
        if text.contains(char::is_control) {
            return Err(bad("has a control character"));
        }
        if Path::new(text)
            .components()
            .any(|c| c == Component::ParentDir)
        {
            return Err(bad("leads out of the tree"));
        }
        let plain = text.trim_start_matches("./").trim_start_matches('/');
        let plain = plain.trim_end_matches('/');
        let listed = match plain {
            "" | "." => "/.".to_owned(),
            plain => format!("/{plain}"),
        };
        let header = reader.header();
        let number = |value: io::Result<u64>| -> io::Result<u32> {
            u32::try_from(value?).map_err(|_| io::Error::other("an owner's id is too large"))
        };
        let metadata = Metadata {
            mode: header.mode()? & 0o7777,
            uid: number(header.uid())?,
            gid: number(header.gid())?,
            mtime: mtime(header)?,
            xattrs: Vec::new(),
        };
        Ok(Self {
            path: layout.path(Path::new(plain)),
            kind: header.entry_type(),
            target: OsString::from_vec(reader.target.clone()).into(),
            listed,
            metadata,
            reader,
        })
    }

    /// Whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.kind.is_dir()
    }

    /// Whether it is the root of the tree.
    pub(super) fn is_root(&self) -> bool {
        self.listed == "/."
    }

    /// Whether it is a link, and one to the same target is in its place.
    pub(super) fn is_link_that_stands(&self, rootfs: &Rootfs) -> bool {
        self.kind.is_symlink()
            && rootfs
                .read_link(&self.path)
                .is_ok_and(|target| target == self.target)
    }

    /// Places it, and answers with the MD5 of its contents if that is wanted and it is a file.
    pub(super) fn place(
        self,
        placer: &mut Placer<'_>,
        hash: bool,
    ) -> Result<Option<String>, RootfsError> {
        // The newline that dpkg's lists cannot hold is refused by the placer; the full name is
        // given so that its error shows what the archive says.
        let name = Path::new(&self.listed);
        let size = self.reader.size();
        let mut hashed = Hashed {
            inner: self.reader,
            digest: hash.then(Md5::new),
        };
        let kind = match self.kind {
            tar::EntryType::Directory => Kind::Directory,
            tar::EntryType::Symlink => Kind::Symlink(&self.target),
            tar::EntryType::Link => Kind::HardLink(&self.target),
            tar::EntryType::Fifo => Kind::Fifo,
            tar::EntryType::Block | tar::EntryType::Char => Kind::Device {
                block: self.kind == tar::EntryType::Block,
                // Which one does not matter: the placer refuses them all.
                device: 0,
            },
            _ => Kind::File {
                size,
                data: &mut hashed,
            },
        };
        let is_file = matches!(kind, Kind::File { .. });
        placer.place(name, kind, &self.metadata)?;
        Ok(hashed
            .digest
            .filter(|_| is_file)
            .map(|digest| hex(&digest.finalize())))
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    digest: Option<Md5>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        if let Some(digest) = &mut self.digest {
            digest.update(&buffer[..got]);
        }
        Ok(got)
    }
}
