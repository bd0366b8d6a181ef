//! One vocabulary of limits onto the other's hierarchy.
//!
//! `lxc.cgroup.*` lines speak version 1, `lxc.cgroup2.*` lines version 2, and the host decides which
//! of them has the controller. What has an exact meaning in both is translated; the rest is refused
//! rather than dropped.

use std::path::PathBuf;

use super::hierarchies::Hierarchies;
use crate::error::{Error, Result};

/// A version of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// What to write: the hierarchy's root, the file, the value.
pub(super) fn translate(
    hierarchies: &Hierarchies,
    version: Version,
    key: &str,
    value: &str,
) -> Result<Vec<(PathBuf, String, String)>> {
    let controller = key.split('.').next().unwrap_or_default();
    if key.contains('/') || !key.contains('.') {
        return Err(Error::user(format!(
            "\"{key}\" is not the name of a cgroup file"
        )));
    }
    let Some((root, target)) = hierarchies.find(controller) else {
        return Err(Error::environment(format!(
            "the cgroup controller \"{controller}\" (for {key}) is not available on this host"
        ))
        .with_hint("see /proc/cgroups; some need a kernel parameter, as cgroup_enable=memory"));
    };
    let pairs = if version == target {
        vec![(key.to_owned(), value.to_owned())]
    } else {
        match target {
            Version::One => to_version_1(key, value),
            Version::Two => to_version_2(key, value),
        }
        .ok_or_else(|| {
            let (has, speaks) = match target {
                Version::One => (1, 2),
                Version::Two => (2, 1),
            };
            Error::environment(format!(
                "{key} = {value} speaks cgroup version {speaks}, but this host has \"{controller}\" in version {has} only, where it has no equal"
            ))
            .with_hint(match target {
                Version::One => "use the version 1 file of that controller with lxc.cgroup.*",
                Version::Two => "use the version 2 file of that controller with lxc.cgroup2.*",
            })
        })?
    };
    Ok(pairs
        .into_iter()
        .map(|(key, value)| (root.to_path_buf(), key, value))
        .collect())
}

fn to_version_1(key: &str, value: &str) -> Option<Vec<(String, String)>> {
    let one = |key: &str, value: String| Some(vec![(key.to_owned(), value)]);
    match key {
        "memory.max" => one("memory.limit_in_bytes", unlimited(value, "-1")),
        "pids.max" | "cpuset.cpus" | "cpuset.mems" => one(key, value.to_owned()),
        "cpu.weight" => {
            // Both defaults meet: 100 and 1024.
            let weight: u64 = value.parse().ok().filter(|w| (1..=10_000).contains(w))?;
            one("cpu.shares", (weight * 1024 / 100).max(2).to_string())
        }
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let quota = unlimited(words.next()?, "-1");
            let period = words.next().unwrap_or("100000");
            Some(vec![
                ("cpu.cfs_period_us".to_owned(), period.to_owned()),
                ("cpu.cfs_quota_us".to_owned(), quota),
            ])
        }
        _ => None,
    }
}

fn to_version_2(key: &str, value: &str) -> Option<Vec<(String, String)>> {
    let one = |key: &str, value: String| Some(vec![(key.to_owned(), value)]);
    match key {
        "memory.limit_in_bytes" => one(
            "memory.max",
            if value == "-1" { "max" } else { value }.to_owned(),
        ),
        "pids.max" | "cpuset.cpus" | "cpuset.mems" => one(key, value.to_owned()),
        "cpu.shares" => {
            let shares: u64 = value.parse().ok().filter(|s| (2..=262_144).contains(s))?;
            one(
                "cpu.weight",
                (shares * 100 / 1024).clamp(1, 10_000).to_string(),
            )
        }
        _ => None,
    }
}

fn unlimited(value: &str, word: &str) -> String {
    if value == "max" { word } else { value }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_limit_translates_both_ways() {
        let pair = |a: &str, b: &str| Some(vec![(a.to_owned(), b.to_owned())]);
        assert_eq!(
            to_version_1("memory.max", "64M"),
            pair("memory.limit_in_bytes", "64M")
        );
        assert_eq!(
            to_version_2("memory.limit_in_bytes", "-1"),
            pair("memory.max", "max")
        );
        assert_eq!(
            to_version_1("cpu.weight", "100"),
            pair("cpu.shares", "1024")
        );
        assert_eq!(
            to_version_2("cpu.shares", "1024"),
            pair("cpu.weight", "100")
        );
    }

    #[test]
    fn what_has_no_equal_is_refused() {
        assert_eq!(to_version_1("memory.high", "1"), None);
        assert_eq!(to_version_2("memory.soft_limit_in_bytes", "1"), None);
    }
}
