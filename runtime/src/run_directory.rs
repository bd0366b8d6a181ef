//! `RUN/NAME`: what exists only while a container runs.
//!
//! `lock` is locked (an open-file-description lock, fcntl_locking(2)) as long as the monitor lives:
//! that is the truth about "running". The kernel drops it with the monitor, however that ends, and
//! asking who holds it takes nothing. `control` is the monitor's socket.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Result, Tried};
use crate::name::ContainerName;

pub(crate) struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    pub(crate) fn new(run: &Path, name: &ContainerName) -> RunDirectory {
        RunDirectory {
            path: run.join(name.as_str()),
        }
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// What commands run in it are filtered by, besides what all are.
    pub(crate) fn filter(&self) -> PathBuf {
        self.path.join("seccomp")
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Whether a monitor lives.
    pub(crate) fn is_locked(&self) -> Result<bool> {
        let path = self.lock_file();
        let what = || format!("look at the lock {}", path.display());
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e).tried(what),
        };
        let mut lock = whole_file();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).tried(what)?;
        Ok(i32::from(lock.l_type) != libc::F_UNLCK)
    }

    /// Takes the lock, for as long as the file is open. `None`: somebody has it.
    pub(crate) fn lock(&self) -> Result<Option<File>> {
        let path = self.lock_file();
        let what = || format!("lock {}", path.display());
        loop {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.path)
                .tried(|| format!("create {}", self.path.display()))?;
            let file = match OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
            {
                Ok(file) => file,
                // A monitor that has just ended removed the directory in between.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e).tried(what),
            };
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => return Ok(None),
                Err(e) => return Err(e).tried(what),
            }
            // The same, but after we opened it: then we hold a lock on nothing.
            let ours = file.metadata().tried(what)?;
            if fs::metadata(&path).is_ok_and(|now| now.ino() == ours.ino()) {
                return Ok(Some(file));
            }
        }
    }

    /// Connects to the monitor.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        self.through_short_path(|path| UnixStream::connect(path))
    }

    /// The monitor's socket. The caller holds the lock.
    pub(crate) fn listen(&self) -> Result<UnixListener> {
        let socket = self.path.join("control");
        let _ = fs::remove_file(&socket);
        self.through_short_path(|path| UnixListener::bind(path))
            .tried(|| format!("listen on {}", socket.display()))
    }

    /// A socket's path has at most 107 bytes (unix(7)); a directory's may be longer.
    fn through_short_path<T>(&self, use_it: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        let directory = File::open(&self.path)?;
        let short = format!("/proc/self/fd/{}/control", directory.as_raw_fd());
        use_it(Path::new(&short))
    }

    /// Removes everything. The caller holds the lock.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).tried(|| format!("remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        // Must be 0 for these locks.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_takes_nothing_and_the_lock_ends_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path(), &"web".parse().unwrap());
        assert!(!run.is_locked().unwrap());
        let lock = run.lock().unwrap().unwrap();
        assert!(run.is_locked().unwrap());
        assert!(run.lock().unwrap().is_none());
        drop(lock);
        assert!(!run.is_locked().unwrap());
        run.remove().unwrap();
        assert!(!run.exists());
    }

    #[test]
    fn a_socket_in_a_deep_directory_can_be_reached() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(120));
        let run = RunDirectory::new(&deep, &"web".parse().unwrap());
        let _lock = run.lock().unwrap().unwrap();
        let _listener = run.listen().unwrap();
        run.connect().unwrap();
    }
}
