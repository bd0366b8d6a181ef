//! Commands in the rootfs, run by the worker inside the sandbox.
//!
//! For a process that is single-threaded and pid 1 of its sandbox: it kills what a command leaves
//! behind by killing everything but itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, OpenHow, ResolveFlag, fcntl, open, openat2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat, mknodat};
use nix::unistd::{Pid, symlinkat};

use super::c_string;
use super::view::{DEVICE_LINKS, DEVICES, proc_file_system, tmpfs};
use crate::error::{Error, Result, Tried};
use crate::sys::pidfd::{self, Ended};
use crate::sys::plan::{Exec, FileSystem, Plan, Step};
use crate::sys::seccomp::{Filter, program};
use crate::sys::{mount, spawn};

/// Where commands are looked for if their environment has no PATH.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command to run in a rootfs.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The program, looked for in the environment's PATH, and its arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What it reads; nothing if `None`.
    pub stdin: Option<Vec<u8>>,
    /// Its working directory inside the rootfs; `/` if `None`.
    pub directory: Option<PathBuf>,
    /// Answer success to fsync, fdatasync, sync, syncfs and sync_file_range without doing them. A
    /// tree that is packed and synced as a whole afterwards loses nothing by it.
    pub nosync: bool,
    /// Whether descriptor 3 is a second output, [`Stream::Status`].
    pub status: bool,
}

/// Which of a command's outputs bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output and standard error.
    Output,
    /// Descriptor 3.
    Status,
}

/// Mounts proc and a small /dev in a rootfs. Once, before the first [`run`].
pub fn prepare(root: &Path) -> Result<()> {
    let inside = Inside::open(root)?;
    inside.mount("proc", &proc_file_system())?;
    inside.mount(
        "dev",
        &tmpfs(
            "500000",
            "0755",
            libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        ),
    )?;
    // The console is nobody's terminal here: what is written to it goes nowhere.
    let nodes = DEVICES.iter().map(|name| (*name, *name));
    for (name, source) in nodes.chain([("console", "null")]) {
        inside.device(name, source)?;
    }
    inside.mount(
        "dev/pts",
        &FileSystem {
            kind: c"devpts".to_owned(),
            options: vec![
                (c"newinstance".to_owned(), None),
                (c"ptmxmode".to_owned(), Some(c"0666".to_owned())),
                (c"mode".to_owned(), Some(c"0620".to_owned())),
                (c"gid".to_owned(), Some(c"5".to_owned())),
            ],
            attributes: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        },
    )?;
    inside.mount(
        "dev/shm",
        &tmpfs(
            "64m",
            "1777",
            libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        ),
    )?;
    for (path, target) in DEVICE_LINKS.into_iter().chain([("/dev/ptmx", "pts/ptmx")]) {
        let name = path.trim_start_matches("/dev/");
        let dev = inside.directory("dev")?;
        symlinkat(target, &dev, name).tried(|| format!("make the link {path} in the rootfs"))?;
    }
    Ok(())
}

/// Runs a command chrooted in the rootfs and passes on what it writes. When it has
/// ended, everything it left running is killed.
pub fn run(root: &Path, command: &Command, sink: &mut dyn FnMut(Stream, &[u8])) -> Result<Ended> {
    if std::process::id() != 1 {
        // Or the clean-up below would kill strangers.
        return Err(Error::internal(
            "commands in a rootfs are run by the sandbox's first process only",
        ));
    }
    let shown = command
        .argv
        .first()
        .map(|a| a.to_string_lossy().into_owned())
        .unwrap_or_default();
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).tried(|| "open a pipe".to_owned());
    let (read, write) = pipe()?;
    let (stdin_read, stdin_write) = match &command.stdin {
        Some(_) => {
            let (read, write) = pipe()?;
            (read, Some(write))
        }
        None => {
            let null = File::open("/dev/null").tried(|| "open /dev/null".to_owned())?;
            (OwnedFd::from(null), None)
        }
    };
    let (status_read, status_write) = match command.status {
        true => {
            let (read, write) = pipe()?;
            (Some(File::from(read)), Some(write))
        }
        false => (None, None),
    };
    let plan = command_plan(root, command, &stdin_read, &write, status_write.as_ref())?;
    drop((stdin_read, write, status_write));
    let child = spawn::spawn(plan, 0, None)?;
    child.go(&[])?;
    let running = child
        .wait_for_exec()
        .map_err(|e| Error::from(e).wrap(format!("could not run {shown} in the rootfs")))?;

    let stdin =
        stdin_write.map(|fd| (File::from(fd), command.stdin.as_deref().unwrap_or_default()));
    let streamed = stream(&running, File::from(read), status_read, stdin, sink);
    let ended = pidfd::wait(running.pidfd.as_fd()).tried(|| format!("wait for {shown}"));
    end_the_rest();
    streamed.tried(|| format!("read the output of {shown}"))?;
    ended
}

