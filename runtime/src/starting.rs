//! Starting a container: a monitor for it.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::fcntl::FlockArg;

use crate::config::Settings;
use crate::container::{Container, must_be_root};
use crate::error::{Error, Reason, Result, Tried};
use crate::monitor::FOREGROUND;
use crate::monitor::policy::RestartPolicy;
use crate::monitor::protocol::Report;
use crate::rename;

/// How to start.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// The program that calls [`monitor_main`](crate::monitor_main); by default `sampan-monitor`
    /// beside this one.
    pub monitor_program: PathBuf,
}

impl Default for StartOptions {
    fn default() -> StartOptions {
        let here = std::env::current_exe().unwrap_or_default();
        StartOptions {
            monitor_program: here.with_file_name("sampan-monitor"),
        }
    }
}

impl Container {
    /// Starts it; returns the host's pid of its init once that runs.
    ///
    /// # Errors
    /// The step that failed and why; [`Reason::Running`] if it runs already.
    pub fn start(&self, options: &StartOptions) -> Result<i32> {
        must_be_root("start a container")?;
        Ok(self.start_monitor(options, None)?.0)
    }

    /// The pid of init and the monitor; with a leash, one in the foreground.
    pub(crate) fn start_monitor(
        &self,
        options: &StartOptions,
        leash: Option<OwnedFd>,
    ) -> Result<(i32, Child)> {
        let lock = self.lock(FlockArg::LockExclusive)?;
        if self.run_directory().is_locked()? {
            return Err(
                Error::user(format!("container \"{}\" is already running", self.name()))
                    .with_reason(Reason::Running),
            );
        }
        self.sweep_locked(&lock)?;
        rename::resume(self)?;
        // Said here rather than by the monitor, with the same words.
        let settings = self.check_startable()?;
        self.networks().ensure(&settings)?;
        let (report, mut monitor) = self.spawn_monitor(options, leash)?;
        match report {
            Report::Running { pid } => Ok((pid, monitor)),
            Report::Failed {
                kind,
                reason,
                message,
                hint,
                console,
            } => {
                let message = format!("could not start container \"{}\": {message}", self.name());
                let error = match kind.as_str() {
                    "user" => Error::user(message),
                    "environment" => Error::environment(message),
                    _ => Error::internal(message),
                };
                let error = error.with_reason(reason).with_console(console);
                // What a monitor in the foreground had to remove is removed.
                let _ = monitor.wait();
                Err(match hint {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                })
            }
        }
    }

    fn spawn_monitor(
        &self,
        options: &StartOptions,
        leash: Option<OwnedFd>,
    ) -> Result<(Report, Child)> {
        self.make_log_directory()?;
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(self.log())
            .tried(|| format!("open {}", self.log().display()))?;
        let (mut read, write) = io::pipe().tried(|| "open a pipe".to_owned())?;
        let program = options.monitor_program.display();
        let mut command = Command::new(&options.monitor_program);
        command
            .arg(crate::VERSION)
            .args([
                &self.directories().state,
                &self.directories().run,
                &self.directories().log,
            ])
            .arg(self.name().as_str())
            .args(leash.as_ref().map(|_| FOREGROUND))
            // It lives long: it should hold neither secrets nor a directory of its caller.
            .env_clear()
            .current_dir("/")
            .stdin(leash.map_or_else(Stdio::null, Stdio::from))
            .stdout(write)
            .stderr(log);
        let mut child = command.spawn().map_err(|e| {
            let missing = e.kind() == io::ErrorKind::NotFound;
            let error = Error::os(format!("could not execute {program}"), e);
            if missing {
                error.with_hint(
                    "it belongs beside this program, and comes with it: install Sampan anew",
                )
            } else {
                error
            }
        })?;
        // Our copy of the pipe's end is in there.
        drop(command);
        let mut text = String::new();
        read.read_to_string(&mut text)
            .tried(|| "read the monitor's report".to_owned())?;
        let report = serde_json::from_str(&text).map_err(|_| {
            let how = child
                .wait()
                .map_or(String::new(), |how| format!(" ({how})"));
            Error::internal(format!(
                "the monitor of container \"{}\" ended without a report{how}",
                self.name()
            ))
            .with_hint(format!("see {}", self.log().display()))
        })?;
        Ok((report, child))
    }

    /// What can be known before anything is tried.
    pub(crate) fn check_startable(&self) -> Result<Settings> {
        let config = self.config()?;
        let settings = Settings::of(&config)?;
        RestartPolicy::of(&config)?;
        self.must_lie_under_nobody(&settings.root)?;
        Ok(settings)
    }
}
