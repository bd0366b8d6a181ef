//! Taking over a descriptor that the starting program left at a known number.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers already taken, as bits: taking one twice would give one descriptor two owners.
static TAKEN: AtomicU64 = AtomicU64::new(0b111);

/// The stream socket at `number` (3 to 63), which this process was started with. Each number can
/// be taken once, and only before the process opens anything of its own.
///
/// # Errors
/// When nothing, or something else than a socket, is open there, or it was taken before.
pub fn inherited_stream(number: RawFd) -> io::Result<UnixStream> {
    inherited_socket(number).map(UnixStream::from)
}

/// The same for any socket.
pub(crate) fn inherited_socket(number: RawFd) -> io::Result<OwnedFd> {
    let in_use = || io::Error::other(format!("descriptor {number} cannot be taken over"));
    let bit = u32::try_from(number)
        .ok()
        .and_then(|shift| 1_u64.checked_shl(shift))
        .ok_or_else(in_use)?;
    let is_socket = std::fs::metadata(format!("/proc/self/fd/{number}")).map(|metadata| {
        use std::os::unix::fs::FileTypeExt;
        metadata.file_type().is_socket()
    })?;
    if !is_socket || TAKEN.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
        return Err(in_use());
    }
    // SAFETY: a socket is open at that number (just seen), no code of this process opens sockets
    // before taking over inherited ones, and TAKEN gives each number out once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
