//! Sampan's own keys, which LXC ignores.

use super::{Key, value};
use crate::monitor::policy::RestartPolicy;
use crate::network::managed::Forward;

pub(super) const KEYS: &[Key] = &[
    noted("sampan.template", "the template it was made by"),
    noted("sampan.image", "the image it was made from"),
    Key::new(
        "sampan.rootfs.size",
        "BYTES",
        "the limit that its storage was made with; a copy gets the same",
        |_, line| value::number::<u64>(line, 0).map(drop),
    ),
    Key::new(
        "sampan.restart",
        "no, on-failure or always, and perhaps max N in SECONDS",
        "whether it is started again when its init has ended",
        |_, line| match RestartPolicy::parse(&line.value) {
            Some(_) => Ok(()),
            None => Err(line.wrong("is not understood")),
        },
    ),
    Key::new(
        "sampan.forward",
        "HOST:CONTAINER, and perhaps /udp",
        "a port of the host that leads to one of it (sampan forward); a copy has none",
        |_, line| match line.value.is_empty() || line.value.parse::<Forward>().is_ok() {
            true => Ok(()),
            false => Err(line.wrong("is not two ports as 8080:80, or 5353:53/udp")),
        },
    )
    .list(),
];

/// What is noted down when a container is made, and shown.
const fn noted(name: &'static str, meaning: &'static str) -> Key {
    Key::new(name, "TEXT", meaning, |_, _| Ok(()))
}
