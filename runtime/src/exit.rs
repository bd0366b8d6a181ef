//! How a container's last run ended: told by its monitor, kept beside its config.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::containers::{Durability, replace_file};
use crate::error::Result;
use crate::sys::pidfd::Ended;

/// The file in `STATE/NAME`.
const FILE: &str = "last-exit";

/// How a container's init ended. The JSON field names are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Which way.
    pub how: How,
    /// Its exit status, if it exited.
    pub status: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether it was asked to stop from outside.
    pub requested: bool,
    /// When, in seconds since 1970.
    pub at: u64,
    /// How often the restart policy had started it again.
    pub restarts: u32,
    /// Whether the restart policy then gave it up.
    pub gave_up: bool,
}

/// Ways to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum How {
    /// The guest halted or powered off.
    Halted,
    /// The guest rebooted.
    Rebooted,
    /// Its init exited.
    Exited,
    /// A signal ended its init.
    Signaled,
    /// It could not be started again.
    StartFailed,
    /// Its monitor was killed, and with it the container.
    MonitorKilled,
}

impl Exit {
    pub(crate) fn of(ended: Ended, requested: bool, restarts: u32) -> Exit {
        // reboot(2) in a pid namespace ends its init by SIGINT to halt, by SIGHUP to restart.
        let (how, status, signal) = match ended {
            Ended::Exited(status) => (How::Exited, Some(status), None),
            Ended::Signaled(libc::SIGINT) => (How::Halted, None, None),
            Ended::Signaled(libc::SIGHUP) => (How::Rebooted, None, None),
            Ended::Signaled(signal) => (How::Signaled, None, Some(signal)),
        };
        Exit {
            how,
            status,
            signal,
            requested,
            at: crate::monitor::now(),
            restarts,
            gave_up: false,
        }
    }

    pub(crate) fn with_monitor() -> Exit {
        Exit {
            how: How::MonitorKilled,
            status: None,
            signal: None,
            requested: false,
            at: crate::monitor::now(),
            restarts: 0,
            gave_up: false,
        }
    }

    /// Whether a restart policy calls it a failure.
    pub fn is_failure(&self) -> bool {
        !matches!(
            (self.how, self.status),
            (How::Halted | How::Rebooted, _) | (How::Exited, Some(0))
        )
    }

    /// Of the last run of the container in this directory. `None` if there was none, or if nothing
    /// of it is known.
    pub(crate) fn read(dir: &Path) -> Option<Exit> {
        serde_json::from_str(&fs::read_to_string(file(dir)).ok()?).ok()
    }

    /// Not synced: what a crash of the host ends is no exit that anybody told us of.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        replace_file(&file(dir), &text, Durability::ProcessCrash)
    }
}

/// In words that continue "its init …" or stand alone.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.how, self.status, self.signal) {
            (How::Halted, ..) => f.write_str("halted"),
            (How::Rebooted, ..) => f.write_str("rebooted"),
            (How::StartFailed, ..) => f.write_str("could not be started again"),
            (How::MonitorKilled, ..) => f.write_str("was killed with its monitor"),
            (How::Signaled, _, Some(signal)) => {
                write!(f, "was killed by {}", signal_name(signal))
            }
            (_, Some(status), _) => write!(f, "exited with status {status}"),
            _ => f.write_str("ended"),
        }
    }
}

/// `SIGKILL`, `SIGRTMIN+3`, or the number.
pub fn signal_name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&signal) => {
            format!("SIGRTMIN+{}", signal - libc::SIGRTMIN())
        }
        Err(_) => format!("signal {signal}"),
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_what_is_broken_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Exit::read(dir.path()), None);
        let exit = Exit::of(Ended::Exited(3), false, 2);
        exit.write(dir.path()).unwrap();
        assert_eq!(Exit::read(dir.path()), Some(exit));
        fs::write(file(dir.path()), "{").unwrap();
        assert_eq!(Exit::read(dir.path()), None);
    }

    #[test]
    fn a_halt_is_no_failure_and_a_signal_is_one() {
        let failed = |ended| Exit::of(ended, false, 0).is_failure();
        assert!(!failed(Ended::Exited(0)));
        assert!(!failed(Ended::Signaled(libc::SIGINT)));
        assert!(failed(Ended::Exited(1)));
        assert!(failed(Ended::Signaled(libc::SIGKILL)));
        assert!(Exit::with_monitor().is_failure());
    }

    #[test]
    fn signals_have_their_names() {
        assert_eq!(signal_name(libc::SIGKILL), "SIGKILL");
        assert_eq!(signal_name(libc::SIGRTMIN() + 3), "SIGRTMIN+3");
        assert_eq!(signal_name(99), "signal 99");
    }
}
