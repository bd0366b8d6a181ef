//! The monitor's log.

use std::path::PathBuf;

use super::Key;
use super::value::{path, text};

/// `lxc.log.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// `lxc.log.level`: 0 (trace) to 8 (fatal).
    pub level: Option<u32>,
    /// `lxc.log.file`.
    pub file: Option<PathBuf>,
    /// `lxc.log.syslog`: the facility.
    pub syslog: Option<String>,
}

const LEVELS: [&str; 9] = [
    "trace", "debug", "info", "notice", "warn", "error", "crit", "alert", "fatal",
];

const FACILITIES: [&str; 9] = [
    "daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.log.level",
        "0 to 8, or trace debug info notice warn error crit alert fatal",
        "how much is logged",
        |draft, line| {
            draft.settings.log.level = if line.value.is_empty() {
                None
            } else {
                let word = line.value.to_ascii_lowercase();
                let level = word.parse().ok().filter(|level| *level < LEVELS.len());
                let level = level.or_else(|| LEVELS.iter().position(|name| *name == word));
                Some(level.ok_or_else(|| line.wrong("is not a level of logging"))? as u32)
            };
            Ok(())
        },
    )
    .without_effect("the monitor logs what goes wrong, and nothing else"),
    Key::new(
        "lxc.log.file",
        "FILE",
        "where the monitor logs",
        |draft, line| {
            draft.settings.log.file = path(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.log.syslog",
        "daemon or local0 to local7",
        "log to syslog as well",
        |draft, line| {
            if !line.value.is_empty() && !FACILITIES.contains(&line.value.as_str()) {
                return Err(line.wrong("is not a facility of syslog"));
            }
            draft.settings.log.syslog = text(line);
            Ok(())
        },
    )
    .refused(),
];
