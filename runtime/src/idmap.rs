//! Which user ids a container or a build owns on the host.
//!
//! Everyone gets 65536 of their own, so that no two containers share a uid and none has one that
//! somebody on the host uses.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::config::{ConfigFile, effective, today};
use crate::error::{Error, Result, Tried};

/// The size of every range, and their alignment.
pub const RANGE: u32 = 65_536;

/// Ranges of containers lie between these two; above them those of builds. Below are the
/// distribution's users (and the dynamic users of systemd, up to 0x7_ffff), above 0x7fff_0000 the
/// ids that some programs take for negative.
pub(crate) const CONTAINERS: std::ops::Range<u32> = 0x0010_0000..0x1000_0000;
const BUILDS: std::ops::Range<u32> = 0x1000_0000..0x7fff_0000;

/// A range of host ids which a user namespace shows as 0, 1, 2, …
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub struct IdRange {
    /// The host's id of the inside's root.
    pub host_start: u32,
    /// How many ids.
    pub count: u32,
}

impl IdRange {
    /// A range for one build: random, so that concurrent builds do not meet and what a build
    /// leaves behind is nobody's. Nothing of these ids ever reaches the disk (the file system is
    /// mounted id-mapped), so nobody has to remember them.
    pub fn random_for_build() -> IdRange {
        let count = (BUILDS.end - BUILDS.start) / RANGE;
        IdRange {
            host_start: BUILDS.start + (rand::random::<u32>() % count) * RANGE,
            count: RANGE,
        }
    }

    /// The line for `/proc/PID/uid_map`.
    pub(crate) fn map_line(self) -> String {
        format!("0 {} {}\n", self.host_start, self.count)
    }

    fn overlaps(self, start: u64, count: u64) -> bool {
        u64::from(self.host_start) < start.saturating_add(count)
            && start < u64::from(self.host_start) + u64::from(self.count)
    }
}

/// Chooses a free range for a container. The caller holds the lock of `state`.
///
/// It starts from a hash of the state directory and the name, so that a container made again under
/// its old name usually gets its old ids, and two state directories that do not know of each other
/// rarely choose the same.
pub(crate) fn allocate(state: &Path, name: &str) -> Result<IdRange> {
    let mut used = used_by_containers(state)?;
    used.extend(used_by_host(Path::new("/etc")));
    choose(hash(state, name), &used).ok_or_else(|| {
        Error::environment("no free range of 65536 user ids is left").with_hint(
            "destroy containers that are no longer needed, or free ranges in /etc/subuid",
        )
    })
}

/// How many ranges are free for containers.
pub(crate) fn free_ranges(state: &Path) -> Result<usize> {
    let mut used = used_by_containers(state)?;
    used.extend(used_by_host(Path::new("/etc")));
    let slots = CONTAINERS
        .step_by(RANGE as usize)
        .map(|host_start| IdRange {
            host_start,
            count: RANGE,
        });
    Ok(slots
        .filter(|range| {
            !used
                .iter()
                .any(|(start, count)| range.overlaps(*start, *count))
        })
        .count())
}

/// FNV-1a of a state directory and a name: the same with every build of this program, which the
/// standard library's hash is not.
pub(crate) fn hash(state: &Path, name: &str) -> u64 {
    let bytes = state.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .chain(&[0])
        .chain(name.as_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

fn choose(hash: u64, used: &BTreeSet<(u64, u64)>) -> Option<IdRange> {
    let slots = (CONTAINERS.end - CONTAINERS.start) / RANGE;
    let first = (hash % u64::from(slots)) as u32;
    (0..slots)
        .map(|n| IdRange {
            host_start: CONTAINERS.start + (first + n) % slots * RANGE,
            count: RANGE,
        })
        .find(|range| {
            !used
                .iter()
                .any(|(start, count)| range.overlaps(*start, *count))
        })
}

/// The ranges in the configs of all containers, also of those being made.
fn used_by_containers(state: &Path) -> Result<BTreeSet<(u64, u64)>> {
    let mut used = BTreeSet::new();
    let entries = match fs::read_dir(state) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(used),
        Err(e) => return Err(e).tried(|| format!("list {}", state.display())),
    };
    for entry in entries.flatten() {
        let file = entry.path().join("config");
        let Ok(config) = ConfigFile::read(&file) else {
            continue;
        };
        // A config that cannot be obeyed, or includes what is not there, may still have its ids on
        // its disk.
        let lines = effective(&config).map_or_else(
            |_| config.lines().map(|line| (line.key, line.value)).collect(),
            |lines| -> Vec<_> {
                lines
                    .into_iter()
                    .map(|line| (line.key, line.value))
                    .collect()
            },
        );
        let maps = lines.iter().filter(|(key, _)| today(key) == "lxc.idmap");
        for (_, value) in maps {
            let numbers: Vec<u64> = value
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect();
            if let [_, start, count] = numbers[..] {
                used.insert((start, count));
            }
        }
    }
    Ok(used)
}

/// The ids of the host: /etc/subuid and /etc/subgid (subuid(5)), /etc/passwd and /etc/group.
pub(crate) fn used_by_host(etc: &Path) -> BTreeSet<(u64, u64)> {
    let mut used = BTreeSet::new();
    for (file, sub) in [
        ("subuid", true),
        ("subgid", true),
        ("passwd", false),
        ("group", false),
    ] {
        // A missing file uses no ids.
        let text = fs::read(etc.join(file)).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok());
            // What root may hand out (newuidmap, when LXC starts our containers) is for containers.
            if sub && ["root", "0"].contains(&fields[0]) {
                continue;
            }
            match (sub, number(1), number(2)) {
                (true, Some(start), Some(count)) => used.insert((start, count)),
                (false, _, Some(id)) => used.insert((id, 1)),
                _ => false,
            };
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builds_range_is_aligned_and_above_those_of_containers() {
        for _ in 0..1000 {
            let range = IdRange::random_for_build();
            assert_eq!(range.host_start % RANGE, 0);
            assert!(range.host_start >= 0x1000_0000);
            assert!(range.host_start.checked_add(range.count).is_some());
        }
    }

    #[test]
    fn a_used_range_is_skipped_also_when_it_only_touches() {
        let free = choose(7, &BTreeSet::new()).unwrap();
        let one_id = BTreeSet::from([(u64::from(free.host_start) + 65_535, 1)]);
        let next = choose(7, &one_id).unwrap();
        assert_eq!(next.host_start, free.host_start + RANGE);
    }

    #[test]
    fn when_everything_is_used_there_is_no_range() {
        assert_eq!(choose(1, &BTreeSet::from([(0, u64::MAX)])), None);
    }

    #[test]
    fn ranges_in_configs_and_host_files_count_as_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("web")).unwrap();
        fs::write(
            dir.path().join("web/config"),
            "lxc.idmap = u 0 1048576 65536\nlxc.id_map = g 0 2097152 65536\n",
        )
        .unwrap();
        assert_eq!(
            used_by_containers(dir.path()).unwrap(),
            BTreeSet::from([(1_048_576, 65_536), (2_097_152, 65_536)])
        );
        fs::write(
            dir.path().join("subuid"),
            "joe:100000:65536\nbad line\nroot:1048576:65536\n",
        )
        .unwrap();
        fs::write(dir.path().join("passwd"), "x:x:70000:70000::/:/bin/sh\n").unwrap();
        assert_eq!(
            used_by_host(dir.path()),
            BTreeSet::from([(100_000, 65_536), (70_000, 1)])
        );
    }
}
