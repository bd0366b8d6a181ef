//! Keys that LXC itself has given up.

use super::Key;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.kmsg",
        "0 or 1",
        "1: /dev/kmsg is the console",
        |_, line| super::value::switch(line).map(drop),
    )
    .refused_but(&["0"]),
    Key::new(
        "lxc.pivotdir",
        "PATH",
        "where the old root goes for a moment",
        |_, _| Ok(()),
    )
    .without_effect("the old root goes nowhere in the guest's tree"),
    Key::new(
        "lxc.rootfs.backend",
        "dir",
        "the kind of storage, which lxc.rootfs.path says now",
        |_, _| Ok(()),
    )
    .refused_but(&["dir"]),
];
