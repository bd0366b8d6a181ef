//! One vocabulary of limits onto the other's hierarchy.
//!
//! `lxc.cgroup.*` lines speak version 1, `lxc.cgroup2.*` lines version 2, and the host decides which
//! of them has the controller. What has an exact meaning in both is translated; the rest is refused
//! rather than dropped.

mod to_version_1;
mod to_version_2;

use std::path::PathBuf;

use super::hierarchies::Hierarchies;
use crate::error::{Error, Result};

/// A version of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// A file and its value, in the words of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    pub(crate) version: Version,
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) root: PathBuf,
    pub(super) file: String,
    pub(super) value: String,
}

/// What else is wanted: some files of one version say in one number what the other has in two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others<'a>(pub(super) &'a [Wanted<'a>]);

impl<'a> Others<'a> {
    /// The last value of a file, by its name in either version.
    fn value(self, version_1: &str, version_2: &str) -> Option<&'a str> {
        let named = |w: &&Wanted<'_>| match w.version {
            Version::One => w.key == version_1,
            Version::Two => w.key == version_2,
        };
        self.0.iter().rev().find(named).map(|w| w.value)
    }

    /// The memory limit in bytes; `None` is none.
    fn memory(self) -> Option<u64> {
        bytes(self.value("memory.limit_in_bytes", "memory.max")?)
    }
}

/// What to write for one of the wanted settings.
pub(super) fn translate(
    hierarchies: &Hierarchies,
    wanted: Wanted<'_>,
    others: Others<'_>,
) -> Result<Vec<Write>> {
    let Wanted {
        version,
        key,
        value,
    } = wanted;
    let controller = key.split('.').next().unwrap_or_default();
    if key.contains('/') || !key.contains('.') {
        return Err(Error::user(format!(
            "\"{key}\" is not the name of a cgroup file"
        )));
    }
    if ["cgroup", "freezer"].contains(&controller) {
        return core(hierarchies, key, value);
    }
    let Some((root, target)) = hierarchies.find(controller_of(controller, version, hierarchies))
    else {
        return Err(Error::environment(format!(
            "the cgroup controller \"{controller}\" (for {key}) is not available on this host"
        ))
        .with_hint("see /proc/cgroups; some need a kernel parameter, as cgroup_enable=memory"));
    };
    let pairs = if version == target {
        vec![(key.to_owned(), value.to_owned())]
    } else {
        match target {
            Version::One => to_version_1::pairs(key, value, others),
            Version::Two => to_version_2::pairs(key, value, others),
        }
        .ok_or_else(|| no_equal(target, controller, key, value))?
    };
    Ok(pairs
        .into_iter()
        .map(|(file, value)| Write {
            root: root.to_path_buf(),
            file,
            value,
        })
        .collect())
}

/// The controller's name where it is: two were renamed.
fn controller_of<'a>(name: &'a str, version: Version, hierarchies: &Hierarchies) -> &'a str {
    let other = match (version, name) {
        (Version::One, "blkio") => "io",
        (Version::Two, "io") => "blkio",
        _ => return name,
    };
    if hierarchies.find(name).is_some() {
        name
    } else {
        other
    }
}

/// Files that every cgroup has, and the freezer, which is a controller in version 1 only.
fn core(hierarchies: &Hierarchies, key: &str, value: &str) -> Result<Vec<Write>> {
    match (key, value) {
        // As it is at a start anyway.
        ("freezer.state", "THAWED") | ("cgroup.freeze", "0") => Ok(Vec::new()),
        ("freezer.state" | "cgroup.freeze", _) => Err(Error::user(format!(
            "with {key} = {value} the container would never start"
        ))
        .with_hint("start it, then freeze it: sampan freeze NAME")),
        ("cgroup.max.depth" | "cgroup.max.descendants", _) => match &hierarchies.unified {
            Some(unified) => Ok(vec![Write {
                root: unified.root.clone(),
                file: key.to_owned(),
                value: value.to_owned(),
            }]),
            None => Err(Error::environment(format!(
                "{key} is a file of cgroup version 2, which is not mounted on this host"
            ))
            .with_hint("mount it: mount -t cgroup2 none /sys/fs/cgroup")),
        },
        _ => Err(Error::user(format!("{key} is no limit"))),
    }
}

fn no_equal(target: Version, controller: &str, key: &str, value: &str) -> Error {
    let (has, speaks, prefix) = match target {
        Version::One => (1, 2, "lxc.cgroup."),
        Version::Two => (2, 1, "lxc.cgroup2."),
    };
    let error = Error::environment(format!(
        "{key} = {value} speaks cgroup version {speaks}, but this host has \"{controller}\" in version {has} only, where it has no equal"
    ));
    let mixed = NEAREST.iter().find(|(one, two)| {
        *match target {
            Version::One => two,
            Version::Two => one,
        } == key
    });
    match (mixed, target) {
        (Some((one, _)), Version::One) => error.with_hint(format!("the nearest is {prefix}{one}")),
        (Some((_, two)), Version::Two) => error.with_hint(format!("the nearest is {prefix}{two}")),
        (None, _) => error.with_hint(format!(
            "use a version {has} file of that controller with {prefix}*"
        )),
    }
}

/// Files of version 1 and 2 that are alike but do not mean the same, or only for some values.
const NEAREST: [(&str, &str); 7] = [
    ("memory.soft_limit_in_bytes", "memory.low"),
    ("memory.soft_limit_in_bytes", "memory.high"),
    ("memory.soft_limit_in_bytes", "memory.min"),
    ("memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("memory.oom_control", "memory.oom.group"),
    ("blkio.weight", "io.weight"),
    ("blkio.bfq.weight", "io.weight"),
];

/// Files with one name and one meaning in both.
const SAME: [&str; 7] = [
    "pids.max",
    "cpuset.cpus",
    "cpuset.mems",
    "cpu.idle",
    "rdma.max",
    "devices.allow",
    "devices.deny",
];

/// Files of version 1 and 2 where only the words for "no limit" differ: `-1` and `max`.
const RENAMED: [(&str, &str); 2] = [
    ("memory.limit_in_bytes", "memory.max"),
    ("cpu.cfs_burst_us", "cpu.max.burst"),
];

/// `blkio.throttle.*_device` and the words of `io.max`.
const THROTTLES: [(&str, &str); 4] = [
    ("blkio.throttle.read_bps_device", "rbps"),
    ("blkio.throttle.write_bps_device", "wbps"),
    ("blkio.throttle.read_iops_device", "riops"),
    ("blkio.throttle.write_iops_device", "wiops"),
];

/// A number of bytes as both versions read it (memparse()): `512M`; `None` for no limit or nonsense.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let shift = match text[end..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

type Pairs = Option<Vec<(String, String)>>;

fn one(key: &str, value: impl Into<String>) -> Pairs {
    Some(vec![(key.to_owned(), value.into())])
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
