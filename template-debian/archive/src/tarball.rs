//! The tar archives in a .deb, read as dpkg reads them and no further.
//!
//! dpkg knows the formats of 1988 and GNU's long names, nothing else. Extensions that it refuses
//! (pax headers, sparse files, multiple volumes) are refused here too: they can give one entry two
//! names or sizes, and a sparse file of one block unfolds to any size without a byte being read.

use std::io::{self, Read};

use tar::EntryType;

use crate::compression::amount;

/// No name is longer: PATH_MAX with its NUL.
const NAME_LIMIT: u64 = 4096;

/// An archive that is read once, from its beginning.
pub struct Tarball<'b> {
    archive: tar::Archive<Box<dyn Read + 'b>>,
    limits: Limits,
}

/// How much an archive may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// All contents together, in bytes.
    pub bytes: u64,
    /// Entries.
    pub entries: u32,
}

impl<'b> Tarball<'b> {
    pub(crate) fn new(reader: Box<dyn Read + 'b>, limits: Limits) -> Self {
        Self {
            archive: tar::Archive::new(reader),
            limits,
        }
    }

    /// The entries, once.
    pub fn entries(&mut self) -> io::Result<Entries<'_, Box<dyn Read + 'b>>> {
        Ok(Entries {
            raw: self.archive.entries()?.raw(true),
            limits: self.limits,
            bytes: 0,
            count: 0,
            failed: false,
        })
    }
}

/// One after another; nothing follows an error.
pub struct Entries<'a, R: Read> {
    raw: tar::Entries<'a, R>,
    limits: Limits,
    bytes: u64,
    count: u32,
    failed: bool,
}

/// An entry whose header is read and whose contents are not.
pub struct Entry<'a, R: Read> {
    /// Its name, as the archive has it.
    pub name: Vec<u8>,
    /// What a link points to; empty for others.
    pub target: Vec<u8>,
    raw: tar::Entry<'a, R>,
}

impl<R: Read> Entry<'_, R> {
    /// Owner, mode, time and kind.
    pub fn header(&self) -> &tar::Header {
        self.raw.header()
    }

    /// How many bytes of contents there are; nothing but files has any.
    pub fn size(&self) -> u64 {
        self.raw.size()
    }
}

impl<R: Read> Read for Entry<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.raw.read(buffer)
    }
}

impl<'a, R: Read> Entries<'a, R> {
    fn read(&mut self) -> io::Result<Option<Entry<'a, R>>> {
        let (mut name, mut target) = (None, None);
        loop {
            let Some(raw) = self.raw.next() else {
                return match (name, target) {
                    (None, None) => Ok(None),
                    _ => Err(io::Error::other("its last entry is a name of nothing")),
                };
            };
            let mut raw = raw?;
            self.count += 1;
            if self.count > self.limits.entries {
                let most = self.limits.entries;
                return Err(io::Error::other(format!("it has more than {most} entries")));
            }
            let long = match raw.header().entry_type() {
                EntryType::GNULongName => &mut name,
                EntryType::GNULongLink => &mut target,
                _ => return self.finish(raw, name, target).map(Some),
            };
            if long.is_some() {
                return Err(io::Error::other("it has an entry with two names"));
            }
            *long = Some(long_name(&mut raw)?);
        }
    }

    fn finish(
        &mut self,
        raw: tar::Entry<'a, R>,
        name: Option<Vec<u8>>,
        target: Option<Vec<u8>>,
    ) -> io::Result<Entry<'a, R>> {
        let header = raw.header();
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let shown = || String::from_utf8_lossy(&name).escape_debug().to_string();
        let kind = header.entry_type();
        let refuse = |reason: String| {
            let shown = shown();
            Err(io::Error::other(format!("its entry `{shown}` {reason}")))
        };
        if name.is_empty() {
            return refuse("has no name".to_owned());
        }
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        match kind {
            EntryType::Regular => {
                // By what it says, before a byte of it is unpacked.
                self.bytes = self.bytes.saturating_add(raw.size());
                if self.bytes > self.limits.bytes {
                    let (size, most) = (amount(raw.size()), amount(self.limits.bytes));
                    return refuse(format!(
                        "of {size} is too large: the archive may unfold to {most}"
                    ));
                }
            }
            EntryType::Directory
            | EntryType::Symlink
            | EntryType::Link
            | EntryType::Fifo
            | EntryType::Char
            | EntryType::Block => {
                if raw.size() != 0 {
                    return refuse("has contents but is no file".to_owned());
                }
            }
            other => {
                let code = char::from(other.as_byte()).escape_debug().to_string();
                return refuse(format!("is of type `{code}`, which packages may not have"));
            }
        }
        let target = match is_link {
            true => target.unwrap_or_else(|| {
                let target = header.link_name_bytes();
                target.map(Vec::from).unwrap_or_default()
            }),
            false if target.is_some() => return refuse("points elsewhere but is no link".into()),
            false => Vec::new(),
        };
        if is_link && target.is_empty() {
            return refuse("is a link to nothing".to_owned());
        }
        Ok(Entry { name, target, raw })
    }
}

impl<'a, R: Read> Iterator for Entries<'a, R> {
    type Item = io::Result<Entry<'a, R>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let read = self.read().transpose();
        self.failed = matches!(read, Some(Err(_)));
        read
    }
}

/// The contents of a GNU long name: up to the first NUL.
fn long_name(raw: &mut tar::Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    let size = raw.size();
    if size > NAME_LIMIT {
        return Err(io::Error::other(format!(
            "it has a name of {}, more than the {NAME_LIMIT} bytes that a name may have",
            amount(size)
        )));
    }
    let mut name = Vec::new();
    raw.read_to_end(&mut name)?;
    if name.len() as u64 != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if let Some(end) = name.iter().position(|byte| *byte == 0) {
        name.truncate(end);
    }
    if name.is_empty() {
        return Err(io::Error::other("it has an empty long name"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
