//! Namespaces: made, kept or shared; and their clocks.

use super::Key;
use crate::config::effective::Assignment;
use crate::config::settings::Draft;

/// A kind of namespace, by its name in /proc/PID/ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "namespaces(7) has these names")]
pub enum Namespace {
    User,
    Mount,
    Pid,
    Uts,
    Ipc,
    Network,
    Cgroup,
    Time,
}

/// `lxc.namespace.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// `lxc.namespace.clone`: only these are made anew.
    pub clone: Vec<Namespace>,
    /// `lxc.namespace.keep`: these stay the monitor's.
    pub keep: Vec<Namespace>,
    /// `lxc.namespace.share.KIND`: a pid, a container's name, or the path of a container.
    pub share: Vec<(Namespace, String)>,
}

impl Namespace {
    /// By its name in /proc/PID/ns; `mount` and `network` are understood too.
    pub fn of_name(name: &str) -> Option<Namespace> {
        Some(match name {
            "user" => Namespace::User,
            "mnt" | "mount" => Namespace::Mount,
            "pid" => Namespace::Pid,
            "uts" => Namespace::Uts,
            "ipc" => Namespace::Ipc,
            "net" | "network" => Namespace::Network,
            "cgroup" => Namespace::Cgroup,
            "time" => Namespace::Time,
            _ => return None,
        })
    }

    /// Its name in /proc/PID/ns.
    pub fn name(self) -> &'static str {
        match self {
            Namespace::User => "user",
            Namespace::Mount => "mnt",
            Namespace::Pid => "pid",
            Namespace::Uts => "uts",
            Namespace::Ipc => "ipc",
            Namespace::Network => "net",
            Namespace::Cgroup => "cgroup",
            Namespace::Time => "time",
        }
    }
}

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.namespace.clone",
        "NAMESPACE…",
        "only these namespaces are made anew: user mnt pid uts ipc net cgroup time",
        |draft, line| add(&mut draft.settings.namespaces.clone, line),
    )
    .list(),
    Key::new(
        "lxc.namespace.keep",
        "NAMESPACE…",
        "these namespaces are those of the one who starts it",
        |draft, line| add(&mut draft.settings.namespaces.keep, line),
    )
    .list(),
    Key::new(
        "lxc.namespace.share.*",
        "PID, NAME or PATH",
        "this namespace is that of another process or container",
        read_share,
    ),
    Key::new(
        "lxc.time.offset.boot",
        "[-]NUMBER h|m|s|ms|us|ns",
        "moves the guest's clock since boot",
        read_offset,
    )
    .refused(),
    Key::new(
        "lxc.time.offset.monotonic",
        "[-]NUMBER h|m|s|ms|us|ns",
        "moves the guest's monotonic clock",
        read_offset,
    )
    .refused(),
];

fn add(all: &mut Vec<Namespace>, line: &Assignment) -> Result<(), String> {
    if line.value.is_empty() {
        all.clear();
    }
    for word in line.value.split_whitespace() {
        all.push(
            Namespace::of_name(word)
                .ok_or_else(|| line.wrong(&format!("names the unknown namespace {word}")))?,
        );
    }
    Ok(())
}

fn read_share(draft: &mut Draft, line: &Assignment) -> Result<(), String> {
    let Some(kind) = Namespace::of_name(line.rest()) else {
        return Err("names an unknown namespace".to_owned());
    };
    let share = &mut draft.settings.namespaces.share;
    share.retain(|(known, _)| *known != kind);
    if !line.value.is_empty() {
        share.push((kind, line.value.clone()));
    }
    Ok(())
}

fn read_offset(_: &mut Draft, line: &Assignment) -> Result<(), String> {
    if line.value.is_empty() {
        return Ok(());
    }
    let value = line.value.strip_prefix(['-', '+']).unwrap_or(&line.value);
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let unit = value[digits..].trim();
    if digits == 0 || !["h", "m", "s", "ms", "us", "ns"].contains(&unit) {
        return Err(line.wrong("is not a time as 5s or -2h"));
    }
    Ok(())
}
