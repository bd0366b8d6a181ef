//! Control groups: limits, and where the groups are.

use std::path::{Component, Path};

use super::Key;
use super::value::{switch, text};
use crate::config::effective::Assignment;
use crate::config::settings::Draft;
use crate::config::values::CgroupSetting;

/// `lxc.cgroup.dir` and its kin: paths below the monitor's cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupDirectories {
    /// `lxc.cgroup.dir`: of container and monitor.
    pub both: Option<String>,
    /// `lxc.cgroup.dir.container`.
    pub container: Option<String>,
    /// `lxc.cgroup.dir.container.inner`: below the limits, the root of the guest's view.
    pub inner: Option<String>,
    /// `lxc.cgroup.dir.monitor`.
    pub monitor: Option<String>,
    /// `lxc.cgroup.dir.monitor.pivot`: where the monitor goes at the end.
    pub pivot: Option<String>,
}

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.cgroup2.*",
        "VALUE",
        "a file of a version 2 controller, as memory.max; translated where the host has version 1",
        |draft, line| read_file(draft, line, true),
    )
    .list(),
    Key::new(
        "lxc.cgroup.*",
        "VALUE",
        "a file of a version 1 controller, as memory.limit_in_bytes; translated where the host has version 2",
        |draft, line| read_file(draft, line, false),
    )
    .list(),
    Key::new(
        "lxc.cgroup.dir",
        "PATH",
        "the cgroup below which the container's is made",
        |draft, line| {
            draft.settings.cgroup_directories.both = relative(line)?;
            Ok(())
        },
    )
    .refused(),
    Key::new(
        "lxc.cgroup.dir.container",
        "PATH",
        "the same, of the container only",
        |draft, line| {
            draft.settings.cgroup_directories.container = relative(line)?;
            Ok(())
        },
    )
    .refused(),
    Key::new(
        "lxc.cgroup.dir.container.inner",
        "PATH",
        "a cgroup below the limits that the guest takes for the root",
        |draft, line| {
            draft.settings.cgroup_directories.inner = relative(line)?;
            Ok(())
        },
    )
    .refused(),
    Key::new(
        "lxc.cgroup.dir.monitor",
        "PATH",
        "the monitor's cgroup",
        |draft, line| {
            draft.settings.cgroup_directories.monitor = relative(line)?;
            Ok(())
        },
    )
    .refused(),
    Key::new(
        "lxc.cgroup.dir.monitor.pivot",
        "PATH",
        "where the monitor goes when the container has ended",
        |draft, line| {
            draft.settings.cgroup_directories.pivot = relative(line)?;
            Ok(())
        },
    )
    .refused(),
    Key::new(
        "lxc.cgroup.relative",
        "0 or 1",
        "1: stay below the cgroup of the one who starts it",
        |draft, line| {
            draft.settings.cgroup_relative = switch(line)?;
            Ok(())
        },
    )
    .refused_but(&["0"]),
];

fn read_file(draft: &mut Draft, line: &Assignment, version_2: bool) -> Result<(), String> {
    let cgroup = &mut draft.settings.cgroup;
    if line.value.is_empty() {
        cgroup.retain(|known| known.version_2 != version_2 || known.key != line.rest());
        return Ok(());
    }
    cgroup.push(CgroupSetting {
        version_2,
        key: line.rest().to_owned(),
        value: line.value.clone(),
        place: line.place(),
    });
    Ok(())
}

/// A path that stays below where it starts.
fn relative(line: &Assignment) -> Result<Option<String>, String> {
    let inside = Path::new(&line.value)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(line.wrong("is not a relative path without \"..\""));
    }
    match text(line) {
        None => Ok(None),
        Some(_) => Err(
            "is not supported: a container's cgroups have a place of their own, where limits, stop and \
             clean-up look for them"
                .to_owned(),
        ),
    }
}
