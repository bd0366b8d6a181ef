//! One change of a limit, as a person writes it: `memory=512M`, `cpus=1.5`, `pids=`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::str::FromStr;

use super::set::key;
use crate::error::{Error, Result, Tried};

/// A change of one limit; `None` lifts it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LimitChange {
    /// Bytes of memory.
    Memory(Option<u64>),
    /// Bytes of swap.
    Swap(Option<u64>),
    /// Processors' worth of time, in thousandths of one.
    Cpus(Option<u64>),
    /// The share when processors are short, 1 to 10000; everybody else has 100.
    CpuWeight(Option<u64>),
    /// Processes and threads.
    Processes(Option<u64>),
    /// The processors to run on, as `0-1,3`.
    Cpuset(Option<String>),
    /// The share when a disk is short, 1 to 1000; everybody else has 100.
    IoWeight(Option<u64>),
    /// What a disk may be asked for in a second.
    IoMax {
        /// `MAJOR:MINOR`.
        device: String,
        /// The limits; those not named are lifted.
        rates: Rates,
    },
}

/// Bytes and operations per second; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub write_bytes: Option<u64>,
    /// Reads.
    pub reads: Option<u64>,
    /// Writes.
    pub writes: Option<u64>,
}

/// Less time than this the kernel does not measure out.
const FEWEST_CPU_THOUSANDTHS: u64 = 10;

impl FromStr for LimitChange {
    type Err = Error;

    fn from_str(text: &str) -> Result<LimitChange> {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Error::user(format!("\"{text}\" is not NAME=VALUE"))
                .with_hint("as memory=512M; \"memory=\" lifts a limit")
        })?;
        let wanted = match value.trim() {
            "" | "max" | "unlimited" => None,
            other => Some(other),
        };
        let sized = |least: u64| wanted.map(|value| size(name, value, least)).transpose();
        let ranged = |least, most| {
            wanted
                .map(|value| range(name, value, least, most))
                .transpose()
        };
        Ok(match name {
            // Not even an init starts in less.
            "memory" => LimitChange::Memory(sized(1 << 20)?),
            "swap" => LimitChange::Swap(sized(0)?),
            "cpus" => LimitChange::Cpus(wanted.map(cpus).transpose()?),
            "cpu-weight" => LimitChange::CpuWeight(ranged(1, 10_000)?),
            // The kernel's own bound of pids.
            "pids" => LimitChange::Processes(ranged(1, 1 << 22)?),
            "cpuset" => LimitChange::Cpuset(wanted.map(cpuset).transpose()?),
            "io-weight" => LimitChange::IoWeight(ranged(1, 1000)?),
            "io-max" => io_max(value)?,
            _ => {
                return Err(Error::user(format!("there is no limit \"{name}\"")).with_hint(
                    "there are memory, swap, cpus, cpu-weight, pids, cpuset, io-weight and io-max",
                ));
            }
        })
    }
}

impl LimitChange {
    /// Whether it only takes limits away.
    pub(super) fn lifts(&self) -> bool {
        match self {
            LimitChange::Memory(n)
            | LimitChange::Swap(n)
            | LimitChange::Cpus(n)
            | LimitChange::CpuWeight(n)
            | LimitChange::Processes(n)
            | LimitChange::IoWeight(n) => n.is_none(),
            LimitChange::Cpuset(set) => set.is_none(),
            LimitChange::IoMax { rates, .. } => *rates == Rates::default(),
        }
    }

    /// The disk it is about.
    pub(super) fn device(&self) -> Option<&str> {
        match self {
            LimitChange::IoMax { device, .. } => Some(device),
            _ => None,
        }
    }

