//! The log of a console: all that was shown, up to a bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::Console;
use crate::error::{Result, Tried};

/// A console log is moved aside when it has grown to this; so there are at most twice as much.
const LOG_SIZE: u64 = 4 << 20;

/// How much of a console is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The file grows no further (`lxc.console.size`).
    size: u64,
    /// Whether it is moved aside then, rather than begun anew (`lxc.console.rotate`).
    rotate: bool,
}

impl Bounds {
    /// What the config says; without a word as much as is usual.
    pub(super) fn of(console: &Console) -> Bounds {
        match console.log_size {
            None => Bounds {
                size: LOG_SIZE,
                rotate: true,
            },
            Some(size) => Bounds {
                size,
                rotate: console.rotate,
            },
        }
    }
}

pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    bounds: Bounds,
}

impl Log {
    pub(super) fn open(path: &Path, bounds: Bounds) -> Result<Log> {
        let what = || format!("open the console log {}", path.display());
        let file = append(path).tried(what)?;
        let size = file.metadata().tried(what)?.len();
        Ok(Log {
            path: path.to_path_buf(),
            file,
            size,
            bounds,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.size >= self.bounds.size {
                self.begin_anew()?;
            }
            let room = self.bounds.size - self.size;
            let fits = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.file.write_all(&rest[..fits])?;
            self.size += fits as u64;
            rest = &rest[fits..];
        }
        Ok(())
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        if self.bounds.rotate {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            self.file = append(&self.path)?;
        } else {
            self.file.set_len(0)?;
        }
        self.size = 0;
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
        let mut log = Log::open(&path, Bounds::of(&Console::default())).unwrap();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..12 {
            log.write(&block).unwrap();
        }
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&path) <= LOG_SIZE);
        assert!(size(&dir.path().join("web.console.1")) <= LOG_SIZE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_config_can_bound_it_to_one_small_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.console");
        let bounds = Bounds {
            size: 4096,
            rotate: false,
        };
        let mut log = Log::open(&path, bounds).unwrap();
        for number in 0..1000 {
            log.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 4096);
        assert!(text.ends_with("line 999\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
