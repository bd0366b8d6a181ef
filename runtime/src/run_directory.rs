//! `RUN/NAME`: what exists only while a container runs.
//!
//! `lock` is locked (an open-file-description lock, fcntl_locking(2)) as long as the monitor lives:
//! that is the truth about "running". The kernel drops it with the monitor, however that ends, and
//! asking who holds it takes nothing. `control` is the monitor's socket.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use crate::error::{Result, Tried};
use crate::name::ContainerName;
use crate::sys::pidfd;

/// For one that is just starting or ending.
const A_WHILE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    pub(crate) fn new(run: &Path, name: &ContainerName) -> RunDirectory {
        RunDirectory::at(run.join(name.as_str()))
    }

    /// One of another process that lives long.
    pub(crate) fn at(path: PathBuf) -> RunDirectory {
        RunDirectory { path }
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
        loop {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.path)
                .tried(|| format!("create {}", self.path.display()))?;
            match self.try_lock(true) {
                Ok(Locked::Ours(file)) => return Ok(Some(file)),
                Ok(Locked::Others) => return Ok(None),
                // A monitor that has just ended removed it in between.
                Ok(Locked::Gone) => {}
                Err(error) => {
                    // No room for the file: then the directory says nothing. It stays if it is not
                    // empty, and whoever else wants to lock it makes it again.
                    let _ = fs::remove_dir(&self.path);
                    return Err(error);
                }
            }
        }
    }

    /// Takes the lock if it is there and nobody has it: then whoever had it was killed.
    pub(crate) fn lock_left_behind(&self) -> Result<Option<File>> {
        match self.try_lock(false)? {
            Locked::Ours(file) => Ok(Some(file)),
            Locked::Others | Locked::Gone => Ok(None),
        }
    }

    fn try_lock(&self, create: bool) -> Result<Locked> {
        let path = self.lock_file();
        let what = || format!("lock {}", path.display());
        let file = match OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .open(&path)
        {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Locked::Gone),
            Err(e) => return Err(e).tried(what),
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(Locked::Others),
            Err(e) => return Err(e).tried(what),
        }
        // Removed after we opened it: then we hold a lock on nothing.
        let ours = file.metadata().tried(what)?;
        if fs::metadata(&path).is_ok_and(|now| now.ino() == ours.ino()) {
            Ok(Locked::Ours(file))
        } else {
            Ok(Locked::Gone)
        }
    }

    /// Connects to the monitor.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        self.through_short_path(|path| UnixStream::connect(path))
    }

    /// The monitor, by a descriptor that becomes readable when it ends. `None`: there is none, or it
    /// does not listen yet.
    pub(crate) fn monitor(&self) -> Result<Option<OwnedFd>> {
        let Ok(stream) = self.connect() else {
            return Ok(None);
        };
        let what = || "find the monitor's process".to_owned();
        let pid = getsockopt(&stream, PeerCredentials).tried(what)?.pid();
        let monitor = match pidfd::open(pid) {
            Ok(monitor) => monitor,
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(e) => return Err(e).tried(what),
        };
        // As long as the lock is held, the pid has not passed to a stranger.
        Ok(self.is_locked()?.then_some(monitor))
    }

    /// The socket of whoever holds the lock; `None` if nobody does. One that is on its way up or down
    /// is waited for.
    pub(crate) fn reach(&self) -> Result<Option<UnixStream>> {
        let deadline = Instant::now() + A_WHILE;
        loop {
            match self.connect() {
                Ok(stream) => return Ok(Some(stream)),
                Err(_) if !self.is_locked()? => return Ok(None),
                // Nothing tells both: a socket that appears, and a lock that is let go.
                Err(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(e) => return Err(e).tried(|| format!("reach {}", self.path.display())),
            }
        }
    }

    /// Ends whoever holds the lock, with SIGTERM and then by force, and removes its files.
    pub(crate) fn end(&self) -> Result<()> {
        // One that starts can be told to end once it listens.
        if self.reach()?.is_some()
            && let Some(holder) = self.monitor()?
        {
            let what = || format!("end the process that has {}", self.path.display());
            // One that has ended meanwhile is what is wanted.
            let _ = pidfd::signal(holder.as_fd(), Signal::SIGTERM);
            if !pidfd::ended(holder.as_fd(), Some(A_WHILE)).tried(what)? {
                pidfd::signal(holder.as_fd(), Signal::SIGKILL).tried(what)?;
                pidfd::ended(holder.as_fd(), Some(A_WHILE)).tried(what)?;
            }
        }
        // Of one that was killed; or there was none, only files.
        match self.exists() {
            true => {
                let _lock = self.lock()?;
                self.remove()
            }
            false => Ok(()),
        }
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

    /// Removes everything, the lock last: as long as it is there, whoever held it was killed. The
    /// caller holds it.
    pub(crate) fn remove(&self) -> Result<()> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.path() != self.lock_file()) {
            // What cannot be removed is told below.
            let _ = fs::remove_file(entry.path());
        }
        match fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).tried(|| format!("remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

enum Locked {
    Ours(File),
    Others,
    Gone,
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
        assert!(run.lock_left_behind().unwrap().is_some());
        run.remove().unwrap();
        assert!(!run.exists());
        assert!(run.lock_left_behind().unwrap().is_none());
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
