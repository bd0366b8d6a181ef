//! The guest's /dev.

use super::Key;
use super::value::{number, switch};

/// The size of /dev unless told otherwise, in bytes.
pub(in crate::config) const DEV_BYTES: u64 = 500_000;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.autodev",
        "0 or 1",
        "1 (the default): a fresh /dev with the usual devices",
        |draft, line| {
            draft.settings.autodev = switch(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.autodev.tmpfs.size",
        "BYTES",
        "the size of that /dev; 500000 by default",
        |draft, line| {
            draft.settings.autodev_bytes = number(line, DEV_BYTES)?;
            Ok(())
        },
    ),
];
