//! Signals that init understands.

use super::Key;
use crate::config::effective::Assignment;
use crate::config::values::signal;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.signal.halt",
        "SIGNAL",
        "asks init to halt, as SIGRTMIN+3; found out from what init listens to by default",
        |draft, line| {
            draft.settings.halt_signal = read(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.signal.reboot",
        "SIGNAL",
        "asks init to reboot",
        |draft, line| {
            draft.settings.reboot_signal = read(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.signal.stop",
        "SIGNAL",
        "sent instead of SIGKILL to end init at once; SIGKILL follows a second later",
        |draft, line| {
            draft.settings.stop_signal = read(line)?;
            Ok(())
        },
    ),
];

fn read(line: &Assignment) -> Result<Option<i32>, String> {
    if line.value.is_empty() {
        return Ok(None);
    }
    signal(&line.value)
        .map(Some)
        .ok_or_else(|| line.wrong("is not a signal"))
}
