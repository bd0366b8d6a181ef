//! The monitor: one small process per running container.
//!
//! A freshly executed program without threads. It holds the container's lock as long as it lives,
//! starts init, copies the console to a log, answers on the control socket, starts again when the
//! guest reboots, and tidies up when it ends. Init dies with it.

mod boot;
pub(crate) mod client;
mod control;
mod halt;
mod log;
pub(crate) mod protocol;
mod requests;
mod sessions;
mod start;
mod terminal;
mod viewer;
mod watch;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signalfd::SignalFd;

use self::control::Control;
use self::protocol::{Answer, Report};
use self::terminal::Terminal;
use crate::cgroup::Cgroup;
use crate::config::Settings;
use crate::container::Container;
use crate::containers::Directories;
use crate::error::{Result, Tried};
use crate::network::Connected;
use crate::sys::pidfd::Ended;
use crate::sys::spawn::{Running, detach};

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
    network: Connected,
    started_at: u64,
    stopping: bool,
    /// The signal to halt, while init does not listen to it yet: it is sent again once it does.
    unheard: Option<i32>,
    /// Held until the very end.
    _lock: File,
}

impl Monitor {
    fn run(mut self) -> Result<()> {
        let ended = loop {
            let ended = self.watch()?;
            self.finish_terminals();
            // The guest's pid namespace ended with its init; what was moved elsewhere too.
            self.cgroup.kill()?;
            // reboot(2): in a pid namespace it ends init by SIGHUP to restart, SIGINT to halt.
            if ended != Ended::Signaled(libc::SIGHUP) || self.stopping {
                break ended;
            }
            eprintln!("the guest reboots");
            self.network = Connected::default();
            self.cgroup.remove()?;
            match boot::boot(
                &self.container,
                &self.settings,
                &self.cgroup,
                &self.console,
                &self.ttys,
            ) {
                Ok((init, network)) => (self.init, self.network) = (init, network),
                Err(error) => {
                    eprintln!("could not start again: {}", error.chain());
                    break ended;
                }
            }
            self.started_at = now();
        };
        eprintln!("init ended: {ended:?}");
        // Go on past failures, so that as little as possible stays.
        self.network = Connected::default();
        let removed = self.cgroup.remove();
        let run = self.container.run_directory().remove();
        self.control.tell_all(&Answer::Ended(ended.into()));
        removed.and(run)
    }
}

fn now() -> u64 {
    // A clock before 1970 is no reason to fail.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
