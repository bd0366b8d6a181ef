//! A plan: what a child does between `clone3` and `execve`, prepared by the parent.
//!
//! After a fork of a program with threads the child may not allocate, lock or panic. So the parent
//! formats everything beforehand into [`Step`]s, and keeps for each a sentence that says what it
//! does; the child (`child::run`) only executes them, and reports a failure as
//! (index of the step, errno), which [`Plan::explain`] turns back into words.

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::error::Error;

/// Descriptors of a plan are moved above this number, so that they cannot collide with the numbers
/// (standard streams, control sockets) that the new program is to find.
pub(crate) const FIRST_PRIVATE_FD: RawFd = 200;

/// How many descriptors a child can hold in its slots.
pub(crate) const SLOTS: usize = 16;

/// The sentence of step 0 of the protocol: failures before any step.
pub(crate) const BEFORE_FIRST_STEP: u32 = u32::MAX;

/// Where a child finds a descriptor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// Inherited from the parent under this number.
    Fd(RawFd),
    /// Made or received by the child itself.
    Slot(usize),
}

/// One system call, or a small fixed group of them.
#[derive(Debug)]
pub(crate) enum Step {
    /// Wait for the parent's go byte; descriptors that come with it land in slots from 0 on.
    WaitForGo,
    /// Move this process to the version 1 cgroup of this open `tasks`.
    EnterCgroup(RawFd),
    /// `mount --make-rprivate /`.
    PrivateMounts,
    /// Make a detached mount of a new file system and keep it in a slot.
    NewFileSystem(FileSystem, usize),
    /// Make a new file system and attach it.
    Mount(FileSystem, CString),
    /// Attach a detached mount. The target is looked up without magic links, so that a hostile
    /// tree cannot lead through `/proc/self/fd` to a descriptor held here.
    Attach(Source, CString),
    /// Clone the mount at a path into a slot (a bind mount not yet attached).
    CloneTree {
        path: CString,
        recursive: bool,
        slot: usize,
    },
    /// `mount_setattr` on the mount in a slot.
    SlotAttributes {
        slot: usize,
        set: u64,
        clear: u64,
    },
    /// How what is mounted below the mount in a slot is passed on: an `MS_*` of mount(2).
    SlotPropagation {
        slot: usize,
        kind: libc::c_ulong,
        recursive: bool,
    },
    /// `mount_setattr` on the mount at a path.
    PathAttributes {
        path: CString,
        set: u64,
        clear: u64,
        recursive: bool,
    },
    /// Make the mount at this path `/` and detach the old root.
    PivotRoot(CString),
    /// Make a directory (an existing one is fine): parent, name, mode.
    Mkdir(CString, CString, libc::mode_t),
    /// Make an empty file to mount on (an existing one is fine).
    CreateFile(CString),
    Symlink {
        target: CString,
        path: CString,
    },
    Chdir(CString),
    Chroot(CString),
    SetHostname(CString),
    LoopbackUp,
    Unshare(libc::c_int),
    Setns(RawFd, libc::c_int),
    /// Go on in a child that belongs to this process's parent; report its pid and exit. The child
    /// waits for another go, which the parent gives when it holds a descriptor of it.
    ForkIntoPidNamespace,
    /// Go on in a child, and stay as the init that waits for it. `arguments`: where this program's
    /// arguments lie in memory.
    ForkCommand {
        arguments: Range<usize>,
    },
    SetIds {
        uid: libc::uid_t,
        gid: libc::gid_t,
        groups: Vec<libc::gid_t>,
    },
    Setsid,
    ControllingTty(RawFd),
    Dup2(RawFd, RawFd),
    /// Open a terminal as standard input, output and error.
    StandardStreams(CString),
    /// Mark every descriptor from this number on as close-on-exec.
    CloseOnExecFrom(libc::c_uint),
    DropBoundingCapability(libc::c_ulong),
    /// Empty the inheritable and ambient sets.
    ClearInheritable,
    NoNewPrivileges,
    /// Join an empty session keyring: the one of whoever starts a container opens their keys.
    NewSessionKeyring,
    /// Until `execve`, let nobody without power over the host look into this process: it still has
    /// the host's program and descriptors when it enters a container.
    HideFromGuest,
    Seccomp(Vec<libc::sock_filter>),
    Umask(libc::mode_t),
    /// Die with the thread that spawned us. After [`Step::SetIds`], which clears the setting.
    DieWithParent,
    /// Keep this process's root directory in a slot.
    KeepRoot(usize),
    /// Go back to a root directory kept in a slot.
    ReturnToRoot(usize),
    /// Write to a file below a directory (or detached mount), without following links out of it.
    WriteAt(Source, CString, Vec<u8>),
    /// Run a program and wait for it. One that fails ends the plan.
    Run(Program),
    /// Tell the parent, and wait until it says go.
    Pause,
    /// Try each path in turn.
    Exec(Exec),
}

