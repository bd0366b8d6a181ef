//! Made-up .debs.

use std::{fmt::Write as _, io::Write as _, path::Path};

use sha2::{Digest, Sha256};

use crate::{compression::Compression, source::hex};

/// The time of every entry: the builder's output depends on nothing else.
const MTIME: u64 = 1_600_000_000;

/// A .deb in the making.
#[derive(Debug, Clone)]
pub struct DebBuilder {
    name: String,
    version: String,
    arch: String,
    fields: Vec<(String, String)>,
    control: Vec<(String, Vec<u8>, u32)>,
    entries: Vec<Entry>,
    compression: Compression,
    data: Option<Vec<u8>>,
    members: Vec<(String, Vec<u8>)>,
    archived_as: Option<(String, String, String)>,
}

#[derive(Debug, Clone)]
struct Entry {
    path: String,
    kind: tar::EntryType,
    contents: Vec<u8>,
    target: String,
    mode: u32,
    /// Whether `path` is written as it is, without parents and `./`.
    raw: bool,
}

impl DebBuilder {
    /// A package for every architecture, without files.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: "all".to_owned(),
            fields: Vec::new(),
            control: Vec::new(),
            entries: Vec::new(),
            compression: Compression::Xz,
            data: None,
            members: Vec::new(),
            archived_as: None,
        }
    }

    /// The same package for one architecture.
    #[must_use]
    pub fn arch(mut self, arch: &str) -> Self {
        self.arch = arch.to_owned();
        self
    }

    /// The same package with one more field, such as Depends or Priority, in its control file
    /// and in the archive's list.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same package with another compression of its members.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The same package with a file in its control archive, such as `postinst`.
    #[must_use]
    pub fn control_file(mut self, name: &str, contents: impl AsRef<[u8]>, mode: u32) -> Self {
        let contents = contents.as_ref().to_vec();
        self.control.push((name.to_owned(), contents, mode));
        self
    }

    /// The same package with a file; directories on the way come with it.
    #[must_use]
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>, mode: u32) -> Self {
        self.entry(
            path,
            tar::EntryType::Regular,
            contents.as_ref(),
            "",
            mode,
            false,
        )
    }

    /// The same package with a directory.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, tar::EntryType::Directory, b"", "", mode, false)
    }

    /// The same package with a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, b"", target, 0o777, false)
    }

    /// The same package with a hard link.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Link, b"", target, 0o644, false)
    }

    /// The same package with a file whose name is written as it is, hostile or not.
    #[must_use]
    pub fn raw_entry(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.entry(
            path,
            tar::EntryType::Regular,
            contents.as_ref(),
            "",
            0o644,
            true,
        )
    }

    /// The same package with an entry of any sort, its name and target written as they are.
    #[must_use]
    pub fn raw_kind(self, path: &str, kind: tar::EntryType, target: &str) -> Self {
        self.entry(path, kind, b"", target, 0o644, true)
    }

    /// The same package with this tar archive for its data.
    #[must_use]
    pub fn data_tar(mut self, archive: impl Into<Vec<u8>>) -> Self {
        self.data = Some(archive.into());
        self
    }

    /// The same package with these bytes for a member such as `data.tar.xz`, whatever they are.
    #[must_use]
    pub fn member(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.members.push((name.to_owned(), bytes.into()));
        self
    }

    /// The same package, which the archive's list and the file's name say is another one.
    #[must_use]
    pub fn archived_as(mut self, name: &str, version: &str, arch: &str) -> Self {
        self.archived_as = Some((name.to_owned(), version.to_owned(), arch.to_owned()));
        self
    }

    fn entry(
        mut self,
        path: &str,
        kind: tar::EntryType,
        contents: &[u8],
        target: &str,
        mode: u32,
        raw: bool,
    ) -> Self {
        self.entries.push(Entry {
            path: path.to_owned(),
            kind,
            contents: contents.to_vec(),
            target: target.to_owned(),
            mode,
            raw,
        });
        self
    }

    /// Its file's name in the archive.
    pub fn file_name(&self) -> String {
        let (name, version, arch) = self.identity();
        format!("{name}_{version}_{arch}.deb")
    }

    /// Whether the list of this architecture has it.
    pub fn is_for(&self, arch: &str) -> bool {
        let of = self.identity().2;
        of == arch || of == "all"
    }

    /// Its stanza in a Packages file, its file lying in the archive's root.
    pub fn stanza(&self, deb: &[u8]) -> String {
        self.stanza_in("", deb)
    }

    /// Its stanza in a Packages file, its file lying in `directory` (with a `/` at its end).
    pub fn stanza_in(&self, directory: &str, deb: &[u8]) -> String {
        let mut stanza = self.fields_text(self.identity());
        let _ = write!(
            stanza,
            "Filename: {directory}{}\nSize: {}\nSHA256: {}\n\n",
            self.file_name(),
            deb.len(),
            hex(&Sha256::digest(deb))
        );
        stanza
    }

    /// The .deb.
    pub fn build(self) -> Vec<u8> {
        let own = (&*self.name, &*self.version, &*self.arch);
        let control_text = self.fields_text(own) + "Description: made up for a test\n";
        let mut control = tar::Builder::new(Vec::new());
        let members = std::iter::once(("control".to_owned(), control_text.into_bytes(), 0o644));
        for (name, contents, mode) in members.chain(self.control) {
            let mut header = header(tar::EntryType::Regular, contents.len(), mode);
            control
                .append_data(&mut header, format!("./{name}"), &contents[..])
                .expect("tar into memory");
        }
        let mut data = tar::Builder::new(Vec::new());
        let mut made = std::collections::BTreeSet::new();
        append_directory(&mut data, ".", 0o755, &mut made);
        for entry in self.entries {
            append(&mut data, &entry, &mut made);
        }
        let extension = match self.compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Xz => ".xz",
            Compression::Zstd => ".zst",
        };
        let control = control.into_inner().expect("tar into memory");
        let data = self
            .data
            .unwrap_or_else(|| data.into_inner().expect("tar into memory"));
        let mut members = vec![
            ("debian-binary".to_owned(), b"2.0\n".to_vec()),
            (
                format!("control.tar{extension}"),
                compress(self.compression, &control),
            ),
            (
                format!("data.tar{extension}"),
                compress(self.compression, &data),
            ),
        ];
        for (name, bytes) in self.members {
            let stem = |name: &str| name.split('.').next().map(str::to_owned);
            match members
                .iter()
                .position(|(other, _)| stem(other) == stem(&name))
            {
                Some(index) => members[index] = (name, bytes),
                None => members.push((name, bytes)),
            }
        }
        ar(&members)
    }

    /// Name, version and architecture, as the archive knows them.
    fn identity(&self) -> (&str, &str, &str) {
        match &self.archived_as {
            Some((name, version, arch)) => (name, version, arch),
            None => (&self.name, &self.version, &self.arch),
        }
    }

    fn fields_text(&self, (name, version, arch): (&str, &str, &str)) -> String {
        let mut text = format!("Package: {name}\nVersion: {version}\nArchitecture: {arch}\n");
        for (name, value) in &self.fields {
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }
}

