//! Starting a [`Plan`] in a child, and watching it until its program runs.

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::child::{self, EXECUTING, FAILED, FORKED, PAUSED, PROGRAM_FAILED, Report, TOO_LONG};
use super::pidfd::{self, Ended};
use super::plan::{Plan, explain, explain_program};
use crate::error::{Error, Result, Tried};

/// linux/sched.h. The libc crate declares it as a `c_int`, which it does not fit in.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child on its way to `execve`. Killed and reaped when dropped before [`Child::wait_for_exec`]
/// has succeeded.
pub(crate) struct Child {
    pid: i32,
    pidfd: Option<OwnedFd>,
    /// The process that took over ([`FORKED`]).
    forked: Option<(i32, OwnedFd)>,
    go: OwnedFd,
    report: File,
    sentences: Vec<String>,
}

/// What ends the wait for a child's program early.
pub(crate) struct Patience<'a> {
    /// How long the child may take.
    pub(crate) limit: Duration,
    /// What becomes readable when a signal arrives.
    pub(crate) signals: BorrowedFd<'a>,
    /// Takes the signals that have arrived; returns one that means the end.
    pub(crate) ended_by: &'a mut dyn FnMut() -> Option<i32>,
}

/// Who has a part in a child's way to its program.
pub(crate) trait Onlooker {
    /// What becomes readable when a program of the plan writes something.
    fn output(&self) -> BorrowedFd<'_>;
    /// Takes what it wrote.
    fn take_output(&mut self);
    /// The child is at a [`Pause`](super::plan::Step::Pause); afterwards it goes on.
    fn paused(&mut self) -> Result<()>;
    /// A program failed: its error with its last words.
    fn explain(&mut self, error: Error) -> Error;
}

/// A process that runs its program.
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// Its namespaces, by their names in /proc/PID/ns, if somebody needs them when it has ended.
    pub(crate) namespaces: Vec<(&'static str, OwnedFd)>,
    /// The child's other end is gone; held so that a sandbox can be told apart from a dead parent.
    _go: OwnedFd,
}

/// A failed start.
pub(crate) enum StartFailure {
    /// The program could not be executed; the errno.
    Exec(i32, Error),
    /// It did not get there in time, and was killed.
    TimedOut,
    /// This signal arrived meanwhile, and it was killed.
    Interrupted(i32),
    /// Something else.
    Other(Error),
}

impl From<StartFailure> for Error {
    fn from(failure: StartFailure) -> Error {
        match failure {
            StartFailure::TimedOut => Error::environment("the process did not start in time"),
            StartFailure::Interrupted(signal) => {
                Error::environment(format!("signal {signal} ended the start of the process"))
            }
            StartFailure::Exec(_, error) | StartFailure::Other(error) => error,
        }
    }
}

/// Starts the child with `clone3`; `namespaces` are `CLONE_NEW*` flags.
pub(crate) fn spawn(
    plan: Plan,
    namespaces: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Child> {
    let sentences = plan.sentences();
    let mut pidfd: RawFd = -1;
    let mut flags = namespaces as u64 | libc::CLONE_PIDFD as u64;
    let mut into = 0;
    if let Some(cgroup) = cgroup {
        flags |= CLONE_INTO_CGROUP;
        into = cgroup.as_raw_fd() as u64;
    }
    // Handlers of this program must not run in the child; it resets them before unblocking.
    let old = SigSet::all()
        .thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)
        .tried(|| "block signals".to_owned())?;
    // SAFETY: all-zero is a valid clone_args; without CLONE_VM the child has its own copy of all
    // memory, and `child::run` only makes async-signal-safe calls and never returns.
    let pid = unsafe {
        let mut args: libc::clone_args = zeroed();
        args.flags = flags;
        args.pidfd = (&raw mut pidfd) as u64;
        args.exit_signal = libc::SIGCHLD as u64;
        args.cgroup = into;
        let pid = libc::syscall(libc::SYS_clone3, &args, size_of::<libc::clone_args>());
        if pid == 0 {
            child::run(&plan);
        }
        super::check(pid)
    };
    // A mask that was in force can be set again.
    let _ = old.thread_set_mask();
    let pid = pid.map_err(|cause| {
        let error = Error::os("could not start a process in new namespaces", cause);
        match cause_hint(&error) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    })?;
    let Plan {
        report_read,
        go_parent,
        ..
    } = plan;
    Ok(Child {
        pid: pid as i32,
        pidfd: Some(super::owned(pidfd.into())),
        forked: None,
        go: go_parent,
        report: File::from(report_read),
        sentences,
    })
}