/// A file system to be made with `fsopen`.
#[derive(Debug, Clone)]
pub(crate) struct FileSystem {
    pub(crate) kind: CString,
    /// Keys with a value, or flags.
    pub(crate) options: Vec<(CString, Option<CString>)>,
    /// `MOUNT_ATTR_*`.
    pub(crate) attributes: u64,
}

/// The program at the end of a plan, with the null-terminated arrays that `execve` reads.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(super) candidates: Vec<CString>,
    pub(super) argv: Vec<*const libc::c_char>,
    pub(super) environment: Vec<*const libc::c_char>,
    /// Owns what the two arrays point into (a `CString` does not move its bytes).
    _strings: Vec<CString>,
}

impl Exec {
    /// Tries each of `candidates` in turn, as `execvp` does with PATH.
    pub(crate) fn new(
        candidates: Vec<CString>,
        argv: Vec<CString>,
        environment: Vec<CString>,
    ) -> Exec {
        let pointers = |strings: &[CString]| {
            strings
                .iter()
                .map(|s| s.as_ptr())
                .chain([std::ptr::null()])
                .collect()
        };
        Exec {
            candidates,
            argv: pointers(&argv),
            environment: pointers(&environment),
            _strings: argv.into_iter().chain(environment).collect(),
        }
    }
}

/// A program run on the way, by a process of its own.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) exec: Exec,
    /// What it writes goes here.
    pub(crate) output: RawFd,
    /// The slot of its root directory, if that is not the child's.
    pub(crate) root: Option<usize>,
    /// How long it may take, in milliseconds; then it is killed.
    pub(crate) limit: libc::c_int,
}

pub(super) struct Entry {
    pub(super) step: Step,
    what: String,
    /// On failure go on this many steps further instead of failing.
    pub(super) skip: Option<usize>,
}

/// The steps, and the descriptors they need.
pub(crate) struct Plan {
    pub(super) entries: Vec<Entry>,
    pub(super) report_read: OwnedFd,
    pub(super) report_write: OwnedFd,
    pub(super) go_parent: OwnedFd,
    pub(super) go_child: OwnedFd,
    kept: Vec<OwnedFd>,
}

