//! Telling the rest of the machine which ids are taken: subuid(5) and subgid(5).
//!
//! What stands there for root is not handed out to anybody's user namespaces by useradd(8), and
//! LXC, where newuidmap(1) is installed, maps nothing that does not stand there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, Tried};

/// How long somebody else may take to edit the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sees to it that root has `ids` in the subuid and subgid files of `etc`. A file that does not
/// exist is not made: nothing on such a machine reads it.
pub(crate) fn reserve(etc: &Path, ids: Range<u32>) -> Result<()> {
    for name in ["subuid", "subgid"] {
        let path = etc.join(name);
        if reads_as_reserved(&path, &ids)? {
            continue;
        }
        let _lock = EditLock::of(&path)?;
        // Somebody else may have done it meanwhile.
        if !reads_as_reserved(&path, &ids)? {
            append(&path, &ids)?;
        }
    }
    Ok(())
}

/// The files that exist and do not have them for root.
pub(crate) fn is_missing_in(etc: &Path, ids: Range<u32>) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for name in ["subuid", "subgid"] {
        let path = etc.join(name);
        if !reads_as_reserved(&path, &ids)? {
            missing.push(path.display().to_string());
        }
    }
    Ok(missing)
}

fn reads_as_reserved(path: &Path, ids: &Range<u32>) -> Result<bool> {
    match fs::read(path) {
        Ok(bytes) => Ok(is_reserved(&String::from_utf8_lossy(&bytes), ids)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).tried(|| format!("read {}", path.display())),
    }
}

fn is_reserved(text: &str, ids: &Range<u32>) -> bool {
    text.lines().any(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, start, count] = fields[..] else {
            return false;
        };
        let (Ok(start), Ok(count)) = (start.parse::<u64>(), count.trim().parse::<u64>()) else {
            return false;
        };
        matches!(user, "root" | "0")
            && start <= u64::from(ids.start)
            && u64::from(ids.end) <= start.saturating_add(count)
    })
}

fn append(path: &Path, ids: &Range<u32>) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut text = fs::read(path)?;
        if text.last().is_some_and(|byte| *byte != b'\n') {
            text.push(b'\n');
        }
        let line = format!("root:{}:{}\n", ids.start, ids.end - ids.start);
        text.extend_from_slice(line.as_bytes());
        let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
        let new = path.with_extension("sampan-new");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&new)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    };
    write().tried(|| format!("reserve user ids in {}", path.display()))
}

/// The lock by which useradd(8) and its kin keep others from the file: `FILE.lock` with a pid.
struct EditLock(PathBuf);

impl EditLock {
    fn of(path: &Path) -> Result<Self> {
        let lock = path.with_extension("lock");
        let end = Instant::now() + PATIENCE;
        loop {
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&lock);
            match made {
                Ok(mut file) => {
                    let written = file.write_all(std::process::id().to_string().as_bytes());
                    let lock = EditLock(lock);
                    return written
                        .map(|()| lock)
                        .tried(|| format!("lock {}", path.display()));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if is_stale(&lock) {
                        let _ = fs::remove_file(&lock);
                    } else if Instant::now() >= end {
                        return Err(Error::environment(format!(
                            "somebody else is editing {}",
                            path.display()
                        ))
                        .with_hint(format!("if nobody is, remove {}", lock.display())));
                    } else {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                Err(error) => return Err(error).tried(|| format!("lock {}", path.display())),
            }
        }
    }
}

impl Drop for EditLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether the process that made a lock is gone. A lock without a pid is being written just now.
fn is_stale(lock: &Path) -> bool {
    let pid = fs::read_to_string(lock)
        .ok()
        .and_then(|text| text.trim_matches(['\0', '\n', ' ']).parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: Range<u32> = 1_048_576..268_435_456;

    #[test]
    fn the_range_is_added_once_and_what_stood_there_stays() {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("subuid"), "me:100000:65536").unwrap();
        reserve(etc.path(), IDS).unwrap();
        reserve(etc.path(), IDS).unwrap();
        let text = fs::read_to_string(etc.path().join("subuid")).unwrap();
        assert_eq!(text, "me:100000:65536\nroot:1048576:267386880\n");
        // A machine without the file does not get one, and no lock stays.
        assert_eq!(etc.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_wider_range_of_roots_will_do() {
        assert!(is_reserved("root:1000000:1000000000\n", &IDS));
        assert!(!is_reserved("root:2000000:1000000000\n", &IDS));
        assert!(!is_reserved("me:1000000:1000000000\n", &IDS));
        assert!(!is_reserved("root:x:y\nroot:1\n\n", &IDS));
    }

    #[test]
    fn the_lock_of_a_dead_process_does_not_hold() {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("subuid"), "").unwrap();
        // No process has a pid beyond the kernel's highest.
        fs::write(etc.path().join("subuid.lock"), "4194305").unwrap();
        reserve(etc.path(), IDS).unwrap();
        assert!(!etc.path().join("subuid.lock").exists());
    }
}
