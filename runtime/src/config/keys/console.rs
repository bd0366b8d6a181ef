//! The console, its log, and terminals.

use std::path::{Component, Path, PathBuf};

use super::Key;
use super::value::{number, path, size, switch};
use crate::config::effective::Assignment;

/// `lxc.console.*` and `lxc.tty.dir`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Console {
    /// `lxc.console.path`: a device of the host it is attached to.
    pub path: Option<PathBuf>,
    /// `lxc.console.path = none`: there is no console.
    pub none: bool,
    /// `lxc.console.buffer.size`, in bytes: a ring in the monitor's memory.
    pub buffer: Option<u64>,
    /// `lxc.console.size`, in bytes: the log file grows no further.
    pub log_size: Option<u64>,
    /// `lxc.console.rotate`: whether the log file is moved aside at that size.
    pub rotate: bool,
    /// `lxc.tty.dir`: a directory in /dev for the devices, with links to them from /dev.
    pub directory: Option<PathBuf>,
}

/// What `auto` stands for.
const AUTO: u64 = 128 << 10;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.console.path",
        "PATH or none",
        "a device of the host that the console is attached to, or no console",
        |draft, line| {
            let console = &mut draft.settings.console;
            console.none = line.value == "none";
            console.path = if console.none { None } else { path(line)? };
            Ok(())
        },
    )
    .refused_but(&["none"]),
    Key::new(
        "lxc.console.logfile",
        "FILE",
        "where the console's output is kept; by default in the log directory",
        |draft, line| {
            draft.settings.console_log = path(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.console.buffer.size",
        "SIZE, as 64KB, or auto",
        "the last output kept in memory",
        |draft, line| {
            draft.settings.console.buffer = ring(line)?;
            Ok(())
        },
    )
    .without_effect("the log file holds more than that"),
    Key::new(
        "lxc.console.size",
        "SIZE, as 64KB, or auto",
        "the log file's largest size",
        |draft, line| {
            draft.settings.console.log_size = ring(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.console.rotate",
        "0 or 1",
        "1: at its largest size the log file is moved aside; 0: it is begun anew",
        |draft, line| {
            draft.settings.console.rotate = switch(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.tty.max",
        "NUMBER",
        "how many terminals (/dev/ttyN) it gets, at most 16",
        |draft, line| {
            draft.settings.ttys = number(line, 0)?;
            if draft.settings.ttys > 16 {
                return Err(line.wrong("is more than the 16 terminals supported"));
            }
            Ok(())
        },
    ),
    Key::new(
        "lxc.tty.dir",
        "DIRECTORY",
        "a directory in /dev for console and terminals, linked to from /dev",
        |draft, line| {
            draft.settings.console.directory = in_dev(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.pty.max",
        "NUMBER",
        "how many pseudoterminals it may have",
        |draft, line| {
            draft.settings.ptys = number(line, 1024)?;
            Ok(())
        },
    ),
];

/// A size rounded as LXC does: at least a page, and a power of two.
fn ring(line: &Assignment) -> Result<Option<u64>, String> {
    if line.value.is_empty() {
        return Ok(None);
    }
    if line.value == "auto" {
        return Ok(Some(AUTO));
    }
    let bytes = size(line)?.max(4096);
    let rounded = bytes.checked_next_power_of_two();
    rounded.map(Some).ok_or_else(|| line.wrong("is too large"))
}

fn in_dev(line: &Assignment) -> Result<Option<PathBuf>, String> {
    let path = Path::new(&line.value);
    if !path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err(line.wrong("is not a relative path without \"..\""));
    }
    Ok((!line.value.is_empty()).then(|| path.to_path_buf()))
}
