//! A file system in a file, for a limit of size where the host's file system knows no quota.
//!
//! The loop device goes away by itself with its last user. The file is locked as long as the device
//! is there, because the device keeps it open: the same file system mounted twice would be lost.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::directory::finish;
use super::{Backend, Place, RootPath, copy_file};
use crate::error::{Error, Result, Tried};
use crate::sandbox::c_string;
use crate::sys::plan::FileSystem;
use crate::sys::{loop_device, mount};

/// Smaller ones do not hold ext4 with a journal.
const SMALLEST: u64 = 16 << 20;
/// How long the kernel may take to give back the device of a container that has just stopped.
const RELEASE: Duration = Duration::from_secs(10);
const RELEASE_INTERVAL: Duration = Duration::from_millis(10);

pub(super) struct LoopImage {
    path: PathBuf,
}

impl LoopImage {
    pub(super) fn new(path: &Path) -> LoopImage {
        LoopImage {
            path: path.to_owned(),
        }
    }

    /// Opens the file, for this user alone.
    fn open(&self) -> Result<File> {
        let what = || format!("open the image {}", self.path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .tried(what)?;
        let deadline = Instant::now() + RELEASE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(RELEASE_INTERVAL);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::environment(format!(
                        "the image {} is mounted already",
                        self.path.display()
                    )));
                }
                Err(TryLockError::Error(e)) => return Err(e).tried(what),
            }
        }
    }
}

pub(super) fn make(place: &Place, size: u64) -> Result<RootPath> {
    if size < SMALLEST {
        return Err(
            Error::user(format!("a root file system of {size} bytes is too small"))
                .with_hint("give --size at least 16M"),
        );
    }
    let path = place.path("rootfs.img");
    let what = || format!("create {}", path.display());
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .tried(what)?;
    // Whole sectors, as a block device has them.
    file.set_len(size / 4096 * 4096).tried(what)?;
    let mut command = Command::new("mkfs.ext4");
    command
        .args([
            "-q",
            "-F",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=1,nodiscard,root_owner=0:0",
        ])
        .arg(&path)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::null());
    let made = match command.output() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Error::environment("there is no mkfs.ext4 on this machine")
                .with_hint("install it: apt-get install e2fsprogs"));
        }
        other => other.tried(|| "execute mkfs.ext4".to_owned())?,
    };
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        return Err(Error::environment(format!(
            "mkfs.ext4 could not make a file system in {} ({}): {}",
            path.display(),
            made.status,
            said.trim()
        )));
    }
    let root = RootPath::Loop(path);
    // The tree shall be empty; e2fsck makes this one again when it needs it.
    let tree = root.open()?;
    let found = format!("/proc/self/fd/{}/lost+found", tree.as_raw_fd());
    fs::remove_dir(&found).tried(|| "remove lost+found".to_owned())?;
    Ok(root)
}

impl Backend for LoopImage {
    fn mount(&self, user: Option<BorrowedFd<'_>>, attributes: u64) -> Result<OwnedFd> {
        let shown = self.path.display();
        let file = self.open()?;
        let (device, number) = loop_device::attach(file.as_fd()).map_err(|cause| {
            let missing = cause.kind() == io::ErrorKind::NotFound;
            let error = Error::os(format!("could not attach {shown} to a loop device"), cause);
            if missing {
                error.with_hint("load the kernel's module: modprobe loop")
            } else {
                error
            }
        })?;
        let system = FileSystem {
            kind: c"ext4".to_owned(),
            options: vec![
                (
                    c"source".to_owned(),
                    Some(c_string(format!("/dev/loop{number}"))?),
                ),
                // What is deleted inside becomes a hole in the file.
                (c"discard".to_owned(), None),
            ],
            attributes: 0,
        };
        let tree = mount::new_file_system(&system)
            .tried(|| format!("mount the file system in {shown}"))?;
        // The lock is that of the open file, which the device holds from now on as the mount holds
        // the device.
        drop((device, file));
        finish(tree, user, attributes, &self.path)
    }

    fn copy(&self, place: &Place) -> Result<RootPath> {
        let path = place.path("rootfs.img");
        let what = || format!("copy {} to {}", self.path.display(), path.display());
        let source = self.open()?;
        let target = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .tried(what)?;
        copy_file(&source, &target).tried(what)?;
        target.sync_all().tried(what)?;
        Ok(RootPath::Loop(path))
    }

    fn share(&self, _place: &Place) -> Result<RootPath> {
        Err(Error::user(format!(
            "nothing can be shared with a file system in a file ({})",
            self.path.display()
        ))
        .with_hint("make a whole copy, without --snapshot; it takes as much room as is used"))
    }

    fn check(&self) -> Result<()> {
        fs::metadata(&self.path)
            .map(drop)
            .tried(|| format!("open the image {}", self.path.display()))
    }

    fn size_limit(&self) -> Option<u64> {
        fs::metadata(&self.path).ok().map(|metadata| metadata.len())
    }
}
