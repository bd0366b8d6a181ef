//! The monitor: one small process per running container.
//!
//! A freshly executed program without threads. It holds the container's lock as long as it lives,
//! starts init, copies the console to a log, answers on the control socket, starts again when the
//! guest reboots, and tidies up when it ends. Init dies with it.

mod allowance;
mod boot;
mod cabling;
pub(crate) mod client;
mod control;
mod halt;
mod hooking;
mod last_words;
pub(crate) mod leash;
mod log;
mod moment;
mod own;
pub(crate) mod policy;
pub(crate) mod protocol;
mod requests;
mod run;
mod scripts;
mod sessions;
mod start;
mod terminal;
mod viewer;
mod watch;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signalfd::SignalFd;

use self::boot::Booted;
use self::control::Control;
use self::halt::Unheard;
use self::leash::Leash;
use self::moment::Moment;
use self::policy::Restarts;
use self::protocol::{Killed, Report};
use self::requests::Freezing;
use self::terminal::Terminal;
use crate::VERSION;
use crate::cgroup::Cgroup;
use crate::config::Settings;
use crate::container::Container;
use crate::containers::Directories;
use crate::error::{Error, Result, Tried};
use crate::events::Change;
use crate::init::Execution;
use crate::network::Connected;
use crate::sys::spawn::Running;

/// The last argument of a monitor that ends with its caller.
pub(crate) const FOREGROUND: &str = "foreground";

/// The only argument of a monitor that is to tell its version.
pub(crate) const VERSION_ARGUMENT: &str = "--version";

/// The monitor's main function, for the hidden command that
/// [`StartOptions`](crate::StartOptions) names. `arguments` are those after the command's name.
///
/// Must be called early, before the process has threads.
pub fn monitor_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments == [VERSION_ARGUMENT] {
        println!("{VERSION}");
        return ExitCode::SUCCESS;
    }
    let (arguments, foreground) = match &arguments[..] {
        [first @ .., last] if last == FOREGROUND => (first, true),
        all => (all, false),
    };
    let [version, state, run, log, name] = arguments else {
        eprintln!("the monitor is started by `sampan start`, not by hand");
        return ExitCode::from(2);
    };
    let directories = Directories {
        state: PathBuf::from(state),
        run: PathBuf::from(run),
        log: PathBuf::from(log),
    };
    let report = match own_session() {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{}", error.chain());
            // Standard output is the pipe to the caller still.
            let _ = send(std::io::stdout(), &Report::failure(&error));
            return ExitCode::FAILURE;
        }
    };
    let result = check_version(version).and_then(|()| {
        let name = name.to_string_lossy().parse()?;
        let leash = foreground.then(Leash::take).transpose()?;
        Monitor::start(Container::new(directories, name), leash)
    });
    let (answer, monitor) = match result {
        Ok(monitor) => {
            let pid = monitor.init_pid().unwrap_or_default();
            (Report::Running { pid }, Some(monitor))
        }
        Err(error) => {
            eprintln!("{}", error.chain());
            (Report::failure(&error), None)
        }
    };
    // Whoever asked may be gone; the container runs all the same.
    let _ = send(&report, &answer);
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

/// In one piece: the caller need not wake up for each word of it.
fn send(mut to: impl Write, report: &Report) -> std::io::Result<()> {
    to.write_all(&serde_json::to_vec(report)?)
}

/// An update replaces two files, not in one moment.
fn check_version(callers: &OsStr) -> Result<()> {
    if callers == VERSION {
        return Ok(());
    }
    Err(Error::environment(format!(
        "sampan-monitor is of version {VERSION}, and was started by version {}",
        callers.display()
    ))
    .with_hint("try again when the update is complete, or install Sampan anew"))
}

/// Leaves the caller's session; returns the pipe that was standard output. It stays the caller's
/// child, which takes no second fork: init inherits it soon.
pub(crate) fn own_session() -> Result<File> {
    let what = || "go to the background".to_owned();
    nix::unistd::setsid().tried(what)?;
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
    /// `None` between two starts.
    init: Option<Running>,
    network: Connected,
    /// Of this init: for people, and for what is waited for.
    started_at: Moment,
    booted_at: Instant,
    restarts: Restarts,
    stopping: bool,
    /// Why init was killed, if this monitor did it.
    killed: Option<Killed>,
    unheard: Option<Unheard>,
    kill_at: Option<Instant>,
    frozen: bool,
    freezing: Option<Freezing>,
    /// Clients that wait for the guest's reboot.
    reboot_waiters: Vec<u64>,
    /// What runs in place of an init.
    execution: Option<Execution>,
    /// The one before, until the hooks at its end have run.
    ended: Option<Running>,
    /// Held until the very end.
    lock: Option<File>,
}

impl Monitor {
    /// A new init runs.
    fn begin(&mut self, booted: Booted) {
        self.started_at = Moment::now();
        self.booted_at = Instant::now();
        let init_pid = booted.running.pid;
        self.network = booted.network;
        self.init = Some(booted.running);
        self.tell(Change::Running { init_pid });
    }

    /// What nobody can be told is no reason to fail.
    fn tell(&self, change: Change) {
        if let Err(error) = self.container.tell(change) {
            eprintln!("{}", error.chain());
        }
    }
}

pub(crate) fn now() -> u64 {
    // A clock before 1970 is no reason to fail.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
