//! Running a command in a container from outside.
//!
//! A child joins the container's cgroups and, through a pidfd of its init, all of its namespaces;
//! a second one, in the pid namespace, becomes the command. It gets what init has (capabilities,
//! seccomp) and nothing of the caller's environment.

mod terminal;

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::terminal::Session;
use crate::cgroup::Entrance;
use crate::container::{Container, State, must_be_root};
use crate::error::{Error, Reason, Result, Tried};
use crate::init::{add_filters, add_privileges, last_capability};
use crate::sandbox::c_string;
use crate::sandbox::in_root::{DEFAULT_PATH, program_of};
use crate::signals::Signals;
use crate::sys::pidfd::{self, Ended};
use crate::sys::plan::{Plan, Step};
use crate::sys::spawn::{Patience, Running, StartFailure, spawn};

/// How long the way from clone to execve may take. It is a few milliseconds, unless the guest, or
/// an overloaded host, prevents it.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A command to run in a container.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct ExecRequest {
    /// The command, looked for in PATH inside, and its arguments.
    pub argv: Vec<OsString>,
    /// Variables on top of PATH, HOME, TERM (with a terminal) and `container`.
    pub environment: Vec<(OsString, OsString)>,
    /// The user inside; root if 0.
    pub uid: u32,
    /// The group inside.
    pub gid: u32,
    /// The working directory inside; `/` if `None`.
    pub directory: Option<PathBuf>,
}

impl Container {
    /// Runs a command and waits for it. Returns its exit status, or 128 + the signal that ended it.
    ///
    /// Its standard streams are this process's; those that are terminals are replaced by one
    /// terminal of the container, and while it runs, keys and window size are passed on. SIGTERM,
    /// SIGINT, SIGHUP and SIGQUIT are passed on to it: call this from the main thread, with these
    /// not handled elsewhere.
    ///
    /// # Errors
    /// [`Reason::NotRunning`], [`Reason::CommandNotFound`] (shells say 127),
    /// [`Reason::CommandNotExecutable`] (126).
    pub fn exec(&self, request: &ExecRequest) -> Result<i32> {
        must_be_root("run a command in a container")?;
        let init = self.init()?;
        let mut session = Session::open(init.pid, init.root)?;
        // Blocked before there is a command to pass them on to, so that none is lost.
        let signals = Signals::new()?;
        let running = match self.enter(&init, request, &session, &signals)? {
            Entered::Running(running) => running,
            Entered::Interrupted(signal) => return Ok(Ended::Signaled(signal).code()),
        };
        session.begin()?;
        let code = wait(&running, &mut session, &signals);
        drop(session);
        code
    }

    /// The container's init, held by a descriptor.
    fn init(&self) -> Result<Init> {
        let mut client = self.client()?;
        let status = client.status()?;
        let Some(pid) = status.init_pid else {
            return Err(Error::environment(format!(
                "container \"{}\" is between two starts",
                self.name()
            ))
            .with_hint("try again; see also its console: sampan logs"));
        };
        if status.state == State::Frozen {
            return Err(
                Error::user(format!("container \"{}\" is frozen", self.name()))
                    .with_hint(format!("thaw it: sampan unfreeze {}", self.name())),
            );
        }
        let pidfd = pidfd::open(pid).tried(|| format!("open a pidfd of process {pid}"))?;
        // The monitor tells a pid only while it has not reaped that process: if it still tells the
        // same one, the descriptor is of init and not of a stranger with a recycled pid.
        if client.status()?.init_pid != Some(pid) {
            return Err(Error::environment(format!(
                "container \"{}\" restarted in this moment",
                self.name()
            ))
            .with_hint("try again"));
        }
        Ok(Init {
            pid,
            pidfd,
            root: (status.root_uid, status.root_gid),
        })
    }

    /// Nothing here may wait for the guest without a way out: it can move the child into a frozen
    /// cgroup at any time.
    fn enter(
        &self,
        init: &Init,
        request: &ExecRequest,
        session: &Session,
        signals: &Signals,
    ) -> Result<Entered> {
        let cgroup = self.cgroup()?;
        let entrance = cgroup.entrance_at(cgroup.open_exec_leaf()?)?;
        let profile = crate::seccomp::kept(&self.run_directory().filter())?;
        let plan = plan(init, request, session, &entrance, profile)?;
        let child = spawn(plan, 0, entrance.unified())?;
        child.go(&[])?;
        let shown = || {
            let command = request.argv.first().cloned().unwrap_or_default();
            format!(
                "could not run \"{}\" in container \"{}\"",
                command.to_string_lossy(),
                self.name()
            )
        };
        let started = child.wait_for_exec_with(Some(Patience {
            limit: START_TIMEOUT,
            signals: signals.as_fd(),
            ended_by: &mut || signals.ending(),
        }));
        match started {
            Ok(running) => Ok(Entered::Running(running)),
            Err(StartFailure::Interrupted(signal)) => Ok(Entered::Interrupted(signal)),
            Err(StartFailure::Exec(libc::ENOENT, _)) => Err(Error::user(format!(
                "{}: there is no such command in it",
                shown()
            ))
            .with_reason(Reason::CommandNotFound)),
            Err(StartFailure::Exec(_, error)) => Err(error
                .wrap(shown())
                .with_reason(Reason::CommandNotExecutable)),
            Err(StartFailure::TimedOut) => Err(Error::environment(format!(
                "{}: the container's cgroup does not let a command start; it may be frozen",
                shown()
            ))
            .with_hint(format!(
                "nothing of the command is left; the container can be stopped: sampan stop --kill {}",
                self.name()
            ))),
            Err(StartFailure::Other(error)) => Err(error.wrap(shown())),
        }
    }
}

