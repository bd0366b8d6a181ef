//! Networks. Besides the loopback interface there is none yet.

use super::Key;
use crate::config::effective::Assignment;
use crate::config::settings::Draft;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.net",
        "(empty)",
        "forgets all networks before this line",
        |_, line| {
            if line.value.is_empty() {
                return Ok(());
            }
            Err(line.wrong("is not empty"))
        },
    ),
    Key::new(
        "lxc.net.N.type",
        "empty",
        "the kind of network; only `empty` (a loopback interface) is supported",
        |_, line| match line.value.as_str() {
            "empty" | "" => Ok(()),
            _ => Err(line.wrong("is not supported yet; only \"empty\" is")),
        },
    ),
    Key::new(
        "lxc.net.N.flags",
        "up",
        "whether it is up; the loopback interface always is",
        |_, line| match line.value.as_str() {
            "up" | "" => Ok(()),
            _ => Err(line.wrong("is not \"up\"")),
        },
    ),
    of_others(
        "lxc.net.N.link",
        "INTERFACE",
        "the host's interface or bridge",
    ),
    of_others("lxc.net.N.name", "INTERFACE", "the interface's name inside"),
    of_others("lxc.net.N.hwaddr", "ADDRESS", "its hardware address"),
    of_others("lxc.net.N.mtu", "BYTES", "its largest packet"),
    of_others(
        "lxc.net.N.l2proxy",
        "0 or 1",
        "answers for the guest's addresses",
    ),
    of_others(
        "lxc.net.N.ipv4.address",
        "ADDRESS/BITS [BROADCAST]",
        "an address",
    )
    .list(),
    of_others(
        "lxc.net.N.ipv4.gateway",
        "ADDRESS, auto or dev",
        "the default route",
    ),
    of_others("lxc.net.N.ipv6.address", "ADDRESS/BITS", "an address").list(),
    of_others(
        "lxc.net.N.ipv6.gateway",
        "ADDRESS, auto or dev",
        "the default route",
    ),
    of_others(
        "lxc.net.N.script.up",
        "PATH",
        "a program run after it is made",
    ),
    of_others(
        "lxc.net.N.script.down",
        "PATH",
        "a program run before it goes",
    ),
    of_others(
        "lxc.net.N.veth.*",
        "(as LXC)",
        "mode, pair, routes and VLANs of a veth",
    ),
    of_others("lxc.net.N.vlan.id", "NUMBER", "the VLAN"),
    of_others(
        "lxc.net.N.macvlan.mode",
        "MODE",
        "private, vepa, bridge or passthru",
    ),
    of_others(
        "lxc.net.N.ipvlan.*",
        "(as LXC)",
        "mode and isolation of an ipvlan",
    ),
];

/// A key of networks that are not supported yet.
const fn of_others(name: &'static str, syntax: &'static str, meaning: &'static str) -> Key {
    Key::new(name, syntax, meaning, refuse).refused()
}

fn refuse(_: &mut Draft, _: &Assignment) -> Result<(), String> {
    Err("is not supported for a network of type empty".to_owned())
}
