//! What templates say of themselves, kept so that no worker has to be started to hear it again.
//!
//! DIRECTORY/TEMPLATE.json holds for one library, read by one program: both as they were when the
//! template spoke. It was asked in a worker that did nothing else, so whatever a template does in a
//! build, it can only say of itself what it would say anyway.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sampan_core::Description;
use serde::{Deserialize, Serialize};

use crate::notes;

/// A file may be written twice within one tick of its file system's clock, and the second time does
/// not show. What was changed this recently is not remembered.
const SETTLED: Duration = Duration::from_secs(2);

/// The descriptions of all templates.
#[derive(Debug, Clone)]
pub struct Descriptions {
    directory: PathBuf,
}

/// A library and the program that reads it, as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    library: FileIdentity,
    program: FileIdentity,
}

/// A file that is changed or replaced is another: only who can set the clock could hide that, since
/// no call sets a change time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Serialize, Deserialize)]
struct Note {
    identity: Identity,
    abi_version: String,
    description: Description,
}

impl Descriptions {
    /// Kept in `directory`, which is made when there is something to keep.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// ABI version and description of the template `name`, if exactly this library told them.
    pub(crate) fn recall(&self, name: &str, identity: &Identity) -> Option<(String, Description)> {
        let note: Note = notes::read(&self.path(name))?;
        let same = note.identity == *identity && note.description.name == name;
        same.then_some((note.abi_version, note.description))
    }

    /// Keeps what a template told. `identity` is from before it was asked.
    pub(crate) fn keep(
        &self,
        name: &str,
        identity: &Identity,
        abi_version: &str,
        description: &Description,
    ) {
        if !identity.is_settled(SystemTime::now()) {
            return;
        }
        let note = Note {
            identity: identity.clone(),
            abi_version: abi_version.to_owned(),
            description: description.clone(),
        };
        // Then the next one asks as well.
        let _ = notes::write(&self.path(name), &note);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

impl Identity {
    pub(crate) fn of(library: &Path, program: &Path) -> io::Result<Self> {
        Ok(Self {
            library: FileIdentity::of(library)?,
            program: FileIdentity::of(program)?,
        })
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        [&self.library, &self.program].into_iter().all(|file| {
            let seconds = u64::try_from(file.changed.0).unwrap_or(0);
            Duration::from_secs(seconds + 1) + SETTLED < now
        })
    }
}

impl FileIdentity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// As if its files had been made long ago.
    fn old(mut identity: Identity) -> Identity {
        identity.library.changed.0 -= 60;
        identity.program.changed.0 -= 60;
        identity
    }

    #[test]
    fn what_a_library_told_is_recalled_for_that_library_and_program_only() {
        let directory = tempfile::tempdir().unwrap();
        let (library, program) = (directory.path().join("a.so"), directory.path().join("b"));
        fs::write(&library, "one").unwrap();
        fs::write(&program, "").unwrap();
        let identity = || old(Identity::of(&library, &program).unwrap());
        let descriptions = Descriptions::new(directory.path().join("kept"));
        let told = Description::new("a", "1", "a template");
        let before = identity();
        assert_eq!(descriptions.recall("a", &before), None);
        descriptions.keep("a", &before, "1.0.0", &told);
        let known = Some(("1.0.0".to_owned(), told));
        assert_eq!(descriptions.recall("a", &identity()), known);
        assert_eq!(descriptions.recall("b", &identity()), None);

        // In place, with the same size and time: what cannot be set shows it.
        let time = fs::metadata(&library).unwrap().modified().unwrap();
        let inode = fs::metadata(&library).unwrap().ino();
        let changed = before.library.changed;
        while identity().library.changed == changed {
            fs::write(&library, "two").unwrap();
            let file = fs::File::options().write(true).open(&library).unwrap();
            file.set_modified(time).unwrap();
        }
        assert_eq!(fs::metadata(&library).unwrap().ino(), inode);
        assert_eq!(identity().library.modified, before.library.modified);
        assert_eq!(descriptions.recall("a", &identity()), None);
    }

    #[test]
    fn of_a_library_written_this_moment_nothing_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join("a.so");
        fs::write(&library, "one").unwrap();
        let identity = Identity::of(&library, &library).unwrap();
        let descriptions = Descriptions::new(directory.path());
        let told = Description::new("a", "1", "a template");
        descriptions.keep("a", &identity, "1.0.0", &told);
        assert_eq!(descriptions.recall("a", &identity), None);
    }
}
