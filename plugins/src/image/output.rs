//! An image where a person wants it: a directory or an archive outside of the cache.
//!
//! What is built here goes straight to its place: a directory does not pay for packing. Work is
//! done in a hidden directory beside the target, so that one rename makes it appear, whole.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    sys::statvfs::{FsFlags, statvfs},
};
use sampan_core::{Level, PackageRecord, Span};

use super::{
    Freshness, ImageKey, ImageStore, StoredImage, Wanted,
    pack::{Compression, Hashing, pack_as},
    settle::settle,
    store::copy_verified,
    tree::{build_at, build_tree},
    unpack_into,
};
use crate::{
    PluginError, Session,
    staging::{Staging, sweep_beside},
};

/// What an image is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A tree of files.
    Directory,
    /// A tar archive.
    Tar,
    /// A tar archive, compressed with zstd.
    TarZst,
}

impl Form {
    /// The word for it, which is also the ending of an archive's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Tar => "tar",
            Self::TarZst => "tar.zst",
        }
    }
}

/// Where an image is to be written, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    path: PathBuf,
    form: Form,
    replace: bool,
}

/// An image that was written.
#[derive(Debug)]
pub struct Delivered {
    /// Where.
    pub path: PathBuf,
    /// As what.
    pub form: Form,
    /// SHA-256 of an archive.
    pub sha256: Option<String>,
    /// Size of an archive in bytes.
    pub size: Option<u64>,
    /// Whether it was built for this wish, rather than taken from the cache.
    pub built: bool,
    /// The newest modification time in it, seconds since 1970.
    pub source_date_epoch: i64,
    /// What is installed.
    pub packages: Vec<PackageRecord>,
    /// What the template needs to build the same image again; empty when it cannot say.
    pub lock: String,
}

impl Output {
    /// Reads the form from the path: `.tar` and `.tar.zst` are archives, a name without an ending
    /// or one with a slash behind it is a directory. `replace` lets an archive take the place of
    /// a file.
    ///
    /// # Errors
    /// When the ending is another one, or something stands there.
    pub fn new(path: &Path, replace: bool) -> Result<Self, PluginError> {
        let directory = path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let form = match name.rsplit_once('.') {
            _ if directory => Form::Directory,
            _ if name.ends_with(".tar.zst") => Form::TarZst,
            Some((_, "tar")) => Form::Tar,
            // A version, such as debian-12.5, or a hidden name.
            Some((before, ending))
                if !before.is_empty() && !ending.bytes().all(|b| b.is_ascii_digit()) =>
            {
                return Err(refused(
                    path,
                    format!("no archive can be made whose name ends in .{ending}"),
                    "archives end in .tar.zst or .tar; write a slash behind the name of a directory",
                ));
            }
            _ => Form::Directory,
        };
        // Renaming needs the thing itself rather than a link to it or `.`.
        let path = match path.canonicalize() {
            Ok(real) if form == Form::Directory => real,
            _ => std::path::absolute(path).map_err(PluginError::io("find", path))?,
        };
        let output = Self {
            path: path.components().collect(),
            form,
            replace,
        };
        output.check()?;
        Ok(output)
    }

    /// Whether it can be written, as far as can be seen before any work.
    fn check(&self) -> Result<(), PluginError> {
        let path = &self.path;
        let parent = self.parent()?;
        let above = parent
            .metadata()
            .map_err(PluginError::io("look at", parent))?;
        let there = match path.symlink_metadata() {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(PluginError::io("look at", path)(error)),
        };
        match self.form {
            Form::Directory if !there.is_dir() => Err(refused(
                path,
                "there is something that is not a directory",
                "choose another name",
            )),
            Form::Directory if there.dev() != above.dev() => Err(refused(
                path,
                "a file system is mounted there, and a tree comes to its place by being renamed",
                format!("choose a directory in it: {}/rootfs", path.display()),
            )),
            Form::Directory => {
                let mut entries = path.read_dir().map_err(PluginError::io("read", path))?;
                match entries.next() {
                    None => Ok(()),
                    Some(_) => Err(refused(
                        path,
                        "the directory is not empty",
                        "choose another name, or remove it; no option replaces a directory",
                    )),
                }
            }
            _ if there.is_dir() => Err(refused(path, "it is a directory", "choose another name")),
            _ if self.replace => Ok(()),
            _ => Err(exists(path)),
        }
    }

    fn parent(&self) -> Result<&Path, PluginError> {
        self.path
            .parent()
            .ok_or_else(|| refused(&self.path, "it is the root", "choose another name"))
    }

