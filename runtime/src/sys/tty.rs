//! Pseudo terminals.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{check, owned};

/// Opens a pair from a `ptmx` device: master and slave, unlocked, close-on-exec, nobody's
/// controlling terminal.
pub(crate) fn open_pair(ptmx: &Path) -> io::Result<(File, OwnedFd)> {
    let master = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(ptmx)?;
    let slave = slave_of(&master)?;
    Ok((master, slave))
}

/// Unlocks a master's slave and opens it without a path (which a guest could redirect).
pub(crate) fn slave_of(master: &File) -> io::Result<OwnedFd> {
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int; TIOCGPTPEER takes open flags and returns a new descriptor.
    unsafe {
        check(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock).into())?;
        check(
            libc::ioctl(
                master.as_raw_fd(),
                libc::TIOCGPTPEER,
                libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
            )
            .into(),
        )
        .map(owned)
    }
}

/// Gives `to` the window size of `from`.
pub(crate) fn copy_window_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all-zero is a valid winsize, which the ioctls write and read.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        check(libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, &mut size).into())?;
        check(libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, &size).into())?;
    }
    Ok(())
}

/// Columns and rows of the terminal that is standard output; `None` if it is no terminal.
pub fn window_size() -> Option<(u16, u16)> {
    // SAFETY: all-zero is a valid winsize, which the ioctl writes.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        check(libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size).into()).ok()?;
        size
    };
    Some((size.ws_col, size.ws_row)).filter(|(columns, rows)| *columns > 0 && *rows > 0)
}
