//! An image's archive as a tree.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, Sender, SyncSender},
    thread,
};

use sampan_core::{
    Rootfs, Unit,
    rootfs::{Existing, Kind, Metadata, Placer},
};
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

use super::{
    StoredImage,
    files::{Batch, Files, LARGEST},
};
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
///
/// One thread reads, hashes and decodes; this one follows the archive and makes directories and
/// links; several write the files. What refers to files (hard links) or is changed by them (times of
/// directories) comes last.
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
    let (sender, chunks) = mpsc::sync_channel(CHUNKS);
    let (giver, empty) = mpsc::channel();
    let files = Files::new();
    let (unpacked, done) = thread::scope(|scope| {
        let decoding = scope.spawn(move || decode(file, &sender, &empty));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| scope.spawn(|| files.write_all(&rootfs, target)))
            .collect();
        let mut chunks = Chunks::new(chunks, giver);
        let mut unpacking = Unpacking {
            placer: Placer::new(&rootfs, Existing::Refuse),
            target,
            archive,
            files: &files,
            batch: Batch::default(),
            directories: Vec::new(),
            links: Vec::new(),
            done: 0,
        };
        let followed = unpacking.follow(&mut chunks, reporter, cancellation);
        // What follows the archive's end belongs to the hash too.
        let drained = match followed {
            Ok(()) => io::copy(&mut chunks, &mut io::sink()).map(drop),
            Err(_) => Ok(()),
        };
        // A decoder that waits to hand on more must not wait for ever.
        drop(chunks);
        files.close();
        // Each is waited for, also after one has failed.
        let mut written = Ok(());
        for writer in writers {
            written = written.and(writer.join().unwrap_or_else(|_| Err(panicked(archive))));
        }
        let decoded = decoding
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that decodes panicked")));
        // What could not be written is the cause when nothing more was taken.
        written?;
        followed?;
        drained.map_err(read())?;
        let decoded = decoded.map_err(read())?;
        unpacking.finish()?;
        Ok::<_, PluginError>((decoded, unpacking.done))
    })?;
    if unpacked.done != size {
        return Err(read()(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has {} bytes, not {size}", unpacked.done),
        )));
    }
    reporter.progress("unpacking", done, done, Unit::Bytes);
    Ok(hex(&unpacked.hasher.finalize()))
}

/// How many threads write files.
const WRITERS: usize = 3;
/// How much is decoded ahead, in pieces of [`CHUNK`] bytes.
const CHUNKS: usize = 16;
const CHUNK: usize = 256 << 10;

fn panicked(archive: &Path) -> PluginError {
    PluginError::io("unpack", archive)(io::Error::other("a thread that writes files panicked"))
}

/// Reads the archive to its end and hands on what is in it.
/// Chunks that come back are used again.
fn decode(
    file: File,
    sender: &SyncSender<Chunk>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<Hashing<File>> {
    let hashing = Hashing {
        inner: file,
        hasher: Sha256::new(),
        done: 0,
    };
    let mut decoder = zstd::Decoder::new(hashing)?;
    loop {
        let mut bytes = empty.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let mut used = 0;
        while used < bytes.len() {
            match decoder.read(&mut bytes[used..])? {
                0 => break,
                got => used += got,
            }
        }
        if used == 0 {
            break;
        }
        // Nobody takes it: the other side has failed and says why.
        if sender.send(Chunk { bytes, used }).is_err() {
            break;
        }
    }
    let mut buffered = decoder.finish();
    io::copy(&mut buffered, &mut io::sink())?;
    let mut hashing = buffered.into_inner();
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(hashing)
}

/// A piece of the decoded archive.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    used: usize,
}

/// The decoded archive as the other thread hands it on.
struct Chunks {
    receiver: Receiver<Chunk>,
    giver: Sender<Vec<u8>>,
    chunk: Chunk,
    /// How much of the chunk has been read.
    at: usize,
}

