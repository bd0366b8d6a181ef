//! An image's archive as a tree.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use sampan_core::{
    Rootfs, Unit,
    rootfs::{Existing, Kind, Metadata, Placer},
};
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

use super::StoredImage;
use crate::{Cancellation, PluginError, Reporter, download::hex};

/// Unpacks an image into the empty directory `target` and checks its hash on the way.
///
/// # Errors
/// When the archive is not what was written ([`PluginError::Damaged`]) or the tree cannot be
/// written; what is in `target` is then worthless.
pub fn unpack_into(
    image: &StoredImage,
    target: &Path,
    reporter: &dyn Reporter,
    cancellation: &Cancellation,
) -> Result<(), PluginError> {
    let damaged = |reason: String| PluginError::Damaged {
        key: image.key.to_string(),
        reason,
    };
    let size = image.record.size;
    match unpack_archive(&image.path, target, size, reporter, cancellation) {
        Ok(hash) if hash == image.record.sha256 => Ok(()),
        Ok(hash) => Err(damaged(format!(
            "the SHA-256 of {} is {hash}, not {}",
            image.path.display(),
            image.record.sha256
        ))),
        // An archive that cannot be read is most often one whose hash is wrong too.
        Err(PluginError::Io {
            doing: "read",
            source,
            ..
        }) => Err(damaged(format!(
            "{} cannot be read: {source}",
            image.path.display()
        ))),
        Err(error) => Err(error),
    }
}

/// Unpacks and answers with the SHA-256 of the archive.
pub(super) fn unpack_archive(
    archive: &Path,
    target: &Path,
    size: u64,
    reporter: &dyn Reporter,
    cancellation: &Cancellation,
) -> Result<String, PluginError> {
    let read = || PluginError::io("read", archive);
    let file = File::open(archive).map_err(read())?;
    let rootfs = Rootfs::open(target).map_err(PluginError::rootfs(target))?;
    let hashing = Hashing {
        inner: file,
        hasher: Sha256::new(),
        done: 0,
    };
    let decoder = zstd::Decoder::new(hashing).map_err(read())?;
    let mut archive_reader = Archive::new(decoder);
    let mut placer = Placer::new(&rootfs, Existing::Refuse);
    let mut directories = Vec::new();
    let mut done = 0;
    for entry in archive_reader.entries().map_err(read())? {
        if cancellation.is_cancelled() {
            return Err(PluginError::Cancelled);
        }
        let mut entry = entry.map_err(read())?;
        done += entry.header().entry_size().unwrap_or(0);
        reporter.progress("unpacking", done, 0, Unit::Bytes);
        let name = entry.path().map_err(read())?.into_owned();
        let mut metadata = metadata(&mut entry).map_err(read())?;
        let link = entry
            .link_name()
            .map_err(read())?
            .map(|link| link.into_owned());
        let link = link.as_deref();
        let size = entry.size();
        let kind = match (entry.header().entry_type(), link) {
            (EntryType::Directory, _) => {
                // Times of directories come last: placing entries in them changes them.
                directories.push((name.clone(), metadata.clone()));
                Kind::Directory
            }
            (EntryType::Regular, _) => Kind::File {
                size,
                data: &mut entry,
            },
            (EntryType::Symlink, Some(target)) => Kind::Symlink(target),
            (EntryType::Link, Some(target)) => Kind::HardLink(target),
            (EntryType::Fifo, _) => Kind::Fifo,
            (other, _) => {
                let reason = format!("it has an entry of type {other:?}");
                return Err(read()(io::Error::new(io::ErrorKind::InvalidData, reason)));
            }
        };
        if matches!(kind, Kind::Directory) {
            metadata.mode |= 0o700;
        }
        placer
            .place(&name, kind, &metadata)
            .map_err(PluginError::rootfs(target))?;
    }
    for (name, metadata) in directories.iter().rev() {
        placer
            .finish_directory(name, metadata)
            .map_err(PluginError::rootfs(target))?;
    }
    // What follows the archive's end belongs to the hash too.
    let mut hashing = archive_reader.into_inner().finish();
    io::copy(&mut hashing, &mut io::sink()).map_err(read())?;
    let mut hashing = hashing.into_inner();
    io::copy(&mut hashing, &mut io::sink()).map_err(read())?;
    if hashing.done != size {
        return Err(read()(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has {} bytes, not {size}", hashing.done),
        )));
    }
    reporter.progress("unpacking", done, done, Unit::Bytes);
    Ok(hex(&hashing.hasher.finalize()))
}

fn metadata<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Metadata> {
    let mut xattrs = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            let key = extension.key().map_err(io::Error::other)?;
            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    let header = entry.header();
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    Ok(Metadata {
        mode: header.mode()? & 0o7777,
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mtime: i64::try_from(header.mtime()?).map_err(io::Error::other)?,
        xattrs,
    })
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    done: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..got]);
        self.done += got as u64;
        Ok(got)
    }
}
