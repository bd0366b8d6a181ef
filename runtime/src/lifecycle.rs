//! What a container does between its start and its end: restart, reboot, freeze, thaw; and waiting
//! for one to do something.

use std::time::{Duration, Instant};

use crate::container::{Container, State, StopOptions, must_be_root};
use crate::containers::Containers;
use crate::error::{Error, Reason, Result};
use crate::events::{Change, Journal};
use crate::monitor::client::Stopped;
use crate::name::ContainerName;
use crate::starting::StartOptions;

/// What a restart did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarted {
    /// How it stopped; `None` if it did not run.
    pub stopped: Option<Stopped>,
    /// The host's pid of its new init.
    pub init_pid: i32,
}

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// It is, or was a moment ago, in this state.
    Reached(State),
    /// It was not in time; it is in this one.
    TimedOut(State),
}

impl Container {
    /// Stops and starts it, with its config as it is now. One that does not run is started.
    pub fn restart(&self, stop: &StopOptions, start: &StartOptions) -> Result<Restarted> {
        must_be_root("restart a container")?;
        let stop = StopOptions {
            wait: true,
            ..stop.clone()
        };
        // What would keep it from starting is said before it is stopped.
        self.check_startable()?;
        let stopped = match self.stop(&stop) {
            Ok(stopped) => Some(stopped),
            Err(error) if error.reason() == Reason::NotRunning => None,
            Err(error) => return Err(error),
        };
        Ok(Restarted {
            stopped,
            init_pid: self.start(start)?,
        })
    }

    /// Asks its guest to reboot and, with `wait`, waits so long until its init runs again.
    pub fn reboot(&self, patience: Duration, wait: bool) -> Result<()> {
        must_be_root("reboot a container")?;
        self.client()?.reboot(patience, wait)
    }

    /// Lets none of its processes run until it is thawed; returns when that is so. `false`: it was
    /// frozen already.
    ///
    /// # Errors
    /// Some process did not freeze in time (the error names it). It is thawed again then.
    pub fn freeze(&self, patience: Duration) -> Result<bool> {
        must_be_root("freeze a container")?;
        self.client()?.freeze(patience)
    }

    /// Lets a frozen one run again. `false`: it was not frozen.
    pub fn thaw(&self) -> Result<bool> {
        must_be_root("thaw a container")?;
        self.client()?.thaw()
    }

    /// Tells everybody who listens what has happened to it. Nothing may depend on whether that
    /// succeeds.
    pub(crate) fn tell(&self, change: Change) -> Result<()> {
        Journal::new(&self.directories().run).append(self.name().as_str(), change)
    }
}

impl Containers {
    /// Waits until a container is in one of these states. Sleeps meanwhile.
    ///
    /// # Errors
    /// [`Reason::NotFound`] if it does not exist, or not any more.
    pub fn wait(
        &self,
        name: &ContainerName,
        states: &[State],
        patience: Option<Duration>,
    ) -> Result<Awaited> {
        must_be_root("wait for a container")?;
        let deadline = patience.map(|patience| Instant::now() + patience);
        // Before the first look, so that nothing gets lost in between.
        let mut events = self.events()?;
        let state = self.open(name)?.state()?;
        if states.contains(&state) {
            return Ok(Awaited::Reached(state));
        }
        loop {
            let Some(event) = events.next(deadline)? else {
                return Ok(Awaited::TimedOut(self.open(name)?.state()?));
            };
            if event.change == Change::Missed {
                let state = self.open(name)?.state()?;
                if states.contains(&state) {
                    return Ok(Awaited::Reached(state));
                }
            }
            if event.container != name.as_str() {
                continue;
            }
            match event.change {
                Change::Destroyed | Change::Renamed { .. } => {
                    return Err(Error::user(format!(
                        "container \"{name}\" was {} while it was waited for",
                        match &event.change {
                            Change::Renamed { to } => format!("renamed to \"{to}\""),
                            _ => "destroyed".to_owned(),
                        }
                    ))
                    .with_reason(Reason::NotFound));
                }
                change => {
                    if let Some(state) = change.state()
                        && states.contains(&state)
                    {
                        return Ok(Awaited::Reached(state));
                    }
                }
            }
        }
    }
}
