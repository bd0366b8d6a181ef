//! What happens to containers, as it happens.
//!
//! Whoever changes a container's state (its monitor, or the command that makes or removes it)
//! appends a line to the journal of the run directory; whoever wants to know reads along. Nobody
//! waits for a reader, and there is no process in between.

mod follow;
mod journal;

use serde::{Deserialize, Serialize};

pub use follow::Events;
pub(crate) use journal::Journal;

use crate::container::State;
use crate::exit::Exit;

/// One change. The JSON field names are stable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since 1970.
    pub time: f64,
    /// The container's name.
    pub container: String,
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It was made.
    Created,
    /// A monitor begins to start it.
    Starting,
    /// Its init runs.
    Running {
        /// The host's pid of its init.
        init_pid: i32,
    },
    /// It could not be started.
    StartFailed {
        /// Why.
        message: String,
    },
    /// Its guest asked for a reboot, and is started again.
    Rebooting,
    /// Its init ended, and its restart policy starts it again.
    Restarting {
        /// How its init ended.
        exit: Exit,
        /// How long that is put off, in seconds.
        delay: f64,
    },
    /// It was asked to stop.
    Stopping {
        /// The signal that asked; `None` if it is killed.
        signal: Option<i32>,
    },
    /// None of its processes runs any more, until it is thawed.
    Frozen,
    /// Its processes run again.
    Thawed,
    /// Nothing of it runs any more.
    Stopped {
        /// How its init ended.
        exit: Exit,
    },
    /// It has another name.
    Renamed {
        /// The new one.
        to: String,
    },
    /// It was removed.
    Destroyed,
    /// Not of a container: the reader was so slow that events were dropped.
    Missed,
}

impl Change {
    /// The state that a container is in after it, if it says so.
    pub fn state(&self) -> Option<State> {
        match self {
            Change::Created | Change::StartFailed { .. } | Change::Stopped { .. } => {
                Some(State::Stopped)
            }
            Change::Starting | Change::Rebooting => Some(State::Starting),
            Change::Restarting { .. } => Some(State::Restarting),
            Change::Running { .. } | Change::Thawed => Some(State::Running),
            Change::Stopping { .. } => Some(State::Stopping),
            Change::Frozen => Some(State::Frozen),
            Change::Renamed { .. } | Change::Destroyed | Change::Missed => None,
        }
    }
}
