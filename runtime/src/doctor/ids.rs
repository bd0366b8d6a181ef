//! User ids: those of containers are nobody else's.

use std::path::Path;

use crate::config::Settings;
use crate::idmap::{self, IdRange};
use crate::subid;

use super::{Finding, Host};

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    let directories = host.subject.containers.directories();
    let etc = host.subject.containers.etc.as_deref();
    let mut findings = Vec::new();
    if let Some(etc) = etc {
        findings.push(reserved(host.root, etc));
    }
    findings.push(match idmap::free_ranges(&directories.state) {
        Err(error) => Finding::unknown("ids.free", error.chain()),
        Ok(0) => Finding::problem(
            "ids.free",
            "no range of 65536 ids is left",
            "sampan ls; then: sampan destroy NAME of what is no longer needed",
        ),
        Ok(free) => Finding::ok("ids.free", format!("{free} ranges of 65536 ids are free")),
    });
    findings.extend(overlaps(host, etc.unwrap_or(Path::new("/etc"))));
    findings
}

fn reserved(root: bool, etc: &Path) -> Finding {
    let name = "ids.reserved";
    match subid::is_missing_in(etc, idmap::CONTAINERS) {
        Err(error) if !root => Finding::unknown(name, error.chain()),
        Err(error) => Finding::problem(
            name,
            error.chain(),
            format!("ls -l {}/sub?id", etc.display()),
        ),
        Ok(files) if files.is_empty() => {
            Finding::ok(name, "useradd hands out none of the containers' ids")
        }
        Ok(files) => Finding::ok(
            name,
            format!(
                "the first container will be noted in {}",
                files.join(" and ")
            ),
        ),
    }
}

/// Ranges of containers that belong to others as well.
fn overlaps(host: &Host<'_>, etc: &Path) -> Vec<Finding> {
    let name = "ids.overlap";
    let ranges: Vec<(&str, Vec<(u64, u64)>)> = host
        .settings()
        .map(|(name, settings)| (name, ranges(settings)))
        .filter(|(_, ranges)| !ranges.is_empty())
        .collect();
    let mut findings = Vec::new();
    let people = idmap::used_by_host(etc);
    for (at, (container, own)) in ranges.iter().enumerate() {
        if let Some((start, count)) = meets(own, people.iter().copied()) {
            findings.push(Finding::problem(
                name,
                format!("{container} has ids of the host: {}", words(start, count)),
                other_range(host, container),
            ));
        }
        for (other, theirs) in &ranges[..at] {
            if let Some((start, count)) = meets(own, theirs.iter().copied()) {
                findings.push(Finding::warning(
                    name,
                    format!(
                        "{container} and {other} share ids ({}): a process that leaves the one may touch the other",
                        words(start, count)
                    ),
                    other_range(host, container),
                ));
            }
        }
    }
    if findings.is_empty() {
        let found = format!("{} containers have ids of their own", ranges.len());
        findings.push(Finding::ok(name, found));
    }
    findings
}

fn ranges(settings: &Settings) -> Vec<(u64, u64)> {
    let maps = settings.user_map.iter().chain(&settings.group_map);
    let mut ranges: Vec<(u64, u64)> = maps
        .map(|map| (u64::from(map.host), u64::from(map.count)))
        // A single id is mapped on purpose.
        .filter(|(_, count)| *count > 1)
        .collect();
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

fn meets(own: &[(u64, u64)], others: impl Iterator<Item = (u64, u64)>) -> Option<(u64, u64)> {
    let mut others = others;
    others.find(|(start, count)| {
        own.iter().any(|(first, many)| {
            first < &start.saturating_add(*count) && *start < first.saturating_add(*many)
        })
    })
}

fn words(start: u64, count: u64) -> String {
    match count {
        1 => start.to_string(),
        _ => format!("{start} to {}", start.saturating_add(count) - 1),
    }
}

/// The command that gives a container a range that is free. Its files keep their ids.
fn other_range(host: &Host<'_>, container: &str) -> String {
    let state = &host.subject.containers.directories().state;
    match idmap::allocate(state, container) {
        Ok(IdRange { host_start, count }) => format!(
            "sampan stop {container}; sampan config set {container} lxc.idmap 'u 0 {host_start} {count}' 'g 0 {host_start} {count}'"
        ),
        Err(_) => format!("sampan destroy {container}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_when_they_have_an_id_in_common() {
        let own = [(1_048_576, 65_536)];
        assert_eq!(meets(&own, [(1_048_576 + 65_536, 10)].into_iter()), None);
        assert_eq!(meets(&own, [(1_048_000, 576)].into_iter()), None);
        assert_eq!(
            meets(&own, [(1_050_000, 1)].into_iter()),
            Some((1_050_000, 1))
        );
        assert_eq!(words(7, 1), "7");
        assert_eq!(words(7, 3), "7 to 9");
    }
}
