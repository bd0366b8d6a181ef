//! Words of version 1 for a host that has the controller in version 2.

use super::{Others, Pairs, RENAMED, SAME, THROTTLES, bytes, one};

pub(super) fn pairs(key: &str, value: &str, others: Others<'_>) -> Pairs {
    if SAME.contains(&key) {
        return one(key, value);
    }
    if let Some((_, name)) = RENAMED.iter().find(|(one, _)| *one == key) {
        return one(name, unlimited(value));
    }
    if let Some(size) = key
        .strip_prefix("hugetlb.")
        .and_then(|k| k.strip_suffix(".limit_in_bytes"))
    {
        return one(&format!("hugetlb.{size}.max"), unlimited(value));
    }
    if let Some((_, word)) = THROTTLES.iter().find(|(one, _)| *one == key) {
        let (device, limit) = value.split_once(' ')?;
        let limit: u64 = limit.trim().parse().ok()?;
        let limit = if limit == 0 {
            "max".to_owned()
        } else {
            limit.to_string()
        };
        return one("io.max", format!("{device} {word}={limit}"));
    }
    match key {
        // One counts memory and swap together, the other swap alone.
        "memory.memsw.limit_in_bytes" => {
            let swap = match value {
                "-1" => "max".to_owned(),
                _ => bytes(value)?.checked_sub(others.memory()?)?.to_string(),
            };
            one("memory.swap.max", swap)
        }
        "cpu.shares" => {
            let shares: u64 = value.parse().ok().filter(|s| (2..=262_144).contains(s))?;
            one(
                "cpu.weight",
                (shares * 100 / 1024).clamp(1, 10_000).to_string(),
            )
        }
        // One file for both.
        "cpu.cfs_quota_us" => {
            let period = others.value("cpu.cfs_period_us", "").unwrap_or("100000");
            one("cpu.max", format!("{} {period}", unlimited(value)))
        }
        "cpu.cfs_period_us" => {
            let quota = others.value("cpu.cfs_quota_us", "").unwrap_or("-1");
            one("cpu.max", format!("{} {value}", unlimited(quota)))
        }
        "blkio.bfq.weight" => {
            let weight: u64 = value.parse().ok().filter(|w| (1..=1000).contains(w))?;
            one("io.bfq.weight", weight.to_string())
        }
        _ => None,
    }
}

fn unlimited(value: &str) -> String {
    if value == "-1" { "max" } else { value }.to_owned()
}