impl Plan {
    pub(crate) fn new() -> io::Result<Plan> {
        let (report_read, report_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let (go_parent, go_child) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok(Plan {
            entries: Vec::new(),
            report_read,
            report_write: lift(&report_write)?,
            go_parent,
            go_child: lift(&go_child)?,
            kept: Vec::new(),
        })
    }

    /// Appends a step. `what` completes "could not …".
    pub(crate) fn step(&mut self, what: impl Into<String>, step: Step) {
        self.entries.push(Entry {
            step,
            what: what.into(),
            skip: None,
        });
    }

    /// Appends steps that may fail: at the first failure the rest of them is left out.
    pub(crate) fn optional(&mut self, steps: Vec<(String, Step)>) {
        let count = steps.len();
        for (done, (what, step)) in steps.into_iter().enumerate() {
            self.entries.push(Entry {
                step,
                what,
                skip: Some(count - done),
            });
        }
    }

    /// Keeps a descriptor open until the child has started; returns the number for the steps.
    pub(crate) fn keep(&mut self, fd: &OwnedFd) -> io::Result<RawFd> {
        self.keep_borrowed(std::os::fd::AsFd::as_fd(fd))
    }

    /// As [`Plan::keep`].
    pub(crate) fn keep_borrowed(&mut self, fd: BorrowedFd<'_>) -> io::Result<RawFd> {
        let high = lift_borrowed(fd)?;
        let number = high.as_raw_fd();
        self.kept.push(high);
        Ok(number)
    }

    pub(super) fn sentences(&self) -> Vec<String> {
        self.entries.iter().map(|e| e.what.clone()).collect()
    }
}

/// The child's report of a failure, in words.
pub(crate) fn explain(sentences: &[String], step: u32, errno: i32) -> Error {
    let what = sentences
        .get(step as usize)
        .map_or("start the process", String::as_str);
    let error = Error::os(
        format!("could not {what}"),
        io::Error::from_raw_os_error(errno),
    );
    match hint(what, errno) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The child's report of a program that failed: a status of wait(2), or `None` if it took too long.
pub(crate) fn explain_program(sentences: &[String], step: u32, status: Option<i32>) -> Error {
    let what = sentences
        .get(step as usize)
        .map_or("run a program", String::as_str);
    let how = match status {
        None => "it did not end in time and was killed".to_owned(),
        Some(status) if libc::WIFSIGNALED(status) => {
            format!("it was killed by signal {}", libc::WTERMSIG(status))
        }
        Some(status) => format!("it ended with status {}", libc::WEXITSTATUS(status)),
    };
    Error::user(format!("could not {what}: {how}"))
}

fn hint(what: &str, errno: i32) -> Option<&'static str> {
    let mount = what.starts_with("mount ") || what.starts_with("attach ");
    match errno {
        libc::ENOSYS => Some("the kernel lacks this system call: Sampan needs Linux 5.15 or later"),
        libc::ENODEV if mount => Some("the kernel does not have this file system"),
        libc::EPERM if mount => Some(
            "the kernel refuses this mount inside a user namespace; for proc and sysfs, the host's own /proc and /sys must be mounted without anything over parts of them, and in a network that is not its own (lxc.net.N.type = none) there is no sysfs: take sys out of lxc.mount.auto",
        ),
        libc::ENOENT if mount => Some(
            "the mount point does not exist in the root file system; `create=dir` or `create=file` makes it",
        ),
        libc::ELOOP => Some("a symbolic link in the root file system leads where none may"),
        _ => None,
    }
}

fn lift(fd: &OwnedFd) -> io::Result<OwnedFd> {
    lift_borrowed(std::os::fd::AsFd::as_fd(fd))
}

fn lift_borrowed(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(FIRST_PRIVATE_FD)).map_err(|e| match e {
        // What fcntl(2) says when the limit is below the number asked for.
        Errno::EINVAL => Errno::EMFILE,
        other => other,
    })?;
    Ok(super::owned(number.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_failed_step_becomes_a_sentence_with_a_cause_and_a_hint() {
        let sentences = vec![
            "set the host name".to_owned(),
            "mount proc at /proc".to_owned(),
        ];
        let error = explain(&sentences, 1, libc::EPERM);
        assert!(
            error
                .chain()
                .starts_with("could not mount proc at /proc: Operation not permitted"),
            "{}",
            error.chain()
        );
        assert!(error.hint().is_some());
        assert_eq!(error.kind(), ErrorKind::Environment);
    }

    #[test]
    fn a_report_from_before_the_first_step_is_still_a_sentence() {
        assert!(
            explain(&[], BEFORE_FIRST_STEP, libc::ENOMEM)
                .chain()
                .starts_with("could not start the process")
        );
    }

    #[test]
    fn descriptors_of_a_plan_stay_out_of_the_way_of_the_new_programs() {
        let mut plan = Plan::new().unwrap();
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(plan.keep(&null).unwrap() >= FIRST_PRIVATE_FD);
        assert!(plan.report_write.as_raw_fd() >= FIRST_PRIVATE_FD);
    }
}
