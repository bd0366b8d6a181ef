//! The terminal between a person and a command in a container.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, OpenHow, ResolveFlag, fcntl, open, openat2};
use nix::poll::{PollFd, PollFlags};
use nix::sys::stat::{Mode, fstat, makedev};
use nix::sys::statfs::fstatfs;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{Gid, Uid, fchown};

use super::Stream;
use crate::error::{Error, Result, Tried};
use crate::sys::tty;

/// What is passed on after the command's end: a terminal holds less than that, and gives at most
/// 4 KiB at a time.
const LAST_OUTPUT_BLOCKS: usize = 256;
const LAST_OUTPUT_TIME: Duration = Duration::from_millis(200);

/// The command's three streams: this process's own, or a terminal of the container in place of
/// those that are terminals. A terminal of the host is never given to a guest, which could read
/// from it and write to it as long as it likes.
pub(super) struct Session {
    ours: [bool; 3],
    pty: Option<Pty>,
}

struct Pty {
    master: File,
    slave: Option<OwnedFd>,
    /// Settings to be restored.
    saved: Option<Termios>,
    /// Read by us and not yet written to the master.
    pending: Vec<u8>,
    input_open: bool,
    output_open: bool,
}

impl Session {
    /// Opens a terminal in the container if one is needed.
    pub(super) fn open(init: i32, owner: (u32, u32)) -> Result<Session> {
        let ours = [
            io::stdin().is_terminal(),
            io::stdout().is_terminal(),
            io::stderr().is_terminal(),
        ];
        if !ours.contains(&true) {
            return Ok(Session { ours, pty: None });
        }
        let what = || "open a terminal in the container".to_owned();
        let ptmx = find_ptmx(init)?;
        let (master, slave) = tty::open_pair(&ptmx.path()).tried(what)?;
        fchown(
            &slave,
            Some(Uid::from_raw(owner.0)),
            Some(Gid::from_raw(owner.1)),
        )
        .tried(what)?;
        let session = Session {
            ours,
            pty: Some(Pty {
                master,
                slave: Some(slave),
                saved: None,
                pending: Vec::new(),
                input_open: ours[0],
                output_open: true,
            }),
        };
        session.resize();
        Ok(session)
    }

    /// The command's streams.
    pub(super) fn streams(&self) -> Result<Vec<Stream<'_>>> {
        let own = [stdin(), stdout(), stderr()];
        own.into_iter()
            .zip(self.ours)
            .map(|(own, terminal)| {
                if terminal {
                    self.slave()
                        .ok_or_else(|| Error::internal("the terminal is closed"))
                } else {
                    Ok(own)
                }
            })
            .collect()
    }

    /// The terminal, before [`Session::begin`].
    pub(super) fn slave(&self) -> Option<BorrowedFd<'_>> {
        Some(self.pty.as_ref()?.slave.as_ref()?.as_fd())
    }

    /// The command runs: keys go to its terminal as they are.
    pub(super) fn begin(&mut self) -> Result<()> {
        let Some(pty) = &mut self.pty else {
            return Ok(());
        };
        let what = || "set up the terminal".to_owned();
        // So that the master reports when the last user of the terminal is gone.
        pty.slave = None;
        fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).tried(what)?;
        if self.ours[0] {
            let saved = tcgetattr(stdin()).tried(what)?;
            let mut raw = saved.clone();
            cfmakeraw(&mut raw);
            pty.saved = Some(saved);
            tcsetattr(stdin(), SetArg::TCSANOW, &raw).tried(what)?;
        }
        // It may have changed while the command was started.
        self.resize();
        Ok(())
    }

    pub(super) fn resize(&self) {
        if let Some(pty) = &self.pty {
            let terminals = [stdout(), stdin(), stderr()];
            for (from, is_terminal) in terminals.into_iter().zip([1, 0, 2].map(|n| self.ours[n])) {
                // A window without a size is no reason to fail.
                if is_terminal && tty::copy_window_size(from, pty.master.as_fd()).is_ok() {
                    return;
                }
            }
        }
    }

    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let pty = self.pty.as_ref();
        let input = pty
            .filter(|pty| pty.input_open && pty.pending.is_empty())
            .map(|_| PollFd::new(stdin(), PollFlags::POLLIN));
        let master = pty.filter(|pty| pty.output_open).map(|pty| {
            let mut events = PollFlags::POLLIN;
            if !pty.pending.is_empty() {
                events |= PollFlags::POLLOUT;
            }
            PollFd::new(pty.master.as_fd(), events)
        });
        input.into_iter().chain(master)
    }

    /// Moves what there is, without waiting.
    pub(super) fn relay(&mut self) {
        let to_screen = self.screen();
        if let Some(pty) = &mut self.pty {
            pty.relay_input();
            pty.relay_output(to_screen, 64, None);
        }
    }

    /// The command has ended: passes on what it wrote last, which may still wait in the terminal.
    /// What it left running may go on writing there for ever, so there is an end to it.
    pub(super) fn finish(&mut self) {
        let to_screen = self.screen();
        if let Some(pty) = &mut self.pty {
            let deadline = Instant::now() + LAST_OUTPUT_TIME;
            pty.relay_output(to_screen, LAST_OUTPUT_BLOCKS, Some(deadline));
        }
    }

    /// Which of our streams shows the terminal's output.
    fn screen(&self) -> Stream<'static> {
        match self.ours {
            [_, true, _] => stdout(),
            [_, _, true] => stderr(),
            _ => stdin(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(saved) = self.pty.as_ref().and_then(|pty| pty.saved.as_ref()) {
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, saved);
        }
    }
}

