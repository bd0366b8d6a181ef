//! Reading a .deb: an ar archive of `debian-binary`, `control.tar.*`, `data.tar.*` (deb(5)).

use std::{
    collections::BTreeSet,
    io::{self, Read},
    ops::Range,
};

use crate::{
    Error, Result,
    compression::Compression,
    tarball::{Limits, Tarball},
};

/// No control archive is larger when unpacked: 64 MiB, of which md5sums takes the most.
const CONTROL: Limits = Limits {
    bytes: 64 << 20,
    entries: 1_000,
};

/// Any data archive may be this large when unpacked: 256 MiB.
const DATA_BASE: u64 = 256 << 20;

/// Beyond that it may be this many times as large as the .deb. Packages unfold to 3 to 20 times
/// their size; gzip can make it 1,000 times, xz 7,000.
const DATA_RATIO: u64 = 100;

/// No data archive is larger, whatever the .deb's size: 8 GiB.
const DATA_MOST: u64 = 8 << 30;

/// No data archive has more entries; the largest packages have some hundred thousand.
const DATA_ENTRIES: u32 = 500_000;

/// A .deb in memory.
#[derive(Debug)]
pub struct Deb {
    what: String,
    bytes: Vec<u8>,
    control: (Compression, Range<usize>),
    data: (Compression, Range<usize>),
    limits: Limits,
}

/// A file of the control archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlMember {
    /// Its name, such as `postinst`.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// Its modification time.
    pub mtime: i64,
}

impl Deb {
    /// Finds the members; `what` names the package in errors.
    pub fn parse(bytes: Vec<u8>, what: &str) -> Result<Self> {
        let bad = |reason: &str| Error::malformed(format!("the .deb of {what}"), reason);
        let members = ar_members(&bytes).ok_or_else(|| bad("it is not an ar archive"))?;
        let mut members = members.into_iter();
        let format = members.next().filter(|(name, _)| name == "debian-binary");
        let version = format.and_then(|(_, range)| bytes.get(range));
        if !version.is_some_and(|version| version.starts_with(b"2.")) {
            return Err(bad("it is not of format 2"));
        }
        // deb(5): members whose name begins with an underscore may be passed over, others not.
        let mut members = members.filter(|(name, _)| !name.starts_with('_'));
        let mut member = |stem: &str| {
            let (name, range) = members.next()?;
            Some((Compression::of(&name, stem)?, range))
        };
        let control =
            member("control.tar").ok_or_else(|| bad("it has no control.tar we can read"))?;
        let data = member("data.tar").ok_or_else(|| bad("it has no data.tar we can read"))?;
        // By the size of the .deb only: what a package says of itself is as good as the package.
        let ratio = DATA_RATIO.saturating_mul(bytes.len() as u64);
        let limits = Limits {
            bytes: DATA_BASE.saturating_add(ratio).min(DATA_MOST),
            entries: DATA_ENTRIES,
        };
        Ok(Self {
            what: what.to_owned(),
            limits,
            bytes,
            control,
            data,
        })
    }

    /// The files of the control archive, in order.
    pub fn control(&self) -> Result<Vec<ControlMember>> {
        let read = || -> io::Result<Vec<ControlMember>> {
            let mut members = Vec::new();
            let mut names = BTreeSet::new();
            let (compression, range) = &self.control;
            let reader = compression.reader(&self.bytes[range.clone()], with_headers(CONTROL))?;
            for entry in Tarball::new(reader, CONTROL).entries()? {
                let mut entry = entry?;
                if entry.header().entry_type().is_dir() {
                    continue;
                }
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                let name = name.trim_start_matches("./").to_owned();
                let refuse = |reason: &str| {
                    let name = name.escape_debug();
                    Err(io::Error::other(format!(
                        "its control archive has `{name}`, {reason}"
                    )))
                };
                if !entry.header().entry_type().is_file() {
                    return refuse("which is no file");
                }
                // A dot would let one package's files in dpkg's database take another's names.
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_+".contains(&b);
                if name.is_empty() || name.len() > 100 || !name.bytes().all(plain) {
                    return refuse("which cannot be the name of a control file");
                }
                if !names.insert(name.clone()) {
                    return refuse("twice");
                }
                let mut bytes = Vec::new();
                let size = entry.size();
                entry.read_to_end(&mut bytes)?;
                if bytes.len() as u64 != size {
                    return refuse("whose contents are cut off");
                }
                members.push(ControlMember {
                    name,
                    bytes,
                    mode: entry.header().mode()? & 0o777,
                    mtime: mtime(entry.header())?,
                });
            }
            Ok(members)
        };
        read().map_err(|error| self.error(&error))
    }