    /// The keys of a config that say something about it.
    pub(super) fn keys(&self) -> Vec<String> {
        let (version_1, version_2): (&[&str], &[&str]) = match self {
            LimitChange::Memory(_) => (&["memory.limit_in_bytes"], &["memory.max"]),
            LimitChange::Swap(_) => (&["memory.memsw.limit_in_bytes"], &["memory.swap.max"]),
            LimitChange::Cpus(_) => (&["cpu.cfs_period_us", "cpu.cfs_quota_us"], &["cpu.max"]),
            LimitChange::CpuWeight(_) => (&["cpu.shares"], &["cpu.weight"]),
            LimitChange::Processes(_) => (&["pids.max"], &["pids.max"]),
            LimitChange::Cpuset(_) => (&["cpuset.cpus"], &["cpuset.cpus"]),
            LimitChange::IoWeight(_) => (
                &["blkio.bfq.weight", "blkio.weight"],
                &["io.weight", "io.bfq.weight"],
            ),
            LimitChange::IoMax { .. } => (
                &[
                    "blkio.throttle.read_bps_device",
                    "blkio.throttle.write_bps_device",
                    "blkio.throttle.read_iops_device",
                    "blkio.throttle.write_iops_device",
                ],
                &["io.max"],
            ),
        };
        let named = |version_2: bool, files: &[&str]| -> Vec<String> {
            files.iter().map(|file| key(version_2, file)).collect()
        };
        [named(false, version_1), named(true, version_2)].concat()
    }
}

impl Rates {
    /// The words of version 2's `io.max`.
    pub(super) fn words(self) -> String {
        let word = |name: &str, rate: Option<u64>| match rate {
            Some(rate) => format!(" {name}={rate}"),
            None => format!(" {name}=max"),
        };
        [
            word("rbps", self.read_bytes),
            word("wbps", self.write_bytes),
            word("riops", self.reads),
            word("wiops", self.writes),
        ]
        .concat()
    }
}

fn wrong(name: &str, value: &str, what: &str) -> Error {
    Error::user(format!("{name}={value} {what}"))
}

/// A number of bytes: `512M`, `1.5G`, `1GiB`; K, M, G and T are powers of 1024.
fn size(name: &str, value: &str, least: u64) -> Result<u64> {
    let bad = || {
        wrong(name, value, "is not a number of bytes")
            .with_hint("write 512M or 1.5G; K, M, G and T are powers of 1024")
    };
    let upper = value.to_ascii_uppercase();
    let end = upper
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(upper.len());
    let (number, unit) = upper.split_at(end);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(bad()),
    };
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(1 << shift),
        Err(_) => number
            .parse::<f64>()
            .ok()
            .map(|number| number * (1u64 << shift) as f64)
            .filter(|bytes| *bytes < (1u64 << 62) as f64)
            .map(|bytes| bytes as u64),
    }
    .filter(|bytes| *bytes < 1 << 62)
    .ok_or_else(bad)?;
    if bytes < least {
        return Err(wrong(
            name,
            value,
            &format!("is too little: no container runs in less than {least} bytes"),
        )
        .with_hint("write 512M or 1.5G"));
    }
    Ok(bytes)
}

fn range(name: &str, value: &str, least: u64, most: u64) -> Result<u64> {
    value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            wrong(
                name,
                value,
                &format!("is not a number from {least} to {most}"),
            )
        })
}

fn cpus(value: &str) -> Result<u64> {
    value
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite() && *number < 10_000.0)
        .map(|number| (number * 1000.0).round() as u64)
        .filter(|thousandths| *thousandths >= FEWEST_CPU_THOUSANDTHS)
        .ok_or_else(|| {
            wrong("cpus", value, "is not a number of processors from 0.01 on")
                .with_hint("write 1.5 for the time of one and a half processors")
        })
}

/// As the kernel writes it: `0-1,3`.
fn cpuset(value: &str) -> Result<String> {
    let sound = value.split(',').all(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        match (from.parse::<u32>(), to.parse::<u32>()) {
            (Ok(from), Ok(to)) => from <= to,
            _ => false,
        }
    });
    if sound {
        Ok(value.to_owned())
    } else {
        Err(wrong("cpuset", value, "is not a list of processors").with_hint("write 0-1,3"))
    }
}