enum Entered {
    Running(Running),
    /// By this signal, before the command ran.
    Interrupted(i32),
}

struct Init {
    pid: i32,
    pidfd: OwnedFd,
    /// The host's ids of its root, as it was started: the config may have changed since.
    root: (u32, u32),
}

impl Init {
    /// Namespaces that init has and we have not: setns(2) refuses our own user namespace.
    fn namespaces(&self) -> Result<libc::c_int> {
        let mut flags = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWCGROUP;
        let read = |path: String| fs::read_link(&path).tried(|| format!("read {path}"));
        if read(format!("/proc/{}/ns/user", self.pid))? != read("/proc/self/ns/user".to_owned())? {
            flags |= libc::CLONE_NEWUSER;
        }
        Ok(flags)
    }

    /// The capabilities that init can never have.
    fn dropped(&self) -> Result<Vec<u32>> {
        let path = format!("/proc/{}/status", self.pid);
        let text = fs::read_to_string(&path).tried(|| format!("read {path}"))?;
        let bounding = text
            .lines()
            .find_map(|line| line.strip_prefix("CapBnd:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .ok_or_else(|| Error::internal(format!("{path} has no CapBnd line")))?;
        let last = last_capability()?.min(63);
        Ok((0..=last).filter(|n| bounding & (1 << n) == 0).collect())
    }
}

fn plan(
    init: &Init,
    request: &ExecRequest,
    session: &Session,
    entrance: &Entrance,
    profile: Option<Vec<libc::sock_filter>>,
) -> Result<Plan> {
    let mut plan = Plan::new().tried(|| "open pipes".to_owned())?;
    entrance.add_steps(&mut plan)?;
    let copy = || "copy a descriptor".to_owned();
    let pidfd = plan.keep(&init.pidfd).tried(copy)?;
    let mut streams = Vec::new();
    for (number, stream) in session.streams()?.into_iter().enumerate() {
        streams.push((plan.keep_borrowed(stream).tried(copy)?, number as i32));
    }
    plan.step("wait for the parent", Step::WaitForGo);
    plan.step("hide from the guest", Step::HideFromGuest);
    plan.step(
        "enter the container's namespaces",
        Step::Setns(pidfd, init.namespaces()?),
    );
    plan.step(
        "start a process in the container",
        Step::ForkIntoPidNamespace,
    );
    plan.step("start a session", Step::Setsid);
    if let Some(slave) = session.slave() {
        let slave = plan.keep_borrowed(slave).tried(copy)?;
        plan.step("take the terminal", Step::ControllingTty(slave));
    }
    plan.step("leave the host's keys behind", Step::NewSessionKeyring);
    add_privileges(&mut plan, &init.dropped()?);
    // Before the ids: only root of the namespace may install it.
    add_filters(&mut plan, profile);
    plan.step(
        format!("become user {} and group {}", request.uid, request.gid),
        Step::SetIds {
            uid: request.uid,
            gid: request.gid,
            groups: Vec::new(),
        },
    );
    plan.step("bind its life to its caller's", Step::DieWithParent);
    plan.step("set the umask", Step::Umask(0o022));
    plan.step("close descriptors", Step::CloseOnExecFrom(3));
    for (from, to) in streams {
        plan.step(format!("pass descriptor {to}"), Step::Dup2(from, to));
    }
    let directory = request.directory.as_deref().unwrap_or(Path::new("/"));
    plan.step(
        format!("change to the directory {}", directory.display()),
        Step::Chdir(c_string(directory.as_os_str().as_bytes())?),
    );
    plan.step(
        "execute it",
        Step::Exec(program_of(&request.argv, &environment(request, session))?),
    );
    Ok(plan)
}

fn environment(request: &ExecRequest, session: &Session) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), DEFAULT_PATH.into()),
        ("container".into(), "lxc".into()),
    ];
    if request.uid == 0 {
        variables.push(("HOME".into(), "/root".into()));
    }
    if session.slave().is_some()
        && let Some(term) = std::env::var_os("TERM")
    {
        variables.push(("TERM".into(), term));
    }
    for (key, value) in &request.environment {
        variables.retain(|(known, _)| known != key);
        variables.push((key.clone(), value.clone()));
    }
    variables
}

fn wait(running: &Running, session: &mut Session, signals: &Signals) -> Result<i32> {
    loop {
        let mut fds: Vec<PollFd<'_>> = vec![
            PollFd::new(running.pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(session.poll_fds());
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e).tried(|| "wait for the command".to_owned()),
        }
        let ended = fds[0].any().unwrap_or(false);
        while let Some(signal) = signals.next() {
            if signal == libc::SIGWINCH {
                session.resize();
            } else {
                // It has ended already: seen below.
                let _ = pidfd::signal_number(running.pidfd.as_fd(), signal);
            }
        }
        session.relay();
        if ended {
            session.finish();
            let ended =
                pidfd::wait(running.pidfd.as_fd()).tried(|| "wait for the command".to_owned())?;
            return Ok(ended.code());
        }
    }
}

/// A stream of this process, to be handed on.
pub(super) type Stream<'a> = BorrowedFd<'a>;
