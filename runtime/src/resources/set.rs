//! Bringing changes into force: the kernel first, which may refuse, then the config.

use nix::fcntl::FlockArg;

use super::change::LimitChange;
use crate::cgroup::{Cgroup, Line, Usage, Version, Wanted, bytes};
use crate::config::{CgroupSetting, ConfigFile, Settings};
use crate::container::{Container, must_be_root};
use crate::error::{Error, Result};

/// Where limits are changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SetIn {
    /// In the config, and in force if it runs.
    #[default]
    Both,
    /// In force until it stops.
    Running,
    /// From its next start on.
    Config,
}

/// Where limits were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct SetResult {
    /// They are in force.
    pub running: bool,
    /// They are in its config.
    pub config: bool,
}

/// The length of a period of processor time in microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

impl Container {
    /// Changes limits: all of them everywhere asked for, or nothing.
    ///
    /// # Errors
    /// The kernel refuses one; [`Reason::NotRunning`](crate::Reason) for [`SetIn::Running`].
    pub fn set_limits(&self, changes: &[LimitChange], set_in: SetIn) -> Result<SetResult> {
        must_be_root("change the limits of a container")?;
        // Neither a start nor another change in between.
        let _lock = self.lock(FlockArg::LockExclusive)?;
        let cgroup = self.cgroup()?;
        let runs = self.run_directory().is_locked()?;
        if set_in == SetIn::Running && !runs {
            return Err(self.not_running());
        }
        let new = match set_in {
            SetIn::Running => None,
            SetIn::Both | SetIn::Config => Some(changed_config(&cgroup, self.config()?, changes)?),
        };
        let undo = if runs && set_in != SetIn::Config {
            let limits = cgroup.limits();
            let changes = completed(&cgroup, changes, limits.memory, limits.swap)?;
            Some(cgroup.change(&wanted(&words(&cgroup, &changes)))?)
        } else {
            None
        };
        let running = undo.is_some();
        if let Some(new) = &new
            && let Err(error) = self.set_config(new)
        {
            if let Some(undo) = undo {
                cgroup.undo(undo).map_err(|error| {
                    error.wrap("the config could not be written, and the limits not be put back")
                })?;
            }
            return Err(error);
        }
        Ok(SetResult {
            running,
            config: new.is_some(),
        })
    }

    /// What it uses; `None` if it does not run.
    pub fn usage(&self) -> Result<Option<Usage>> {
        if !self.run_directory().is_locked()? {
            return Ok(None);
        }
        Ok(Some(self.cgroup()?.usage()))
    }
}

/// A config as it is with the changes.
pub(crate) fn changed_config(
    cgroup: &Cgroup,
    mut config: ConfigFile,
    changes: &[LimitChange],
) -> Result<ConfigFile> {
    let (memory, swap) = memory_and_swap(&Settings::of(&config)?.cgroup);
    let changes = completed(cgroup, changes, memory, swap)?;
    let words = words(cgroup, &changes);
    for (change, lines) in changes.iter().zip(cgroup.lines(&wanted(&words))?) {
        let lines: Vec<Line> = match change.lifts() {
            true => Vec::new(),
            false => lines.into_iter().filter(|l| !lifts_nothing(l)).collect(),
        };
        let device = change.device();
        for key in change.keys() {
            if device.is_some() || !lines.iter().any(|line| name(line) == key) {
                forget(&mut config, &key, device);
            }
        }
        for line in &lines {
            match device {
                Some(_) => config.push(&name(line), &line.value),
                None => config.set(&name(line), &line.value),
            }
        }
    }
    // What an included file says is in force still: an empty value takes it back.
    let settings = Settings::of(&config)?;
    for change in changes.iter().filter(|change| change.lifts()) {
        for key in change.keys() {
            if settings
                .cgroup
                .iter()
                .any(|setting| name_of(setting) == key)
            {
                config.push(&key, "");
            }
        }
    }
    Settings::of(&config)?;
    Ok(config)
}