/// `DEVICE:rbps=…,wbps=…,riops=…,wiops=…`; without rates, they are lifted.
fn io_max(value: &str) -> Result<LimitChange> {
    let bad = |what: &str| {
        wrong("io-max", value, what)
            .with_hint("write io-max=/dev/sda:rbps=10M,wiops=100 (or 8:0:…); io-max=/dev/sda: lifts its limits")
    };
    let (device, words) = value
        .rsplit_once(':')
        .ok_or_else(|| bad("is not DEVICE:RATE=…"))?;
    let device = device_number(device)?.ok_or_else(|| bad("does not begin with a disk"))?;
    let mut rates = Rates::default();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let (name, rate) = word
            .split_once('=')
            .ok_or_else(|| bad(&format!("has \"{word}\", which is not RATE=NUMBER")))?;
        let rate = match rate {
            "max" | "" => None,
            _ => Some(size(name, rate, 1)?),
        };
        match name {
            "rbps" => rates.read_bytes = rate,
            "wbps" => rates.write_bytes = rate,
            "riops" => rates.reads = rate,
            "wiops" => rates.writes = rate,
            _ => return Err(bad(&format!("has the unknown rate \"{name}\""))),
        }
    }
    Ok(LimitChange::IoMax { device, rates })
}

/// `MAJOR:MINOR` of a disk's node, or as it was written.
fn device_number(device: &str) -> Result<Option<String>> {
    if device.starts_with('/') {
        let metadata = fs::metadata(device).tried(|| format!("look at the disk {device}"))?;
        if !metadata.file_type().is_block_device() {
            return Err(Error::user(format!("{device} is not a disk")).with_hint("see `lsblk`"));
        }
        let number = metadata.rdev();
        let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
        return Ok(Some(format!("{major}:{minor}")));
    }
    let numbers = device.split_once(':');
    Ok(numbers
        .filter(|(major, minor)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok())
        .map(|_| device.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<LimitChange> {
        text.parse().ok()
    }

    #[test]
    fn limits_are_read_with_their_units() {
        assert_eq!(
            read("memory=512M"),
            Some(LimitChange::Memory(Some(512 << 20)))
        );
        assert_eq!(
            read("memory=1.5GiB"),
            Some(LimitChange::Memory(Some(1536 << 20)))
        );
        assert_eq!(read("memory="), Some(LimitChange::Memory(None)));
        assert_eq!(read("swap=0"), Some(LimitChange::Swap(Some(0))));
        assert_eq!(read("cpus=1.5"), Some(LimitChange::Cpus(Some(1500))));
        assert_eq!(
            read("cpu-weight=200"),
            Some(LimitChange::CpuWeight(Some(200)))
        );
        assert_eq!(read("pids=max"), Some(LimitChange::Processes(None)));
        assert_eq!(
            read("cpuset=0-1,3"),
            Some(LimitChange::Cpuset(Some("0-1,3".to_owned())))
        );
        assert_eq!(
            read("io-max=8:16:rbps=1M,wiops=5"),
            Some(LimitChange::IoMax {
                device: "8:16".to_owned(),
                rates: Rates {
                    read_bytes: Some(1 << 20),
                    writes: Some(5),
                    ..Rates::default()
                }
            })
        );
    }

    #[test]
    fn what_is_no_limit_is_refused_with_what_would_be_one() {
        for text in [
            "memory",
            "memory=lots",
            "memory=-1",
            "memory=1",
            "memory=9999999T",
            "cpus=0",
            "cpus=nan",
            "cpus=-1",
            "cpus=inf",
            "cpu-weight=0",
            "cpu-weight=10001",
            "pids=0",
            "pids=1.5",
            "cpuset=3-1",
            "cpuset=a",
            "io-weight=1001",
            "io-max=x",
            "io-max=8:0",
            "io-max=8:0:rbps",
            "io-max=8:0:speed=1",
            "disk=1G",
        ] {
            let error = text.parse::<LimitChange>().unwrap_err();
            assert!(!error.chain().is_empty(), "{text}");
        }
        let error = "disk=1G".parse::<LimitChange>().unwrap_err();
        assert!(error.hint().unwrap().contains("io-max"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            name in "memory|swap|cpus|cpu-weight|pids|cpuset|io-weight|io-max", value in ".{0,30}",
        ) {
            let _ = read(&format!("{name}={value}"));
        }
    }
}
