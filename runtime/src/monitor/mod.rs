//! The monitor: one small process per running container.
//!
//! A freshly executed program without threads. It holds the container's lock as long as it lives,
//! starts init, copies the console to a log, answers on the control socket, starts again when the
//! guest reboots, and tidies up when it ends. Init dies with it.

mod boot;
pub(crate) mod client;
mod control;
mod halt;
pub(crate) mod protocol;
mod terminal;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::control::Control;
use self::protocol::{Answer, Report, Request, Status};
use self::terminal::Terminal;
use crate::cgroup::Cgroup;
use crate::config::Settings;
use crate::container::Container;
use crate::containers::Directories;
use crate::error::{Error, Reason, Result, Tried};
use crate::sys::pidfd::{self, Ended};
use crate::sys::spawn::{Running, detach};

/// How often to look whether an init that boots listens by now, in milliseconds.
const BOOT_INTERVAL: u8 = 50;

/// The monitor's main function, for the hidden command that
/// [`StartOptions`](crate::StartOptions) names. `arguments` are those after the command's name.
///
/// Must be called early, before the process has threads.
pub fn monitor_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let [state, run, log, name] = &arguments[..] else {
        eprintln!("the monitor is started by `sampan start`, not by hand");
        return ExitCode::from(2);
    };
    let directories = Directories {
        state: PathBuf::from(state),
        run: PathBuf::from(run),
        log: PathBuf::from(log),
    };
    let report = match background() {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{}", error.chain());
            return ExitCode::FAILURE;
        }
    };
    let result = name
        .to_string_lossy()
        .parse()
        .and_then(|name| Monitor::start(Container::new(directories, name)));
    let (answer, monitor) = match result {
        Ok(monitor) => {
            let pid = monitor.init.pid;
            (Report::Running { pid }, Some(monitor))
        }
        Err(error) => {
            eprintln!("{}", error.chain());
            (Report::failure(&error), None)
        }
    };
    // Whoever asked may be gone; the container runs all the same.
    let _ = serde_json::to_writer(&report, &answer);
    drop(report);
    let Some(monitor) = monitor else {
        return ExitCode::FAILURE;
    };
    match monitor.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.chain());
            ExitCode::FAILURE
        }
    }
}

/// Leaves the caller's session; returns the pipe that was standard output.
fn background() -> Result<File> {
    let what = || "go to the background".to_owned();
    detach().tried(what)?;
    let _ = std::io::stdout().flush();
    let report = std::io::stdout().as_fd().try_clone_to_owned().tried(what)?;
    let null = File::options().write(true).open("/dev/null").tried(what)?;
    nix::unistd::dup2_stdout(&null).tried(what)?;
    Ok(File::from(report))
}

struct Monitor {
    container: Container,
    settings: Settings,
    cgroup: Cgroup,
    console: Terminal,
    ttys: Vec<Terminal>,
    control: Control,
    signals: SignalFd,
    init: Running,
    started_at: u64,
    stopping: bool,
    /// The signal to halt, while init does not listen to it yet: it is sent again once it does.
    unheard: Option<i32>,
    /// Held until the very end.
    _lock: File,
}