impl Pty {
    fn relay_input(&mut self) {
        if self.input_open && self.pending.is_empty() && readable(stdin()) {
            let mut buffer = [0u8; 4096];
            match nix::unistd::read(stdin(), &mut buffer) {
                Ok(n) if n > 0 => self.pending.extend(&buffer[..n]),
                Ok(_) => self.input_open = false,
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
                Err(_) => self.input_open = false,
            }
        }
        if !self.pending.is_empty() {
            match self.master.write(&self.pending) {
                Ok(n) => {
                    self.pending.drain(..n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Nobody reads any more.
                Err(_) => self.pending.clear(),
            }
        }
    }

    fn relay_output(&mut self, screen: Stream<'_>, blocks: usize, deadline: Option<Instant>) {
        let mut buffer = [0u8; 16_384];
        for _ in 0..blocks {
            if deadline.is_some_and(|at| Instant::now() > at) {
                return;
            }
            match self.master.read(&mut buffer) {
                Ok(n) if n > 0 => {
                    let mut rest = &buffer[..n];
                    while !rest.is_empty() {
                        match nix::unistd::write(screen, rest) {
                            Ok(written) => rest = &rest[written..],
                            Err(nix::errno::Errno::EINTR) => {}
                            // Our own terminal is gone; SIGHUP says so.
                            Err(_) => return,
                        }
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // EIO: no process has the terminal open.
                _ => {
                    self.output_open = false;
                    return;
                }
            }
        }
    }
}

/// A verified `ptmx` of a container.
struct Ptmx(OwnedFd);

impl Ptmx {
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// The guest decides what lies at this path: it is looked up inside the guest's root, not opened
/// (which could block) before it is known to be the multiplexer of a devpts.
fn find_ptmx(init: i32) -> Result<Ptmx> {
    let path = "/dev/pts/ptmx";
    let what = || format!("open {path} of the container");
    let root = format!("/proc/{init}/root");
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(Path::new(&root), directory, Mode::empty()).tried(what)?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let found = openat2(&root, path, how).tried(what)?;
    let device = fstat(&found).tried(what)?.st_rdev == makedev(5, 2);
    let devpts = fstatfs(&found).tried(what)?.filesystem_type();
    if !device || devpts != nix::sys::statfs::FsType(libc::DEVPTS_SUPER_MAGIC) {
        return Err(Error::environment(format!(
            "{path} of the container is not the multiplexer of a devpts"
        ))
        .with_hint("run the command without a terminal: </dev/null 2>&1 | cat"));
    }
    Ok(Ptmx(found))
}

fn readable(fd: Stream<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).is_ok_and(|n| n > 0)
}

// Borrowed for as long as the process lives: it does not close its standard streams.
fn stdin() -> Stream<'static> {
    crate::sys::standard_stream(0)
}
fn stdout() -> Stream<'static> {
    crate::sys::standard_stream(1)
}
fn stderr() -> Stream<'static> {
    crate::sys::standard_stream(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_is_written_to_for_ever_is_not_read_for_ever() {
        let (master, slave) = tty::open_pair(Path::new("/dev/ptmx")).unwrap();
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut pty = Pty {
            master,
            slave: None,
            saved: None,
            pending: Vec::new(),
            input_open: false,
            output_open: true,
        };
        // Ends with EIO when the master is closed.
        let writer = std::thread::spawn(move || {
            let mut slave = File::from(slave);
            while slave.write_all(&[b'x'; 4096]).is_ok() {}
        });
        let null = File::options().write(true).open("/dev/null").unwrap();
        let begun = Instant::now();
        // Until it has read nothing but the flood for its whole time.
        let deadline = begun + LAST_OUTPUT_TIME;
        pty.relay_output(null.as_fd(), LAST_OUTPUT_BLOCKS, Some(deadline));
        assert!(begun.elapsed() < Duration::from_secs(5));
        pty.relay_output(null.as_fd(), usize::MAX, Some(Instant::now()));
        assert!(begun.elapsed() < Duration::from_secs(5));
        drop(pty);
        writer.join().unwrap();
    }
}
