//! Walking a tree of cgroups that a guest has built.
//!
//! Always relative to one open directory and iteratively: a path from the root could be longer than
//! the kernel takes, one descriptor or stack frame per level more than there are. `..` is safe here,
//! since cgroups cannot be moved.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Far more than a guest may have; a tree that grows while it is walked must not hold us for ever.
const MOST_DIRECTORIES: usize = 100_000;

/// The processes in a directory and below. What vanishes on the way counts as empty.
pub(super) fn processes(directory: &Path) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    let Some(mut here) = present(open_directory(directory))? else {
        return Ok(found);
    };
    found.extend(members(&here));
    // The children not yet visited, of each level.
    let mut levels = vec![children(&here)?];
    let mut visited = 0;
    while let Some(level) = levels.last_mut() {
        match level.pop() {
            Some(name) => {
                visited += 1;
                if visited > MOST_DIRECTORIES {
                    return Err(io::Error::other("there are too many cgroups"));
                }
                if let Some(child) = present(open_at(&here, &name))? {
                    here = child;
                    found.extend(members(&here));
                    levels.push(children(&here)?);
                }
            }
            None => {
                levels.pop();
                if !levels.is_empty() {
                    here = open_at(&here, "..".as_ref())?;
                }
            }
        }
    }
    Ok(found)
}

/// Removes a directory with everything below it. A process that has just died is still on its way
/// out for a moment: that is waited for, `patience` in all.
pub(super) fn remove(directory: &Path, patience: Duration) -> io::Result<()> {
    // As a rule the guest has left nothing in there.
    if matches!(fs::remove_dir(directory), Ok(())) {
        return Ok(());
    }
    let deadline = Instant::now() + patience;
    let Some(mut here) = present(open_directory(directory))? else {
        return Ok(());
    };
    let mut names: Vec<OsString> = Vec::new();
    // Nobody lives in there any more who could make another.
    let mut levels = vec![children(&here)?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.pop() {
            if let Some(child) = present(open_at(&here, &name))? {
                here = child;
                names.push(name);
                levels.push(children(&here)?);
            }
            continue;
        }
        levels.pop();
        if let Some(name) = names.pop() {
            here = open_at(&here, "..".as_ref())?;
            retry(deadline, || {
                unlinkat(&here, name.as_os_str(), UnlinkatFlags::RemoveDir)
            })?;
        }
    }
    drop(here);
    retry(deadline, || {
        unlinkat(AT_FDCWD, directory, UnlinkatFlags::RemoveDir)
    })
}

fn retry(deadline: Instant, remove: impl Fn() -> nix::Result<()>) -> io::Result<()> {
    loop {
        match remove() {
            Err(Errno::EBUSY) if Instant::now() < deadline => {
                // Killed processes leave a cgroup a moment later, and version 1 tells nobody when.
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Errno::ENOENT) => return Ok(()),
            other => return Ok(other?),
        }
    }
}

const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

fn open_directory(path: &Path) -> nix::Result<OwnedFd> {
    open(path, DIRECTORY, Mode::empty())
}

fn open_at(directory: &OwnedFd, name: &std::ffi::OsStr) -> nix::Result<OwnedFd> {
    openat(directory, name, DIRECTORY, Mode::empty())
}

/// `None` for what does not exist (any more): kernfs says ENODEV of a file of a removed cgroup.
fn present(opened: nix::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn members(directory: &OwnedFd) -> Vec<i32> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut text = String::new();
    // Unreadable (EOPNOTSUPP) in a threaded cgroup, whose processes the domain above it tells.
    if let Ok(file) = openat(directory, "cgroup.procs", flags, Mode::empty()) {
        let _ = fs::File::from(file).read_to_string(&mut text);
    }
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn children(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    // Its name and its ".": it has none. Ten times as fast as a look at all files of a cgroup.
    if fstat(directory).is_ok_and(|found| found.st_nlink == 2) {
        return Ok(Vec::new());
    }
    let listed = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let entries = match listed {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
            return Ok(Vec::new());
        }
        other => other?,
    };
    Ok(entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| OsString::from_vec(entry.file_name().into_vec()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::mkdirat;

    /// Directories whose path is longer than any system call takes.
    fn deep(top: &Path) {
        fs::create_dir(top).unwrap();
        let mut here = open_directory(top).unwrap();
        let name = "d".repeat(200);
        for _ in 0..40 {
            mkdirat(&here, name.as_str(), Mode::S_IRWXU).unwrap();
            mkdirat(&here, "beside", Mode::S_IRWXU).unwrap();
            here = open_at(&here, name.as_ref()).unwrap();
        }
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_walked_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        deep(&top);
        assert_eq!(processes(&top).unwrap(), Vec::<i32>::new());
        remove(&top, Duration::ZERO).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn what_does_not_exist_is_empty_and_removed_already() {
        let missing = Path::new("/no/such/cgroup");
        assert!(processes(missing).unwrap().is_empty());
        remove(missing, Duration::ZERO).unwrap();
    }
}