fn command_plan(
    root: &Path,
    command: &Command,
    stdin: &OwnedFd,
    output: &OwnedFd,
    status: Option<&OwnedFd>,
) -> Result<Plan> {
    let mut plan = Plan::new().tried(|| "open pipes".to_owned())?;
    let keep = |plan: &mut Plan, fd| plan.keep(fd).tried(|| "copy a descriptor".to_owned());
    let (stdin, output) = (keep(&mut plan, stdin)?, keep(&mut plan, output)?);
    plan.step("wait for the parent", Step::WaitForGo);
    plan.step("start a session", Step::Setsid);
    plan.step(
        format!("change the root to {}", root.display()),
        Step::Chroot(c_string(root.as_os_str().as_bytes())?),
    );
    let directory = command.directory.as_deref().unwrap_or(Path::new("/"));
    plan.step(
        format!("change to the directory {}", directory.display()),
        Step::Chdir(c_string(directory.as_os_str().as_bytes())?),
    );
    plan.step("set the umask", Step::Umask(0o022));
    if command.nosync {
        plan.step("ignore syncs", Step::Seccomp(program(Filter::NoSync)));
    }
    plan.step("close descriptors", Step::CloseOnExecFrom(3));
    let status = status.map(|fd| keep(&mut plan, fd)).transpose()?;
    let standard = [(stdin, 0), (output, 1), (output, 2)];
    for (from, to) in standard.into_iter().chain(status.map(|fd| (fd, 3))) {
        plan.step(format!("pass descriptor {to}"), Step::Dup2(from, to));
    }
    plan.step(
        "execute it",
        Step::Exec(program_of(&command.argv, &command.environment)?),
    );
    Ok(plan)
}