fn cause_hint(error: &Error) -> Option<&'static str> {
    let cause = std::error::Error::source(error)?.downcast_ref::<io::Error>()?;
    match cause.raw_os_error()? {
        libc::ENOSPC | libc::EUSERS => Some(
            "a limit on namespaces is reached: see `sysctl user.max_user_namespaces` and the other user.max_*_namespaces",
        ),
        libc::EINVAL | libc::ENOSYS => {
            Some("the kernel lacks user namespaces or clone3: Sampan needs Linux 5.15 or later")
        }
        libc::EAGAIN => Some("the limit of processes is reached (ulimit -u, pids cgroup)"),
        _ => None,
    }
}

impl Child {
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets the child go on, with descriptors for its slots 0, 1, …
    pub(crate) fn go(&self, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control: &[ControlMessage<'_>] = if numbers.is_empty() { &[] } else { &rights };
        sendmsg::<()>(
            self.go.as_raw_fd(),
            &[IoSlice::new(b"g")],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .tried(|| "let the new process go on".to_owned())?;
        Ok(())
    }

    /// Waits until the program runs; a failed step is an error that names it.
    pub(crate) fn wait_for_exec(self) -> Result<Running, StartFailure> {
        self.wait(None, None)
    }

    /// As [`Child::wait_for_exec`], for a child that somebody may keep from getting there.
    pub(crate) fn wait_for_exec_with(
        self,
        patience: Option<Patience<'_>>,
    ) -> Result<Running, StartFailure> {
        self.wait(patience, None)
    }

    /// As [`Child::wait_for_exec`], for a plan with programs and pauses.
    pub(crate) fn wait_for_exec_watched(
        self,
        onlooker: &mut dyn Onlooker,
    ) -> Result<Running, StartFailure> {
        self.wait(None, Some(onlooker))
    }

    fn wait(
        mut self,
        mut patience: Option<Patience<'_>>,
        mut onlooker: Option<&mut dyn Onlooker>,
    ) -> Result<Running, StartFailure> {
        let deadline = patience.as_ref().map(|p| Instant::now() + p.limit);
        let mut executing = false;
        loop {
            let other = |what: &'static str| move |e| StartFailure::Other(Error::os(what, e));
            let died = self.wait_for_event(deadline, &mut patience, &mut onlooker)?;
            let report = self
                .read_report(died)
                .map_err(other("could not read the new process's report"))?;
            let Some(Report { tag, step, value }) = report else {
                break;
            };
            match tag {
                FORKED => {
                    let fd =
                        pidfd::open(value).map_err(other("could not open a pidfd of a child"))?;
                    self.forked = Some((value, fd));
                    self.go(&[]).map_err(StartFailure::Other)?;
                }
                EXECUTING => executing = true,
                PAUSED => {
                    if let Some(onlooker) = &mut onlooker {
                        onlooker.paused().map_err(StartFailure::Other)?;
                    }
                    self.go(&[]).map_err(StartFailure::Other)?;
                }
                PROGRAM_FAILED => {
                    let status = (value != TOO_LONG).then_some(value);
                    let error = explain_program(&self.sentences, step, status);
                    return Err(StartFailure::Other(match onlooker {
                        Some(onlooker) => onlooker.explain(error),
                        None => error,
                    }));
                }
                FAILED => {
                    let error = explain(&self.sentences, step, value);
                    return Err(if step as usize + 1 == self.sentences.len() {
                        StartFailure::Exec(value, error)
                    } else {
                        StartFailure::Other(error)
                    });
                }
                _ => {}
            }
        }
        if !executing {
            return Err(StartFailure::Other(self.died_early()));
        }
        let go = self
            .go
            .try_clone()
            .map_err(|e| StartFailure::Other(Error::os("could not copy a descriptor", e)))?;
        // Present until here: only this method, which consumes it, and drop take it.
        let Some(first) = self.pidfd.take() else {
            return Err(StartFailure::Other(Error::internal("the process is gone")));
        };
        let (pid, pidfd) = match self.forked.take() {
            Some(second) => {
                // It exited right after the fork.
                let _ = pidfd::wait(first.as_fd());
                second
            }
            None => (self.pid, first),
        };
        Ok(Running {
            pid,
            pidfd,
            namespaces: Vec::new(),
            _go: go,
        })
    }

    /// Whom to watch: the process that is on its way now.
    fn current(&self) -> Option<BorrowedFd<'_>> {
        let forked = self.forked.as_ref().map(|(_, fd)| fd.as_fd());
        forked.or(self.pidfd.as_ref().map(AsFd::as_fd))
    }

    /// Waits for a report or the child's end; returns whether it has ended. Not only for the pipe's
    /// end: a child of another thread may hold a copy of its other side for a while.
    fn wait_for_event(
        &self,
        deadline: Option<Instant>,
        patience: &mut Option<Patience<'_>>,
        onlooker: &mut Option<&mut dyn Onlooker>,
    ) -> Result<bool, StartFailure> {
        loop {
            let mut fds = vec![PollFd::new(self.report.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.current().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            if let Some(patience) = &patience {
                fds.push(PollFd::new(patience.signals, PollFlags::POLLIN));
            }
            let output = fds.len();
            if let Some(onlooker) = &onlooker {
                fds.push(PollFd::new(onlooker.output(), PollFlags::POLLIN));
            }
            let wait = match deadline {
                None => PollTimeout::NONE,
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(StartFailure::TimedOut);
                    }
                    PollTimeout::try_from(left.as_millis().min(60_000) as i32 + 1)
                        .unwrap_or(PollTimeout::MAX)
                }
            };
            match poll(&mut fds, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => {
                    let error = Error::os("could not wait for the new process", e);
                    return Err(StartFailure::Other(error));
                }
            }
            let ready = |at: usize| fds.get(at).and_then(PollFd::any).unwrap_or(false);
            let (reported, ended) = (ready(0), ready(1));
            let wrote = ready(output);
            drop(fds);
            if wrote && let Some(onlooker) = onlooker {
                onlooker.take_output();
            }
            if let Some(patience) = patience
                && let Some(signal) = (patience.ended_by)()
            {
                return Err(StartFailure::Interrupted(signal));
            }
            if reported || ended {
                return Ok(ended && !reported);
            }
        }
    }

    /// The next report; `None` at the end. Of one that has `died` only what it has already written.
    fn read_report(&mut self, died: bool) -> io::Result<Option<Report>> {
        if died {
            fcntl(&self.report, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        // Reports are written in one piece and so read in one.
        let mut bytes = [0u8; size_of::<Report>()];
        match self.report.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::WouldBlock
                ) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Ok(Some(Report {
            tag: word(0),
            step: word(4),
            value: word(8) as i32,
        }))
    }

    /// The child is gone before its `execve`, and not by a step that failed.
    fn died_early(&mut self) -> Error {
        let last = self.sentences.last().map_or("start", String::as_str);
        let how = match self.forked.take().map(|(_, fd)| fd).or(self.pidfd.take()) {
            Some(fd) => pidfd::wait(fd.as_fd()).ok(),
            None => None,
        };
        let how = match how {
            Some(Ended::Signaled(signal)) => format!("was killed by signal {signal}"),
            Some(Ended::Exited(code)) => format!("ended with status {code}"),
            None => "vanished".to_owned(),
        };
        Error::environment(format!("the new process {how} before it could {last}")).with_hint(
            "a limit of memory may be too small, or somebody killed it; see the kernel log",
        )
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let forked = self.forked.take().map(|(_, fd)| fd);
        for pidfd in self.pidfd.take().into_iter().chain(forked) {
            let _ = pidfd::signal(pidfd.as_fd(), Signal::SIGKILL);
            let _ = pidfd::wait(pidfd.as_fd());
        }
    }
}

/// Sets a resource limit of another process (`prlimit(2)`).
pub(crate) fn set_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the new limit is read, no old one is asked for.
    super::check(unsafe { libc::prlimit64(pid, resource, &limit, std::ptr::null_mut()) }.into())
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::plan::{Exec, Step};

    fn waiting() -> Child {
        let mut plan = Plan::new().unwrap();
        plan.step("wait for the parent", Step::WaitForGo);
        plan.step(
            "execute true",
            Step::Exec(Exec::new(
                vec![c"/bin/true".to_owned()],
                vec![c"true".to_owned()],
                vec![],
            )),
        );
        spawn(plan, 0, None).unwrap()
    }

    fn patient(limit: Duration, signal: Option<i32>, child: Child) -> StartFailure {
        let (read, _write) = io::pipe().unwrap();
        let pid = child.pid();
        let failure = child.wait_for_exec_with(Some(Patience {
            limit,
            signals: read.as_fd(),
            ended_by: &mut || signal,
        }));
        let gone = std::fs::metadata(format!("/proc/{pid}")).is_err();
        assert!(gone, "the child was not killed and reaped");
        failure.err().unwrap()
    }

    #[test]
    fn a_child_that_runs_its_program_is_no_failure() {
        let child = waiting();
        child.go(&[]).unwrap();
        let running = child.wait_for_exec().ok().unwrap();
        assert!(pidfd::wait(running.pidfd.as_fd()).unwrap().success());
    }

    #[test]
    fn a_child_killed_before_its_execve_is_a_failure_that_says_so() {
        let child = waiting();
        let fd = pidfd::open(child.pid()).unwrap();
        pidfd::signal(fd.as_fd(), Signal::SIGKILL).unwrap();
        let error = Error::from(child.wait_for_exec().err().unwrap()).chain();
        assert!(
            error.contains("killed by signal 9 before it could execute true"),
            "{error}"
        );
    }

    #[test]
    fn a_child_that_does_not_get_to_its_program_is_killed_after_a_while() {
        let failure = patient(Duration::from_millis(50), None, waiting());
        assert!(matches!(failure, StartFailure::TimedOut));
    }

    #[test]
    fn a_stopped_child_is_killed_too() {
        let child = waiting();
        let fd = pidfd::open(child.pid()).unwrap();
        pidfd::signal(fd.as_fd(), Signal::SIGSTOP).unwrap();
        let failure = patient(Duration::from_millis(50), None, child);
        assert!(matches!(failure, StartFailure::TimedOut));
    }

    #[test]
    fn a_signal_ends_the_wait_for_a_program() {
        let (read, mut write) = io::pipe().unwrap();
        std::io::Write::write_all(&mut write, b"x").unwrap();
        let failure = waiting().wait_for_exec_with(Some(Patience {
            limit: Duration::from_secs(600),
            signals: read.as_fd(),
            ended_by: &mut || Some(libc::SIGINT),
        }));
        assert!(matches!(
            failure.err().unwrap(),
            StartFailure::Interrupted(libc::SIGINT)
        ));
    }
}
