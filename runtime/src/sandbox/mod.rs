//! The sandbox in which template code runs.
//!
//! Its own user, mount, pid, ipc, uts and network namespaces; a root file system of nothing but the
//! host's shared libraries (read-only), the program, what the caller binds, and a rootfs to work
//! on. There is no network, no /etc, no /home and no /sys. The process is pid 1 in there: when it
//! dies, everything it started dies with it, and it dies with the program that started it.
//!
//! Read-only binds keep the host's owners, whom nobody inside is: the modes for *others* apply.

pub mod in_root;
mod process;
mod view;

pub(crate) use view::{DEVICE_LINKS, DEVICES, proc_file_system, tmpfs};

use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::mpsc;

pub use process::SandboxProcess;

use crate::cgroup::{Entrance, Limits, SandboxCgroup, can_limit};
use crate::error::{Error, Result, Tried};
use crate::idmap::IdRange;
use crate::storage::RootPath;
use crate::sys::plan::{Exec, FIRST_PRIVATE_FD, Plan, Step};
use crate::sys::seccomp::{Filter, program};
use crate::sys::spawn::{Running, spawn};

/// Processes and threads in a sandbox, unless it is said otherwise: no host ends by them, and no
/// installation of packages needs as many.
const PROCESSES: u64 = 4096;

/// What to run, and what it may see.
#[derive(Debug)]
pub struct Sandbox {
    /// The host's path of the executable. Inside it is `/sampan`.
    pub program: PathBuf,
    /// Arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Files and directories shown read-only: the host's path, and the absolute path inside.
    pub read_only: Vec<(PathBuf, PathBuf)>,
    /// Files shown writable at `/rootfs`, where uid 0 on disk is uid 0 inside.
    pub rootfs: Option<RootPath>,
    /// Descriptors, and the numbers (from 3 on) under which the program finds them.
    pub fds: Vec<(OwnedFd, RawFd)>,
    /// Where standard output and standard error go. Standard input is /dev/null.
    pub output: OwnedFd,
    /// The host ids of those inside.
    pub ids: IdRange,
    /// Limits of everything inside together.
    pub limits: Limits,
    /// Whether it has the caller's network rather than none, without power over it.
    pub(crate) network: bool,
}

impl Sandbox {
    /// A sandbox with nothing but a program in it. It may have 4096 processes and threads (where
    /// the host can limit that), and any amount of memory.
    pub fn new(program: impl Into<PathBuf>, output: OwnedFd, ids: IdRange) -> Sandbox {
        Sandbox {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            read_only: Vec::new(),
            rootfs: None,
            fds: Vec::new(),
            output,
            ids,
            limits: Limits {
                memory: None,
                processes: can_limit("pids").then_some(PROCESSES),
            },
            network: false,
        }
    }

    /// Whether this host can hold a sandbox to an amount of memory.
    pub fn can_limit_memory() -> bool {
        can_limit("memory")
    }

    /// Ends it when it takes more memory than this, what it writes to a tmpfs included.
    pub fn limit_memory(&mut self, bytes: u64) {
        self.limits.memory = Some(bytes);
    }