impl Chunks {
    fn new(receiver: Receiver<Chunk>, giver: Sender<Vec<u8>>) -> Self {
        Self {
            receiver,
            giver,
            chunk: Chunk::default(),
            at: 0,
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = buffer.len().min(self.chunk.used - self.at);
            if got > 0 || buffer.is_empty() {
                buffer[..got].copy_from_slice(&self.chunk.bytes[self.at..self.at + got]);
                self.at += got;
                return Ok(got);
            }
            match self.receiver.recv() {
                Ok(chunk) => {
                    let read = std::mem::replace(&mut self.chunk, chunk);
                    self.at = 0;
                    if !read.bytes.is_empty() {
                        // A decoder that has ended needs none.
                        let _ = self.giver.send(read.bytes);
                    }
                }
                // The end; or the decoder failed, which its own result tells.
                Err(_) => return Ok(0),
            }
        }
    }
}

/// Follows the archive's entries.
struct Unpacking<'a> {
    placer: Placer<'a>,
    target: &'a Path,
    archive: &'a Path,
    files: &'a Files,
    batch: Batch,
    directories: Vec<(PathBuf, Metadata)>,
    links: Vec<(PathBuf, PathBuf, Metadata)>,
    done: u64,
}

impl Unpacking<'_> {
    fn follow(
        &mut self,
        chunks: &mut Chunks,
        reporter: &dyn Reporter,
        cancellation: &Cancellation,
    ) -> Result<(), PluginError> {
        let archive = self.archive;
        let read = || PluginError::io("read", archive);
        let mut reader = Archive::new(chunks);
        for entry in reader.entries().map_err(read())? {
            if cancellation.is_cancelled() {
                return Err(PluginError::Cancelled);
            }
            let mut entry = entry.map_err(read())?;
            self.done += entry.header().entry_size().unwrap_or(0);
            reporter.progress("unpacking", self.done, 0, Unit::Bytes);
            let name = entry.path().map_err(read())?.into_owned();
            let mut metadata = metadata(&mut entry).map_err(read())?;
            let link = entry
                .link_name()
                .map_err(read())?
                .map(|link| link.into_owned());
            let size = entry.size();
            let kind = match (entry.header().entry_type(), &link) {
                (EntryType::Directory, _) => {
                    self.directories.push((name.clone(), metadata.clone()));
                    metadata.mode |= 0o700;
                    Kind::Directory
                }
                (EntryType::Regular, _) if size <= LARGEST => {
                    let batch = &mut self.batch;
                    batch
                        .read(name, metadata, size as usize, &mut entry)
                        .map_err(read())?;
                    if batch.is_full() {
                        let full = std::mem::take(batch);
                        let Some(next) = self.files.hand_on(full) else {
                            // A writer has failed and says why.
                            return Ok(());
                        };
                        self.batch = next;
                    }
                    continue;
                }
                (EntryType::Regular, _) => Kind::File {
                    size,
                    data: &mut entry,
                },
                (EntryType::Symlink, Some(target)) => Kind::Symlink(target),
                (EntryType::Link, Some(target)) => {
                    self.links.push((name, target.clone(), metadata));
                    continue;
                }
                (EntryType::Fifo, _) => Kind::Fifo,
                (other, _) => {
                    let reason = format!("it has an entry of type {other:?}");
                    return Err(read()(io::Error::new(io::ErrorKind::InvalidData, reason)));
                }
            };
            self.placer
                .place(&name, kind, &metadata)
                .map_err(PluginError::rootfs(self.target))?;
        }
        // Whether somebody takes the last one, the writers say.
        let _ = self.files.hand_on(std::mem::take(&mut self.batch));
        Ok(())
    }

    /// What the files must be there for.
    fn finish(&mut self) -> Result<(), PluginError> {
        for (name, to, metadata) in &self.links {
            self.placer
                .place(name, Kind::HardLink(to), metadata)
                .map_err(PluginError::rootfs(self.target))?;
        }
        for (name, metadata) in self.directories.iter().rev() {
            self.placer
                .finish_directory(name, metadata)
                .map_err(PluginError::rootfs(self.target))?;
        }
        Ok(())
    }
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