    /// The data archive, unpacked as it is read.
    pub fn data(&self) -> Result<Tarball<'_>> {
        self.data_bytes().map(|bytes| self.decoded(bytes))
    }

    /// The data archive as it is decoded.
    pub fn data_bytes(&self) -> Result<Box<dyn Read + '_>> {
        let (compression, range) = &self.data;
        compression
            .reader(&self.bytes[range.clone()], with_headers(self.limits))
            .map_err(|error| self.error(&error))
    }

    /// What [`Deb::data_bytes`] gave, read under the limits of this .deb.
    pub fn decoded<'b>(&self, bytes: Box<dyn Read + 'b>) -> Tarball<'b> {
        Tarball::new(bytes, self.limits)
    }

    /// Frees the memory that the archive takes; from then on it is empty.
    pub fn forget_data(&mut self) {
        self.bytes = Vec::new();
        self.control.1 = 0..0;
        self.data.1 = 0..0;
    }

    /// Wraps a failure to read from [`Deb::data`].
    pub fn error(&self, error: &io::Error) -> Error {
        Error::malformed(format!("the .deb of {}", self.what), error.to_string())
    }
}

/// How many bytes of tar archive these limits can take: headers and fillers are up to two blocks
/// an entry, and a long name is up to ten.
fn with_headers(limits: Limits) -> u64 {
    let around = 2 * 1024 * u64::from(limits.entries);
    limits.bytes.saturating_add(around)
}

/// The modification time of an entry; what does not fit counts as 1970.
pub(crate) fn mtime(header: &tar::Header) -> io::Result<i64> {
    Ok(i64::try_from(header.mtime()?).unwrap_or(0))
}

/// Names and places of an ar archive's members; `None` when it is not one.
fn ar_members(bytes: &[u8]) -> Option<Vec<(String, Range<usize>)>> {
    let mut rest = bytes.strip_prefix(b"!<arch>\n")?;
    let mut members = Vec::new();
    while !rest.is_empty() {
        let header = rest.get(..60)?;
        if &header[58..60] != b"`\n" {
            return None;
        }
        let name = std::str::from_utf8(&header[..16]).ok()?.trim_end();
        let name = name.strip_suffix('/').unwrap_or(name).to_owned();
        let size = std::str::from_utf8(&header[48..58]).ok()?.trim_end();
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let size: usize = size.parse().ok()?;
        let start = bytes.len() - rest.len() + 60;
        let end = start.checked_add(size)?;
        bytes.get(start..end)?;
        members.push((name, start..end));
        // Members begin at even offsets; the last one's filler may be missing.
        rest = bytes.get(end + size % 2..).unwrap_or_default();
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::DebBuilder;
    use proptest::prelude::*;

    #[test]
    fn every_compression_is_read() {
        for kind in [
            Compression::None,
            Compression::Gzip,
            Compression::Xz,
            Compression::Zstd,
        ] {
            let bytes = DebBuilder::new("hello", "1.0")
                .compression(kind)
                .control_file("postinst", "#!/bin/sh\n", 0o755)
                .file("usr/bin/hello", "hello\n", 0o755)
                .build();
            let deb = Deb::parse(bytes, "hello").unwrap();
            let control = deb.control().unwrap();
            let names: Vec<&str> = control.iter().map(|member| &*member.name).collect();
            assert_eq!(names, ["control", "postinst"]);
            assert_eq!(control[1].mode, 0o755);
            let mut archive = deb.data().unwrap();
            let paths: Vec<String> = archive
                .entries()
                .unwrap()
                .map(|entry| String::from_utf8(entry.unwrap().name).unwrap())
                .collect();
            assert!(
                paths.iter().any(|path| path.ends_with("usr/bin/hello")),
                "{paths:?}"
            );
        }
    }

    #[test]
    fn a_cut_off_deb_is_refused() {
        let bytes = DebBuilder::new("hello", "1.0").build();
        for length in [0, 7, 8, 60, 70, bytes.len() - 10] {
            assert!(
                Deb::parse(bytes[..length].to_vec(), "hello").is_err(),
                "{length}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Deb::parse(bytes, "p");
        }

        #[test]
        fn changed_bytes_make_no_panic(at in 0_usize..2000, byte: u8) {
            let mut bytes = DebBuilder::new("hello", "1.0").file("a", "b", 0o644).build();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(deb) = Deb::parse(bytes, "p") {
                let _ = deb.control();
                if let Ok(mut archive) = deb.data() {
                    for entry in archive.entries().into_iter().flatten() {
                        let _ = entry;
                    }
                }
            }
        }
    }
}
