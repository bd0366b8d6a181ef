//! `lxc.include`: followed before keys are read, in `effective.rs`.

use super::Key;

pub(super) const KEYS: &[Key] = &[Key::new(
    "lxc.include",
    "FILE or DIRECTORY",
    "read that file here; of a directory its *.conf, sorted by name",
    |_, _| Ok(()),
)
.list()];
