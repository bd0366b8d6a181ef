//! What a container uses, and what it may use: the same numbers from either version.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use super::{Cgroup, Version};

/// What a running container uses. `None` where the host does not count it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Bytes of memory, the cache of files included.
    pub memory: Option<u64>,
    /// The most it has ever been.
    pub memory_peak: Option<u64>,
    /// Bytes of swap.
    pub swap: Option<u64>,
    /// Time on processors since its start, in microseconds.
    pub cpu_usec: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Bytes read from block devices.
    pub io_read: Option<u64>,
    /// Bytes written to them.
    pub io_written: Option<u64>,
}

/// The limits in force for a running container. `None` is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LimitsInForce {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of swap.
    pub swap: Option<u64>,
    /// Processors' worth of time, as 1.5.
    pub cpus: Option<f64>,
    /// Its share when processors are short, as version 2 has it: 100 is everybody's.
    pub cpu_weight: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// The processors it may run on, as `0-1`.
    pub cpuset: Option<String>,
}

impl Cgroup {
    /// What is used now.
    pub(crate) fn usage(&self) -> Usage {
        let number = |controller, one, two| self.number(controller, one, two);
        let (io_read, io_written) = self.io();
        Usage {
            memory: number("memory", "memory.usage_in_bytes", "memory.current"),
            memory_peak: number("memory", "memory.max_usage_in_bytes", "memory.peak"),
            swap: self.swap(),
            cpu_usec: self.cpu_usec(),
            processes: number("pids", "pids.current", "pids.current"),
            io_read,
            io_written,
        }
    }

    /// Bytes of memory used now: what a list of many shows, without the rest.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.number("memory", "memory.usage_in_bytes", "memory.current")
    }

    /// Bytes of memory that it may use.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        // Version 1 says "no limit" with the largest multiple of a page.
        self.number("memory", "memory.limit_in_bytes", "memory.max")
            .filter(|limit| *limit < NO_LIMIT)
    }

    /// The limits in force.
    pub(crate) fn limits(&self) -> LimitsInForce {
        let memory = self.memory_limit();
        let swap = match self.find("memory") {
            Some((_, Version::One)) => self
                .number("memory", "memory.memsw.limit_in_bytes", "")
                .filter(|both| *both < NO_LIMIT)
                .map(|both| both.saturating_sub(memory.unwrap_or(0))),
            _ => self.number("memory", "", "memory.swap.max"),
        };
        LimitsInForce {
            memory,
            swap,
            cpus: self.cpus(),
            cpu_weight: match self.find("cpu") {
                // Back to the same word, as near as the coarser file allows.
                Some((_, Version::One)) => self
                    .number("cpu", "cpu.shares", "")
                    .map(|shares| (shares * 100).div_ceil(1024)),
                _ => self.number("cpu", "", "cpu.weight"),
            },
            processes: self.number("pids", "pids.max", "pids.max"),
            cpuset: self
                .text("cpuset", "cpuset.cpus", "cpuset.cpus")
                .map(|text| text.trim().to_owned())
                // All that there are is no limit.
                .filter(|text| !text.is_empty() && *text != self.every_cpu()),
        }
    }

    /// The directory of a controller, and its version.
    pub(super) fn find(&self, controller: &str) -> Option<(PathBuf, Version)> {
        let (root, version) = self.hierarchies.find(controller)?;
        Some((root.join(&self.name), version))
    }

    pub(super) fn text(&self, controller: &str, one: &str, two: &str) -> Option<String> {
        let (directory, version) = self.find(controller)?;
        let file = match version {
            Version::One => one,
            Version::Two => two,
        };
        fs::read_to_string(directory.join(file)).ok()
    }

    fn number(&self, controller: &str, one: &str, two: &str) -> Option<u64> {
        self.text(controller, one, two)?.trim().parse().ok()
    }

    fn swap(&self) -> Option<u64> {
        let version_1 = matches!(self.find("memory"), Some((_, Version::One)));
        let text = self.text("memory", "memory.stat", "memory.swap.current")?;
        if version_1 {
            // There only if the kernel counts swap.
            return field(&text, "total_swap").or_else(|| field(&text, "swap"));
        }
        text.trim().parse().ok()
    }

    fn cpu_usec(&self) -> Option<u64> {
        if let Some(text) = self.text("cpuacct", "cpuacct.usage", "") {
            return Some(text.trim().parse::<u64>().ok()? / 1000);
        }
        // Every cgroup of version 2 counts it, with the controller or without.
        let file = self.unified()?.join("cpu.stat");
        field(&fs::read_to_string(file).ok()?, "usage_usec")
    }

    fn cpus(&self) -> Option<f64> {
        let (quota, period) = match self.find("cpu")?.1 {
            Version::One => (
                self.text("cpu", "cpu.cfs_quota_us", "")?,
                self.text("cpu", "cpu.cfs_period_us", "")?,
            ),
            Version::Two => {
                let text = self.text("cpu", "", "cpu.max")?;
                let (quota, period) = text.split_once(' ')?;
                (quota.to_owned(), period.to_owned())
            }
        };
        // `-1` or `max` is none.
        let quota = quota.trim().parse::<u64>().ok()? as f64;
        Some(quota / period.trim().parse::<u64>().ok().filter(|p| *p > 0)? as f64)
    }

    fn io(&self) -> (Option<u64>, Option<u64>) {
        if let Some((directory, Version::One)) = self.find("blkio") {
            let file = directory.join("blkio.throttle.io_service_bytes_recursive");
            let text = fs::read_to_string(file).ok();
            let sum = |word: &str| Some(version_1_io(text.as_deref()?, word));
            return (sum("Read"), sum("Write"));
        }
        let text = self.text("io", "", "io.stat");
        let sum = |word: &str| Some(version_2_io(text.as_deref()?, word));
        (sum("rbytes"), sum("wbytes"))
    }
}

/// More than any machine has.
const NO_LIMIT: u64 = 1 << 62;

/// `NAME NUMBER` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(|value| value.trim().parse().ok())
}

/// The sum over devices of `8:0 Read 4096`.
fn version_1_io(text: &str, word: &str) -> u64 {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.nth(1)? == word).then(|| words.next()?.parse::<u64>().ok())?
        })
        .fold(0, u64::saturating_add)
}

/// The sum over devices of `8:0 rbytes=4096 wbytes=0 …`.
fn version_2_io(text: &str, word: &str) -> u64 {
    text.split_whitespace()
        .filter_map(|pair| pair.strip_prefix(word)?.strip_prefix('='))
        .filter_map(|number| number.parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_devices_are_added_up_in_both_versions() {
        let one = "8:0 Read 4096\n8:0 Write 10\n8:0 Total 4106\n8:16 Read 4\nTotal 4110\n";
        assert_eq!(
            (version_1_io(one, "Read"), version_1_io(one, "Write")),
            (4100, 10)
        );
        let two = "8:0 rbytes=4096 wbytes=10 rios=1 wios=1\n8:16 rbytes=4 wbytes=0\n";
        assert_eq!(
            (version_2_io(two, "rbytes"), version_2_io(two, "wbytes")),
            (4100, 10)
        );
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "swapcached 1\nswap 7\ntotal_swap 9\n";
        assert_eq!(field(text, "swap"), Some(7));
        assert_eq!(field(text, "total_swap"), Some(9));
        assert_eq!(field(text, "tot"), None);
    }
}