/// The changes, with what they entail: where version 1 counts memory and swap in one number, the one
/// changes with the other.
fn completed(
    cgroup: &Cgroup,
    changes: &[LimitChange],
    memory_before: Option<u64>,
    swap_before: Option<u64>,
) -> Result<Vec<LimitChange>> {
    let memory = changes.iter().rev().find_map(|change| match change {
        LimitChange::Memory(memory) => Some(*memory),
        _ => None,
    });
    let swap = changes.iter().rev().find_map(|change| match change {
        LimitChange::Swap(swap) => Some(*swap),
        _ => None,
    });
    let mut all = Vec::new();
    if memory.is_some() || swap.is_some() {
        let memory = memory.unwrap_or(memory_before);
        let after = swap.unwrap_or(swap_before);
        if after.is_some() && memory.is_none() && cgroup.version_of("memory") == Some(Version::One)
        {
            return Err(Error::user(
                "a limit of swap needs a limit of memory on this host, where cgroup version 1 counts both together",
            )
            .with_hint("set both, as memory=512M swap=128M, or lift both: memory= swap="));
        }
        all.push(LimitChange::Memory(memory));
        if swap.is_some() || after.is_some() {
            all.push(LimitChange::Swap(after));
        }
    }
    let rest =
        |change: &&LimitChange| !matches!(change, LimitChange::Memory(_) | LimitChange::Swap(_));
    all.extend(changes.iter().filter(rest).cloned());
    Ok(all)
}

/// The limits of memory and of swap that a config's lines make.
fn memory_and_swap(lines: &[CgroupSetting]) -> (Option<u64>, Option<u64>) {
    let last = |names: [&str; 2]| {
        lines
            .iter()
            .rev()
            .find(|line| line.key == names[usize::from(line.version_2)])
    };
    let memory = last(["memory.limit_in_bytes", "memory.max"]).and_then(|line| bytes(&line.value));
    let swap = last(["memory.memsw.limit_in_bytes", "memory.swap.max"]).and_then(|line| {
        let number = bytes(&line.value)?;
        match line.version_2 {
            true => Some(number),
            false => number.checked_sub(memory?),
        }
    });
    (memory, swap)
}

/// Files of version 2 and their values; whatever the host has, they are translated.
fn words(cgroup: &Cgroup, changes: &[LimitChange]) -> Vec<(&'static str, String)> {
    let number = |n: &Option<u64>| n.map_or("max".to_owned(), |n| n.to_string());
    let weight = |n: &Option<u64>| n.unwrap_or(100).to_string();
    changes
        .iter()
        .map(|change| match change {
            LimitChange::Memory(bytes) => ("memory.max", number(bytes)),
            LimitChange::Swap(bytes) => ("memory.swap.max", number(bytes)),
            LimitChange::Cpus(thousandths) => {
                let quota = thousandths.map(|n| n * PERIOD / 1000);
                ("cpu.max", format!("{} {PERIOD}", number(&quota)))
            }
            LimitChange::CpuWeight(n) => ("cpu.weight", weight(n)),
            LimitChange::Processes(n) => ("pids.max", number(n)),
            LimitChange::Cpuset(set) => (
                "cpuset.cpus",
                set.clone().unwrap_or_else(|| cgroup.every_cpu()),
            ),
            LimitChange::IoWeight(n) => {
                let file = if cgroup.has("io", "io.bfq.weight") && !cgroup.has("io", "io.weight") {
                    "io.bfq.weight"
                } else {
                    "io.weight"
                };
                (file, weight(n))
            }
            LimitChange::IoMax { device, rates } => {
                ("io.max", format!("{device}{}", rates.words()))
            }
        })
        .collect()
}

fn wanted<'a>(words: &'a [(&'static str, String)]) -> Vec<Wanted<'a>> {
    words
        .iter()
        .map(|(key, value)| Wanted {
            version: Version::Two,
            key,
            value,
        })
        .collect()
}

fn name(line: &Line) -> String {
    key(line.version_2, &line.key)
}

fn name_of(setting: &CgroupSetting) -> String {
    key(setting.version_2, &setting.key)
}

pub(super) fn key(version_2: bool, file: &str) -> String {
    format!("lxc.cgroup{}.{file}", if version_2 { "2" } else { "" })
}

/// A rate of one disk in version 1 that is no limit.
fn lifts_nothing(line: &Line) -> bool {
    line.key.ends_with("_device") && line.value.ends_with(" 0")
}

/// Removes the lines with a key; of one disk only, if it is about one.
fn forget(config: &mut ConfigFile, key: &str, device: Option<&str>) {
    let Some(device) = device else {
        return config.remove(key);
    };
    let others: Vec<String> = config
        .lines_of(&[key])
        .map(|line| line.value)
        .filter(|value| value.split_whitespace().next() != Some(device))
        .collect();
    config.remove(key);
    for value in others {
        config.push(key, &value);
    }
}
