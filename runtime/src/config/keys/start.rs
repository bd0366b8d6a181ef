//! Starting by itself, and what happens at the end.

use super::Key;
use super::value::{number, switch};
use crate::config::values::signal;

/// `lxc.start.*` and `lxc.group`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Autostart {
    /// `lxc.start.auto`.
    pub auto: bool,
    /// `lxc.start.delay`: seconds to wait after it was started.
    pub delay: u32,
    /// `lxc.start.order`: lower ones first.
    pub order: i32,
    /// `lxc.group`.
    pub groups: Vec<String>,
}

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.start.auto",
        "0 or 1",
        "1: started with the machine",
        |draft, line| {
            draft.settings.autostart.auto = switch(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.start.delay",
        "SECONDS",
        "how long to wait before the next one is started",
        |draft, line| {
            draft.settings.autostart.delay = number(line, 0)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.start.order",
        "NUMBER",
        "lower ones are started first",
        |draft, line| {
            draft.settings.autostart.order = number(line, 0)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.group",
        "NAME…",
        "groups it belongs to, by which containers are started together",
        |draft, line| {
            let groups = &mut draft.settings.autostart.groups;
            if line.value.is_empty() {
                groups.clear();
            }
            groups.extend(line.value.split_whitespace().map(str::to_owned));
            Ok(())
        },
    )
    .list(),
    Key::new(
        "lxc.ephemeral",
        "0 or 1",
        "1: destroyed when it stops",
        |draft, line| {
            draft.settings.ephemeral = switch(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.monitor.unshare",
        "NUMBER",
        "not 0: the monitor has a mount namespace of its own",
        |draft, line| {
            draft.settings.monitor_unshare = number::<u32>(line, 0)? != 0;
            Ok(())
        },
    ),
    Key::new(
        "lxc.monitor.signal.pdeath",
        "SIGNAL or 0",
        "what init gets when its monitor dies; SIGKILL by default",
        |draft, line| {
            let signal = match line.value.as_str() {
                "" => libc::SIGKILL,
                "0" => 0,
                word => signal(word).ok_or_else(|| line.wrong("is not a signal"))?,
            };
            if signal != libc::SIGKILL {
                return Err(line.wrong(
                    "is not supported: a guest that outlives its monitor runs unseen, so it gets SIGKILL",
                ));
            }
            draft.settings.death_signal = signal;
            Ok(())
        },
    )
    .refused_but(&["SIGKILL", "KILL", "9"]),
];