    /// Warns of, or fails for, what the place's file system does not do.
    fn check_file_system(&self, builds: bool) -> Result<Vec<String>, PluginError> {
        let parent = self.parent()?;
        let flags = statvfs(parent)
            .map_err(io::Error::from)
            .map_err(PluginError::io("look at the file system of", parent))?
            .flags();
        if builds && flags.contains(FsFlags::ST_NOEXEC) {
            return Err(refused(
                &self.path,
                "its file system is mounted noexec, and packages run scripts where they are built",
                "write an archive, which is built elsewhere, or choose another directory",
            ));
        }
        let mut warnings = Vec::new();
        for (flag, word, effect) in [
            (FsFlags::ST_NOSUID, "nosuid", "su, sudo and ping"),
            (FsFlags::ST_NOEXEC, "noexec", "all programs"),
        ] {
            if flags.contains(flag) {
                warnings.push(format!(
                    "{} is on a file system mounted {word}: {effect} will not work from there",
                    self.path.display()
                ));
            }
        }
        Ok(warnings)
    }

    /// Gives what was made its name.
    fn place(&self, made: &Path) -> Result<(), PluginError> {
        let failed = PluginError::io("rename the finished image to", &self.path);
        if self.form == Form::Directory || self.replace {
            // A directory replaces nothing but an empty one.
            fs::rename(made, &self.path).map_err(failed)?;
        } else {
            let flags = RenameFlags::RENAME_NOREPLACE;
            match renameat2(AT_FDCWD, made, AT_FDCWD, &self.path, flags) {
                Ok(()) => {}
                Err(Errno::EEXIST) => return Err(exists(&self.path)),
                // A file system that cannot rename so can mostly link, which replaces nothing.
                Err(Errno::EINVAL | Errno::ENOSYS) => {
                    fs::hard_link(made, &self.path).map_err(failed)?;
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        if self.form == Form::Directory {
            return Ok(());
        }
        let parent = self.parent()?;
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(PluginError::io("sync", parent))
    }
}

impl ImageStore {
    /// Writes the image that is wanted to `output`: from the cache when it has a current one,
    /// else built, and then not kept in the cache.
    ///
    /// A directory is not synced: it is as lasting as what `cp` makes. Archives are.
    ///
    /// # Errors
    /// When it cannot be built or written; what stood at `output` is then as it was.
    pub fn deliver(
        &self,
        session: &Session<'_>,
        wanted: Wanted<'_>,
        freshness: Freshness,
        output: &Output,
    ) -> Result<Delivered, PluginError> {
        let image = self.ready(session, wanted, freshness)?;
        if output.form == Form::Directory {
            for warning in output.check_file_system(image.is_none())? {
                session.reporter.log(Level::Warn, &warning);
            }
        }
        for swept in [self.sweep(), sweep_beside(&output.path)] {
            if let Err(error) = swept {
                session.reporter.log(Level::Warn, &error.to_string());
            }
        }
        let staging = Staging::beside(&output.path)?;
        let made = staging.path().join("image");
        let delivered = match image {
            Some(image) => copy(session, &image, output, &made)?,
            None => self.build_to(session, wanted, output, &made)?,
        };
        if session.cancellation.is_cancelled() {
            return Err(PluginError::Cancelled);
        }
        output.place(&made)?;
        Ok(delivered)
    }

    /// The image in the cache, if it will do.
    fn ready(
        &self,
        session: &Session<'_>,
        wanted: Wanted<'_>,
        freshness: Freshness,
    ) -> Result<Option<StoredImage>, PluginError> {
        if freshness == Freshness::Rebuild {
            return Ok(None);
        }
        let key = ImageKey::of(&wanted);
        let image = self.get(&key)?;
        if freshness == Freshness::Offline {
            let template = key.template;
            return image.map(Some).ok_or(PluginError::Offline { template });
        }
        // Without an image nobody needs to know whether it is current.
        let Some(image) = image else { return Ok(None) };
        let fingerprint = session.fingerprint(wanted.template, wanted.options)?;
        Ok((image.record.fingerprint == fingerprint).then_some(image))
    }

    fn build_to(
        &self,
        session: &Session<'_>,
        wanted: Wanted<'_>,
        output: &Output,
        made: &Path,
    ) -> Result<Delivered, PluginError> {
        let (outcome, sha256, size);
        match compression(output.form) {
            None => {
                outcome = build_at(session, wanted, made, None)?;
                let newest = wanted.options.newest(outcome.source_date_epoch);
                settle(made, newest)?;
                (sha256, size) = (None, None);
            }
            Some(compression) => {
                let staging = self.stage()?;
                let tree;
                (tree, outcome) = build_tree(session, wanted, &staging)?;
                let begun = Span::now();
                let packed = pack_as(
                    compression,
                    tree.path(),
                    made,
                    wanted.options.newest(outcome.source_date_epoch),
                    session.reporter,
                    session.cancellation,
                )?;
                session.reporter.span(&Span::since(begun, "pack", ""));
                (sha256, size) = (Some(packed.sha256), Some(packed.size));
            }
        }
        Ok(Delivered {
            path: output.path.clone(),
            form: output.form,
            sha256,
            size,
            built: true,
            source_date_epoch: wanted.options.newest(outcome.source_date_epoch),
            packages: outcome.packages,
            lock: outcome.lock,
        })
    }
}

/// Makes a directory or archive at `made` from an image of the cache.
fn copy(
    session: &Session<'_>,
    image: &StoredImage,
    output: &Output,
    made: &Path,
) -> Result<Delivered, PluginError> {
    let begun = Span::now();
    let write = || PluginError::io("write", made);
    let (mut sha256, mut size) = (None, None);
    match compression(output.form) {
        None => {
            DirBuilder::new()
                .mode(0o755)
                .create(made)
                .map_err(PluginError::io("create", made))?;
            unpack_into(image, made, session.reporter, session.cancellation)?;
            settle(made, image.record.source_date_epoch)?;
        }
        Some(Compression::Zstd) => {
            let mut file = File::create_new(made).map_err(write())?;
            copy_verified(image, &mut file)?;
            file.sync_all().map_err(write())?;
            (sha256, size) = (Some(image.record.sha256.clone()), Some(image.record.size));
        }
        Some(Compression::None) => {
            let file = File::create_new(made).map_err(write())?;
            let hashing = Hashing::new(BufWriter::new(file));
            let mut decoder = zstd::stream::write::Decoder::new(hashing).map_err(write())?;
            copy_verified(image, &mut decoder)?;
            decoder.flush().map_err(write())?;
            let (hash, bytes, buffered) = decoder.into_inner().finish();
            let file = buffered
                .into_inner()
                .map_err(|error| write()(error.into_error()))?;
            file.sync_all().map_err(write())?;
            (sha256, size) = (Some(hash), Some(bytes));
        }
    }
    session
        .reporter
        .span(&Span::since(begun, "unpack image", ""));
    Ok(Delivered {
        path: output.path.clone(),
        form: output.form,
        sha256,
        size,
        built: false,
        source_date_epoch: image.record.source_date_epoch,
        packages: image.record.packages.clone(),
        lock: image.record.lock.clone(),
    })
}

fn compression(form: Form) -> Option<Compression> {
    match form {
        Form::Directory => None,
        Form::Tar => Some(Compression::None),
        Form::TarZst => Some(Compression::Zstd),
    }
}

fn refused(path: &Path, reason: impl Into<String>, hint: impl Into<String>) -> PluginError {
    PluginError::Output {
        path: path.to_owned(),
        reason: reason.into(),
        hint: Some(hint.into()),
    }
}

fn exists(path: &Path) -> PluginError {
    refused(
        path,
        "the file exists",
        "choose another name, or replace it with --force",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(path: &Path) -> Form {
        Output::new(path, false).unwrap().form
    }

    #[test]
    fn the_ending_decides_the_form_and_unknown_ones_are_refused_with_the_known() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(form(&at("a.tar")), Form::Tar);
        assert_eq!(form(&at("a.tar.zst")), Form::TarZst);
        for name in ["a", "debian-12.5", ".hidden", "web.example/"] {
            assert_eq!(form(&at(name)), Form::Directory, "{name}");
        }
        for name in ["a.tar.gz", "a.tgz", "a.zst", "a.img"] {
            let error = Output::new(&at(name), false).unwrap_err();
            assert!(error.hint().unwrap().contains(".tar.zst or .tar"), "{name}");
        }
    }

    #[test]
    fn nothing_that_stands_there_is_replaced_but_a_file_by_force() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("full/etc")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        fs::write(at("a.tar"), "").unwrap();
        fs::write(at("file"), "").unwrap();
        for name in ["full", "file", "a.tar", "nowhere/a.tar", "nowhere/a"] {
            assert!(Output::new(&at(name), false).is_err(), "{name}");
        }
        assert!(Output::new(&at("full"), true).is_err());
        Output::new(&at("empty"), false).unwrap();
        Output::new(&at("a.tar"), true).unwrap();
    }

    #[test]
    fn a_file_that_came_in_the_meantime_stays() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a.tar");
        let output = Output::new(&target, false).unwrap();
        let made = directory.path().join("made");
        fs::write(&made, "ours").unwrap();
        fs::write(&target, "theirs").unwrap();
        assert!(output.place(&made).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
        fs::remove_file(&target).unwrap();
        output.place(&made).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "ours");
    }
}
