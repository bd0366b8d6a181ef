//! Small files in the cache that save asking again. Nothing depends on one being there: a note that
//! is missing, torn, too large or not ours alone is no note, and one that cannot be written is not.

use std::{
    fs::{DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::OFlag;
use serde::{Serialize, de::DeserializeOwned};

/// More than any note has.
const LIMIT: u64 = 1 << 20;

/// What stands in a note that nobody else could have written.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .ok()?;
    let metadata = file.metadata().ok()?;
    let ours = metadata.is_file()
        && metadata.uid() == nix::unistd::geteuid().as_raw()
        && metadata.mode() & 0o077 == 0
        && metadata.len() <= LIMIT;
    if !ours {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Writes a note for whoever runs this, in place of what stood there. It is not synced: a note lost
/// with the machine costs a question.
pub(crate) fn write<T: Serialize>(path: &Path, note: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(note)?;
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)?;
    }
    // A killed process's goes with the next. Of two that write at once one may fail or tear the
    // other's note.
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(&bytes))
        .and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn a_note_comes_back_to_who_wrote_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes/one.json");
        write(&path, &vec![1, 2]).unwrap();
        write(&path, &vec![3]).unwrap();
        assert_eq!(read::<Vec<u8>>(&path), Some(vec![3]));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let left = fs::read_dir(directory.path().join("notes")).unwrap();
        assert_eq!(left.count(), 1);
    }

    #[test]
    fn what_others_could_have_written_is_no_note() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.json");
        assert_eq!(read::<u8>(&path), None);
        write(&path, &7).unwrap();
        for mode in [0o620, 0o602, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read::<u8>(&path), None, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read::<u8>(&path), Some(7));
        let link = directory.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read::<u8>(&link), None);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
            assert_eq!(read::<u8>(&path), None);
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_note() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.json");
        write(&path, &"text").unwrap();
        assert_eq!(read::<u8>(&path), None);
        fs::write(&path, "{").unwrap();
        assert_eq!(read::<u8>(&path), None);
        File::create(&path).unwrap().set_len(LIMIT + 1).unwrap();
        assert_eq!(read::<String>(&path), None);
    }
}
