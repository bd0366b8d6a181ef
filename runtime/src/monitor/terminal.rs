//! The console of a container, and its other terminals.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown};

use crate::error::{Result, Tried};
use crate::sys::tty;

/// A console log is moved aside when it has grown to this; so there are at most twice as much.
const LOG_SIZE: u64 = 4 << 20;

/// A terminal whose output is logged, or thrown away.
pub(super) struct Terminal {
    master: File,
    /// Kept open: without any slave the master would report a hang-up for ever.
    slave: OwnedFd,
    log: Option<Log>,
}

impl Terminal {
    /// Opens a pair that belongs to these host ids.
    pub(super) fn open(owner: (u32, u32), log: Option<&Path>) -> Result<Terminal> {
        let what = || "open a pseudo terminal".to_owned();
        let (master, slave) = tty::open_pair(Path::new("/dev/ptmx")).tried(what)?;
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).tried(what)?;
        fchown(
            &slave,
            Some(Uid::from_raw(owner.0)),
            Some(Gid::from_raw(owner.1)),
        )
        .tried(what)?;
        fchmod(&slave, Mode::from_bits_truncate(0o620)).tried(what)?;
        Ok(Terminal {
            master,
            slave,
            log: log.map(Log::open).transpose()?,
        })
    }

    pub(super) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    pub(super) fn slave(&self) -> BorrowedFd<'_> {
        self.slave.as_fd()
    }

    /// Takes what has been written, up to a bound: a guest that floods its console must not keep
    /// the monitor from its other work.
    pub(super) fn drain(&mut self) {
        let mut buffer = [0u8; 16_384];
        for _ in 0..16 {
            match self.master.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    if let Some(log) = &mut self.log
                        && let Err(error) = log.write(&buffer[..n])
                    {
                        // The container matters more than its log.
                        eprintln!("console log {}: {error}", log.path.display());
                        self.log = None;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

struct Log {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Log {
    fn open(path: &Path) -> Result<Log> {
        let what = || format!("open the console log {}", path.display());
        let file = append(path).tried(what)?;
        let size = file.metadata().tried(what)?.len();
        Ok(Log {
            path: path.to_path_buf(),
            file,
            size,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size > LOG_SIZE {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            self.file = append(&self.path)?;
            self.size = 0;
        }
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_log_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.console");
        let mut log = Log::open(&path).unwrap();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..12 {
            log.write(&block).unwrap();
        }
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&path) <= LOG_SIZE + (1 << 20));
        assert!(size(&dir.path().join("web.console.1")) <= LOG_SIZE + (1 << 20));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