impl Monitor {
    fn start(container: Container) -> Result<Monitor> {
        let run = container.run_directory();
        let Some(lock) = run.lock()? else {
            return Err(Error::user("it is already running").with_reason(Reason::Running));
        };
        let begun = (|| {
            let settings = container.settings()?;
            settings.rootfs.backend().check()?;
            // Only when they are asked for: the guest's init, not this process, gets the rest.
            let mut mask = SigSet::empty();
            for signal in [
                Signal::SIGTERM,
                Signal::SIGINT,
                Signal::SIGHUP,
                Signal::SIGPIPE,
            ] {
                mask.add(signal);
            }
            let what = || "set up signals".to_owned();
            mask.thread_block().tried(what)?;
            let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
            let signals = SignalFd::with_flags(&mask, flags).tried(what)?;
            let control = Control::new(run.listen()?)?;
            let owner = settings.root_ids();
            let log = container.console_log();
            let log = settings.console_log.as_deref().unwrap_or(&log);
            let console = Terminal::open(owner, Some(log))?;
            let ttys = (0..settings.ttys)
                .map(|_| Terminal::open(owner, None))
                .collect::<Result<Vec<_>>>()?;
            let cgroup = container.cgroup()?;
            Ok((settings, signals, control, console, ttys, cgroup))
        })();
        let (settings, signals, control, console, ttys, cgroup) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let _ = run.remove();
                return Err(error);
            }
        };
        let init = match boot::boot(&container, &settings, &cgroup, &console, &ttys) {
            Ok(init) => init,
            Err(error) => {
                for failed in [cgroup.kill(), cgroup.remove(), run.remove()] {
                    if let Err(error) = failed {
                        eprintln!("{}", error.chain());
                    }
                }
                return Err(error);
            }
        };
        Ok(Monitor {
            container,
            settings,
            cgroup,
            console,
            ttys,
            control,
            signals,
            init,
            started_at: now(),
            stopping: false,
            unheard: None,
            _lock: lock,
        })
    }

    fn run(mut self) -> Result<()> {
        let ended = loop {
            let ended = self.watch()?;
            self.console.drain();
            // The guest's pid namespace ended with its init; what was moved elsewhere too.
            self.cgroup.kill()?;
            // reboot(2): in a pid namespace it ends init by SIGHUP to restart, SIGINT to halt.
            if ended != Ended::Signaled(libc::SIGHUP) || self.stopping {
                break ended;
            }
            eprintln!("the guest reboots");
            self.cgroup.remove()?;
            match boot::boot(
                &self.container,
                &self.settings,
                &self.cgroup,
                &self.console,
                &self.ttys,
            ) {
                Ok(init) => self.init = init,
                Err(error) => {
                    eprintln!("could not start again: {}", error.chain());
                    break ended;
                }
            }
            self.started_at = now();
        };
        eprintln!("init ended: {ended:?}");
        // Go on past failures, so that as little as possible stays.
        let removed = self.cgroup.remove();
        let run = self.container.run_directory().remove();
        self.control.tell_all(&Answer::Ended(ended.into()));
        removed.and(run)
    }

    /// Works until init ends.
    fn watch(&mut self) -> Result<Ended> {
        loop {
            let mut fds = vec![
                PollFd::new(self.init.pidfd.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.console.master(), PollFlags::POLLIN),
            ];
            fds.extend(
                self.ttys
                    .iter()
                    .map(|tty| PollFd::new(tty.master(), PollFlags::POLLIN)),
            );
            fds.extend(self.control.descriptors());
            let patience = match self.unheard {
                Some(_) => PollTimeout::from(BOOT_INTERVAL),
                None => PollTimeout::NONE,
            };
            match poll(&mut fds, patience) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e).tried(|| "wait for events".to_owned()),
            }
            let ended = fds[0].any().unwrap_or(false);
            self.console.drain();
            for tty in &mut self.ttys {
                tty.drain();
            }
            while let Ok(Some(signal)) = self.signals.read_signal() {
                // A host that shuts down asks its containers to halt.
                if signal.ssi_signo as i32 == libc::SIGTERM {
                    self.stop();
                }
            }
            for (client, request) in self.control.requests() {
                let answer = match request {
                    Request::Status => Answer::Status(self.status()),
                    Request::Stop => Answer::Stopping {
                        signal: self.stop(),
                    },
                    Request::Kill => {
                        self.kill();
                        Answer::Stopping { signal: None }
                    }
                };
                self.control.tell(client, &answer);
            }
            if let Some(signal) = self.unheard
                && halt::is_heard(signal, self.init.pid)
            {
                self.ask_to_halt(signal);
            }
            if ended {
                return pidfd::wait(self.init.pidfd.as_fd())
                    .tried(|| "wait for the container's init".to_owned());
            }
        }
    }

    fn status(&self) -> Status {
        let (root_uid, root_gid) = self.settings.root_ids();
        Status {
            init_pid: self.init.pid,
            started_at: self.started_at,
            stopping: self.stopping,
            root_uid,
            root_gid,
            privileged: self.settings.privileged(),
        }
    }

    /// Asks the guest to halt; a guest that cannot be asked is killed.
    fn stop(&mut self) -> Option<i32> {
        self.stopping = true;
        let signal = halt::signal_for(self.settings.halt_signal, self.init.pid);
        match signal {
            Some(signal) => self.ask_to_halt(signal),
            None => self.kill(),
        }
        signal
    }

    fn ask_to_halt(&mut self, signal: i32) {
        let heard = halt::is_heard(signal, self.init.pid);
        self.unheard = (!heard).then_some(signal);
        if let Err(error) = pidfd::signal_number(self.init.pidfd.as_fd(), signal) {
            eprintln!("signal {signal} to init: {error}");
        }
    }

    fn kill(&mut self) {
        self.stopping = true;
        // It has ended already: then that is being noticed.
        let _ = pidfd::signal(self.init.pidfd.as_fd(), Signal::SIGKILL);
    }
}

fn now() -> u64 {
    // A clock before 1970 is no reason to fail.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