/// The program of an argument vector, looked for in the PATH of its environment.
pub(crate) fn program_of(argv: &[OsString], environment: &[(OsString, OsString)]) -> Result<Exec> {
    let Some(name) = argv.first().filter(|name| !name.is_empty()) else {
        return Err(Error::user("no command was given"));
    };
    let candidates = if name.as_bytes().contains(&b'/') {
        vec![c_string(name.as_bytes())?]
    } else {
        environment
            .iter()
            .rev()
            .find(|(key, _)| key == "PATH")
            .map_or(DEFAULT_PATH.as_bytes(), |(_, value)| value.as_bytes())
            .split(|byte| *byte == b':')
            .filter(|directory| !directory.is_empty())
            .map(|directory| c_string([directory, b"/", name.as_bytes()].concat()))
            .collect::<Result<_>>()?
    };
    let argv = argv
        .iter()
        .map(|a| c_string(a.as_bytes()))
        .collect::<Result<_>>()?;
    let environment = environment
        .iter()
        .map(|(key, value)| c_string([key.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect::<Result<_>>()?;
    Ok(Exec::new(candidates, argv, environment))
}

/// Feeds the command and passes on what it writes until it has ended and, of what it wrote, nothing
/// is left. Processes that it left behind may hold the pipes open for ever: they are not waited for.
fn stream(
    running: &spawn::Running,
    output: File,
    status: Option<File>,
    mut stdin: Option<(File, &[u8])>,
    sink: &mut dyn FnMut(Stream, &[u8]),
) -> io::Result<()> {
    let nonblocking = |file: &File| fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop);
    let mut outputs = vec![(Stream::Output, output)];
    outputs.extend(status.map(|status| (Stream::Status, status)));
    for (_, file) in &outputs {
        nonblocking(file)?;
    }
    if let Some((file, _)) = &stdin {
        nonblocking(file)?;
    }
    let mut buffer = vec![0u8; 65_536];
    let mut ended = false;
    while !outputs.is_empty() {
        let mut fds: Vec<PollFd> = outputs
            .iter()
            .map(|(_, file)| PollFd::new(file.as_fd(), PollFlags::POLLIN))
            .collect();
        if !ended {
            fds.push(PollFd::new(running.pidfd.as_fd(), PollFlags::POLLIN));
        }
        if let Some((file, _)) = &stdin {
            fds.push(PollFd::new(file.as_fd(), PollFlags::POLLOUT));
        }
        // After its end only what is in the pipes already counts.
        let wait = if ended {
            PollTimeout::ZERO
        } else {
            PollTimeout::NONE
        };
        match poll(&mut fds, wait) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        let mut read_some = false;
        let mut index = 0;
        while let Some((stream, file)) = outputs.get_mut(index) {
            match file.read(&mut buffer) {
                // Closed, by the end of it or before.
                Ok(0) => {
                    outputs.swap_remove(index);
                    continue;
                }
                Ok(n) => {
                    sink(*stream, &buffer[..n]);
                    read_some = true;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            index += 1;
        }
        if read_some {
            continue;
        }
        if ended {
            return Ok(());
        }
        if let Some((file, rest)) = &mut stdin {
            match file.write(rest) {
                Ok(n) if n < rest.len() => *rest = &rest[n..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // All is written, or nobody reads: both close the pipe.
                Ok(_) | Err(_) => stdin = None,
            }
        }
        ended = pidfd::ended(running.pidfd.as_fd(), Some(std::time::Duration::ZERO))?;
    }
    if !ended {
        // It closed its outputs but runs on.
        pidfd::ended(running.pidfd.as_fd(), None)?;
    }
    Ok(())
}

/// Kills and reaps everything in the pid namespace but its first process, us.
fn end_the_rest() {
    loop {
        // ESRCH: nobody is left. Processes may fork while they are being killed, so again.
        let killed = kill(Pid::from_raw(-1), Signal::SIGKILL);
        let reaped = matches!(pidfd::wait_any(killed.is_ok()), Ok(Some(_)));
        if killed.is_err() && !reaped {
            return;
        }
    }
}

/// A rootfs, whose links are followed inside it only.
struct Inside {
    root: OwnedFd,
}

impl Inside {
    fn open(root: &Path) -> Result<Inside> {
        open(
            root,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map(|root| Inside { root })
        .tried(|| format!("open the rootfs {}", root.display()))
    }

    fn lookup(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.root, path, how)
    }

    /// Opens a directory, made if it is missing.
    fn directory(&self, path: &str) -> Result<OwnedFd> {
        let opened = match self.lookup(path, OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) => {
                let (parent, name) = split(path);
                self.lookup(parent, OFlag::O_DIRECTORY)
                    .and_then(|parent| mkdirat(parent, name, Mode::from_bits_truncate(0o755)))
                    .and_then(|()| self.lookup(path, OFlag::O_DIRECTORY))
            }
            other => other,
        };
        opened.tried(|| format!("open /{path} in the rootfs"))
    }

    fn mount(&self, path: &str, fs: &FileSystem) -> Result<()> {
        let what = || {
            format!(
                "mount {} at /{path} in the rootfs",
                fs.kind.to_string_lossy()
            )
        };
        let target = self.directory(path)?;
        let made = mount::new_file_system(fs).tried(what)?;
        mount::attach(made.as_fd(), target.as_fd()).tried(what)
    }

    fn device(&self, name: &str, source: &str) -> Result<()> {
        let what = || format!("bind /dev/{source} at /dev/{name} in the rootfs");
        let dev = self.directory("dev")?;
        if fstatat(&dev, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_err() {
            mknodat(
                &dev,
                name,
                SFlag::S_IFREG,
                Mode::from_bits_truncate(0o644),
                0,
            )
            .tried(what)?;
        }
        let target = self
            .lookup(&format!("dev/{name}"), OFlag::empty())
            .tried(what)?;
        let tree = mount::open_tree(&Path::new("/dev").join(source), false).tried(what)?;
        mount::attach(tree.as_fd(), target.as_fd()).tried(what)
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}