    /// Starts it, and returns when the program runs.
    pub fn spawn(self) -> Result<SandboxProcess> {
        if !nix::unistd::geteuid().is_root() {
            return Err(
                Error::environment("only root can start a sandbox").with_hint("run it with sudo")
            );
        }
        // The child dies with the *thread* that started it (PR_SET_PDEATHSIG), so it gets a thread
        // that lives as long as the handle.
        let rootfs = self.rootfs.clone();
        let (started, starting) = mpsc::channel();
        let (keep, kept) = mpsc::channel::<()>();
        std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || {
                if started.send(self.start()).is_ok() {
                    // An error is the drop of the handle.
                    let _ = kept.recv();
                }
            })
            .tried(|| "start a thread for the sandbox".to_owned())?;
        let started = starting
            .recv()
            .map_err(|_| Error::internal("the thread of the sandbox died"))
            .and_then(|started| started);
        match started {
            Ok((running, cgroup)) => Ok(SandboxProcess::new(running, cgroup, rootfs, keep)),
            Err(error) => {
                process::end_work(rootfs.as_ref());
                Err(error)
            }
        }
    }

    fn start(self) -> Result<(Running, Option<SandboxCgroup>)> {
        let mut namespaces = libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS;
        if !self.network {
            namespaces |= libc::CLONE_NEWNET;
        }
        let cgroup = match SandboxCgroup::new(&self.limits) {
            // Without cgroups there is still the pid namespace, with which everything ends.
            Err(_) if self.limits.is_empty() => None,
            other => Some(other?),
        };
        let entrance = match &cgroup {
            Some(cgroup) => cgroup.entrance()?,
            None => Entrance::default(),
        };
        let child = spawn(self.plan(&entrance)?, namespaces, entrance.unified())?;
        let user = map_ids(child.pid(), self.ids)?;
        match &self.rootfs {
            Some(rootfs) => {
                let tree = rootfs.mount_for_work(user.as_fd(), libc::MOUNT_ATTR_NODEV)?;
                child.go(&[tree.as_fd()])?;
            }
            None => child.go(&[])?,
        }
        Ok((child.wait_for_exec()?, cgroup))
    }

    fn plan(&self, entrance: &Entrance) -> Result<Plan> {
        let mut plan = Plan::new().tried(|| "open pipes".to_owned())?;
        entrance.add_steps(&mut plan)?;
        view::add_steps(self, &mut plan)?;
        // A terminal's Ctrl-C reaches the program that started it, which ends it in order.
        plan.step("start a session", Step::Setsid);
        plan.step(
            "refuse system calls",
            Step::Seccomp(program(Filter::Sandbox)),
        );

        let keep =
            |plan: &mut Plan, fd: &OwnedFd| plan.keep(fd).tried(|| "copy a descriptor".to_owned());
        let null = File::open("/dev/null").tried(|| "open /dev/null".to_owned())?;
        let input = keep(&mut plan, &OwnedFd::from(null))?;
        let output = keep(&mut plan, &self.output)?;
        let mut numbers = vec![(input, 0), (output, 1), (output, 2)];
        for (fd, number) in &self.fds {
            if !(3..FIRST_PRIVATE_FD).contains(number) {
                return Err(Error::internal(format!(
                    "descriptor {number} is not between 3 and {FIRST_PRIVATE_FD}"
                )));
            }
            numbers.push((keep(&mut plan, fd)?, *number));
        }
        plan.step("close descriptors", Step::CloseOnExecFrom(3));
        for (from, to) in numbers {
            plan.step(format!("pass descriptor {to}"), Step::Dup2(from, to));
        }
        let environment = self
            .environment
            .iter()
            .map(|(key, value)| {
                let mut text = key.as_bytes().to_vec();
                text.push(b'=');
                text.extend(value.as_bytes());
                c_string(text)
            })
            .collect::<Result<_>>()?;
        let argv = [b"sampan".to_vec()]
            .into_iter()
            .chain(self.arguments.iter().map(|a| a.as_bytes().to_vec()))
            .map(c_string)
            .collect::<Result<_>>()?;
        plan.step(
            format!("execute {} in the sandbox", self.program.display()),
            Step::Exec(Exec::new(vec![c"/sampan".to_owned()], argv, environment)),
        );
        Ok(plan)
    }
}

/// Writes the id maps of a process in a new user namespace, and opens that namespace.
pub(crate) fn map_ids(pid: i32, ids: IdRange) -> Result<OwnedFd> {
    let line = ids.map_line();
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{pid}/{file}");
        std::fs::write(&path, &line).tried(|| format!("write \"{}\" to {path}", line.trim()))?;
    }
    let path = format!("/proc/{pid}/ns/user");
    File::open(&path)
        .map(OwnedFd::from)
        .tried(|| format!("open {path}"))
}

pub(crate) fn c_string(bytes: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(bytes).map_err(|e| {
        Error::user(format!(
            "\"{}\" contains a zero byte",
            String::from_utf8_lossy(&e.into_vec())
        ))
    })
}
