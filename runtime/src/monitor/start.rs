//! From a container on disk to a monitor with a running init.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signalfd::SignalFd;

use super::boot::Booted;
use super::control::Control;
use super::last_words::LastWords;
use super::leash::Leash;
use super::log::{Bounds, Log};
use super::moment::Moment;
use super::policy::{NEVER, RestartPolicy, Restarts};
use super::terminal::Terminal;
use super::{Monitor, boot, own};
use crate::cgroup::Cgroup;
use crate::config::Settings;
use crate::container::Container;
use crate::error::{Error, Reason, Result, Tried};
use crate::events::Change;
use crate::exit::Exit;
use crate::init::Execution;
use crate::network::Connected;
use crate::run_directory::RunDirectory;
use crate::signals;
use crate::sys::pidfd;
use crate::sys::spawn::Running;

/// How long an init is watched that may die at once: a program that is not whole (no loader for it, no
/// library) needs less.
const OBSERVATION: Duration = Duration::from_micros(300);

/// Everything but an init.
struct Prepared {
    settings: Settings,
    restarts: Restarts,
    signals: SignalFd,
    control: Control,
    console: Terminal,
    words: LastWords,
    ttys: Vec<Terminal>,
    cgroup: Cgroup,
    execution: Option<Execution>,
}

impl Monitor {
    pub(super) fn start(container: Container, leash: Option<Leash>) -> Result<Monitor> {
        let run = container.run_directory();
        let Some(lock) = run.lock()? else {
            return Err(Error::user("it is already running").with_reason(Reason::Running));
        };
        let tell = |change| {
            if let Err(error) = container.tell(change) {
                eprintln!("{}", error.chain());
            }
        };
        tell(Change::Starting);
        let started = prepare(&container, &run, leash)
            .inspect_err(|_| {
                let _ = run.remove();
            })
            .and_then(|mut prepared| {
                let init = prepared.start(&container).inspect_err(|_| {
                    for failed in [
                        prepared.cgroup.kill(),
                        prepared.cgroup.remove(),
                        run.remove(),
                    ] {
                        if let Err(error) = failed {
                            eprintln!("{}", error.chain());
                        }
                    }
                })?;
                Ok((prepared, init))
            });
        let (prepared, init) = started.inspect_err(|error| {
            let message = error.chain();
            tell(Change::StartFailed { message });
        })?;
        let mut monitor = Monitor {
            container,
            settings: prepared.settings,
            cgroup: prepared.cgroup,
            console: prepared.console,
            ttys: prepared.ttys,
            control: prepared.control,
            signals: prepared.signals,
            init: None,
            network: Connected::default(),
            started_at: Moment::now(),
            booted_at: Instant::now(),
            restarts: prepared.restarts,
            stopping: false,
            killed: None,
            unheard: None,
            kill_at: None,
            frozen: false,
            freezing: None,
            reboot_waiters: Vec::new(),
            execution: prepared.execution,
            ended: None,
            lock: Some(lock),
        };
        monitor.begin(init);
        Ok(monitor)
    }
}

fn prepare(container: &Container, run: &RunDirectory, leash: Option<Leash>) -> Result<Prepared> {
    let config = container.config()?;
    let settings = Settings::of(&config)?;
    // In the foreground, whoever started it decides about that.
    let policy = match &leash {
        Some(_) => NEVER,
        None => RestartPolicy::of(&config)?,
    };
    let restarts = Restarts::new(policy);
    own::obey(&settings)?;
    // Only when they are asked for: the guest's init, not this process, gets the rest.
    let signals = signals::to_end()?;
    let mut control = Control::new(run.listen()?)?;
    let owner = settings.root_ids();
    let log = container.own_console_log();
    let log = settings.console_log.as_deref().unwrap_or(&log);
    let words = LastWords::since_now(log);
    let log = Log::open(log, Bounds::of(&settings.console))?;
    let mut console = Terminal::open(owner, Some(log))?;
    let execution = match leash {
        Some(leash) => leash.fasten(&mut control, &mut console)?,
        None => None,
    };
    let ttys = (0..settings.ttys)
        .map(|_| Terminal::open(owner, None))
        .collect::<Result<Vec<_>>>()?;
    let cgroup = container.cgroup()?;
    Ok(Prepared {
        settings,
        restarts,
        signals,
        control,
        console,
        words,
        ttys,
        cgroup,
        execution,
    })
}

impl Prepared {
    fn start(&mut self, container: &Container) -> Result<Booted> {
        let started = boot::boot(
            container,
            &self.settings,
            (&self.cgroup, &self.settings.cgroup),
            &self.console,
            &self.ttys,
            self.execution.as_ref(),
        )
        .and_then(|booted| {
            self.look_at(&booted.running, container)?;
            Ok(booted)
        });
        started.map_err(|error| {
            self.console.finish();
            error.with_console(self.words.read())
        })
    }

    /// Fails if init has failed already, unless that is what it may do.
    fn look_at(&self, init: &Running, container: &Container) -> Result<()> {
        if self.execution.is_some() {
            return Ok(());
        }
        let what = || "watch the container's init".to_owned();
        if !pidfd::ended(init.pidfd.as_fd(), Some(OBSERVATION)).tried(what)? {
            return Ok(());
        }
        let exit = Exit::of(pidfd::peek(init.pidfd.as_fd()).tried(what)?, false, 0);
        if !exit.is_failure() || self.restarts.apply_to(true) {
            return Ok(());
        }
        // It is told below; this is for who asks later.
        let _ = exit.write(&container.dir());
        let program = self.settings.init.first().map_or("", String::as_str);
        Err(Error::user(format!(
            "its init {program} {exit} as soon as it was started"
        ))
        .with_hint(format!(
            "try what it does by hand, or see the whole console: sampan logs {}",
            container.name()
        )))
    }
}