/// Compresses, quickly rather than well.
pub fn compress(kind: Compression, bytes: &[u8]) -> Vec<u8> {
    match kind {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).expect("gzip into memory");
            encoder.finish().expect("gzip into memory")
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(bytes).expect("xz into memory");
            encoder.finish().expect("xz into memory")
        }
        Compression::Zstd => zstd::encode_all(bytes, 1).expect("zstd into memory"),
    }
}

/// A tar header, for archives that are made by hand; `size` need not be true.
pub fn tar_header(name: &str, kind: tar::EntryType, size: u64) -> Vec<u8> {
    let mut header = header(kind, 0, 0o644);
    header.set_size(size);
    set_name(&mut header, name);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// `prefix`, and after it `zeros` MiB of zeros, compressed: small to have, large to read. What
/// follows the prefix is put together of streams of 64 MiB, which all decoders read as one.
pub fn bomb(kind: Compression, prefix: &[u8], zeros: usize) -> Vec<u8> {
    let mut out = compress(kind, prefix);
    let piece = compress(kind, &vec![0; 64 << 20]);
    for _ in 0..zeros.div_ceil(64) {
        out.extend_from_slice(&piece);
    }
    out
}

fn header(kind: tar::EntryType, size: usize, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

type Made = std::collections::BTreeSet<String>;

fn append_directory(data: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, made: &mut Made) {
    if made.insert(path.to_owned()) {
        let mut header = header(tar::EntryType::Directory, 0, mode);
        // By hand: append_data would take the `./` away.
        let name = if path == "." {
            "./".to_owned()
        } else {
            format!("./{path}/")
        };
        set_name(&mut header, &name);
        header.set_cksum();
        data.append(&header, &[][..]).expect("tar into memory");
    }
}

fn append(data: &mut tar::Builder<Vec<u8>>, entry: &Entry, made: &mut Made) {
    if !entry.raw {
        let parents: Vec<&Path> = Path::new(&entry.path).ancestors().skip(1).collect();
        for parent in parents.iter().rev().filter(|p| !p.as_os_str().is_empty()) {
            append_directory(data, &parent.to_string_lossy(), 0o755, made);
        }
    }
    if entry.kind == tar::EntryType::Directory {
        append_directory(data, &entry.path, entry.mode, made);
        return;
    }
    made.insert(entry.path.clone());
    let mut header = header(entry.kind, entry.contents.len(), entry.mode);
    let prefix = if entry.raw { "" } else { "./" };
    set_name(&mut header, &format!("{prefix}{}", entry.path));
    if !entry.target.is_empty() {
        header
            .set_link_name_literal(&entry.target)
            .expect("a short link");
    }
    header.set_cksum();
    data.append(&header, &entry.contents[..])
        .expect("tar into memory");
}

fn set_name(header: &mut tar::Header, name: &str) {
    let field = &mut header.as_gnu_mut().expect("made as GNU").name;
    assert!(name.len() < field.len(), "{name} is too long for a test");
    field[..name.len()].copy_from_slice(name.as_bytes());
}

/// An ar archive of these members.
pub fn ar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, contents) in members {
        let size = contents.len();
        let header = format!(
            "{name:<16}{MTIME:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
            0, 0, "100644"
        );
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(contents);
        if size % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}
