//! Words of version 2 for a host that has the controller in version 1.

use super::{Others, Pairs, RENAMED, SAME, THROTTLES, bytes, one};

pub(super) fn pairs(key: &str, value: &str, others: Others<'_>) -> Pairs {
    if SAME.contains(&key) {
        return one(key, value);
    }
    if let Some((name, _)) = RENAMED.iter().find(|(_, two)| *two == key) {
        return one(name, unlimited(value));
    }
    if let Some(size) = key
        .strip_prefix("hugetlb.")
        .and_then(|k| k.strip_suffix(".max"))
    {
        return one(&format!("hugetlb.{size}.limit_in_bytes"), unlimited(value));
    }
    match key {
        // One counts memory and swap together, the other swap alone.
        "memory.swap.max" => {
            let both = match value {
                "max" => "-1".to_owned(),
                _ => others.memory()?.checked_add(bytes(value)?)?.to_string(),
            };
            one("memory.memsw.limit_in_bytes", both)
        }
        "cpu.weight" => {
            // Both defaults meet: 100 and 1024.
            let weight: u64 = value.parse().ok().filter(|w| (1..=10_000).contains(w))?;
            one("cpu.shares", (weight * 1024 / 100).max(2).to_string())
        }
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let quota = unlimited(words.next()?);
            let period = words.next().unwrap_or("100000");
            Some(vec![
                ("cpu.cfs_period_us".to_owned(), period.to_owned()),
                ("cpu.cfs_quota_us".to_owned(), quota),
            ])
        }
        "io.bfq.weight" => one("blkio.bfq.weight", plain_weight(value)?),
        // The scheduler that obeys the one obeys the other on hosts of version 2.
        "io.weight" => one("blkio.bfq.weight", plain_weight(value)?),
        "io.max" => throttles(value),
        _ => None,
    }
}

/// `N` or `default N`, as far as version 1 goes.
fn plain_weight(value: &str) -> Option<String> {
    let number = value.strip_prefix("default ").unwrap_or(value).trim();
    let weight: u64 = number.parse().ok()?;
    (1..=1000).contains(&weight).then(|| weight.to_string())
}

/// `MAJOR:MINOR rbps=N …`: each word is a file.
fn throttles(value: &str) -> Pairs {
    let mut words = value.split_whitespace();
    let device = words.next()?;
    let mut pairs = Vec::new();
    for word in words {
        let (name, limit) = word.split_once('=')?;
        let (file, _) = THROTTLES.iter().find(|(_, known)| *known == name)?;
        let limit = if limit == "max" {
            0
        } else {
            limit.parse::<u64>().ok()?
        };
        pairs.push(((*file).to_owned(), format!("{device} {limit}")));
    }
    (!pairs.is_empty()).then_some(pairs)
}

fn unlimited(value: &str) -> String {
    if value == "max" { "-1" } else { value }.to_owned()
}
