use proptest::prelude::*;

use super::*;

const NONE: Others<'static> = Others(&[]);

fn lines(pairs: Pairs) -> Option<Vec<String>> {
    Some(pairs?.iter().map(|(k, v)| format!("{k}={v}")).collect())
}

/// Pairs of settings that mean the same, version 1 first.
const EQUAL: [(&str, &str, &str, &str); 14] = [
    ("memory.limit_in_bytes", "64M", "memory.max", "64M"),
    ("memory.limit_in_bytes", "-1", "memory.max", "max"),
    ("cpu.shares", "1024", "cpu.weight", "100"),
    ("cpu.cfs_burst_us", "5000", "cpu.max.burst", "5000"),
    ("cpu.idle", "1", "cpu.idle", "1"),
    ("pids.max", "max", "pids.max", "max"),
    ("cpuset.cpus", "0-1", "cpuset.cpus", "0-1"),
    ("cpuset.mems", "0", "cpuset.mems", "0"),
    ("hugetlb.2MB.limit_in_bytes", "2M", "hugetlb.2MB.max", "2M"),
    (
        "blkio.throttle.read_bps_device",
        "8:0 1048576",
        "io.max",
        "8:0 rbps=1048576",
    ),
    (
        "blkio.throttle.write_bps_device",
        "8:0 0",
        "io.max",
        "8:0 wbps=max",
    ),
    (
        "blkio.throttle.read_iops_device",
        "8:0 10",
        "io.max",
        "8:0 riops=10",
    ),
    (
        "blkio.throttle.write_iops_device",
        "8:0 10",
        "io.max",
        "8:0 wiops=10",
    ),
    ("blkio.bfq.weight", "300", "io.bfq.weight", "300"),
];

#[test]
fn what_means_the_same_translates_both_ways() {
    for (key_1, value_1, key_2, value_2) in EQUAL {
        assert_eq!(
            lines(to_version_1::pairs(key_2, value_2, NONE)),
            Some(vec![format!("{key_1}={value_1}")])
        );
        assert_eq!(
            lines(to_version_2::pairs(key_1, value_1, NONE)),
            Some(vec![format!("{key_2}={value_2}")])
        );
    }
}

#[test]
fn swap_is_counted_with_memory_in_version_1_and_alone_in_version_2() {
    let limit = [Wanted {
        version: Version::Two,
        key: "memory.max",
        value: "64M",
    }];
    let others = Others(&limit);
    assert_eq!(
        lines(to_version_1::pairs("memory.swap.max", "16M", others)),
        Some(vec![format!("memory.memsw.limit_in_bytes={}", 80 << 20)])
    );
    assert_eq!(
        lines(to_version_2::pairs(
            "memory.memsw.limit_in_bytes",
            "80M",
            others
        )),
        Some(vec![format!("memory.swap.max={}", 16 << 20)])
    );
    let refused = to_version_2::pairs("memory.memsw.limit_in_bytes", "63M", others);
    assert_eq!(refused, None, "less than memory alone");
    assert_eq!(to_version_1::pairs("memory.swap.max", "16M", NONE), None);
}

#[test]
fn a_quota_and_its_period_are_one_file_in_version_2() {
    let period = [Wanted {
        version: Version::One,
        key: "cpu.cfs_period_us",
        value: "50000",
    }];
    assert_eq!(
        lines(to_version_2::pairs(
            "cpu.cfs_quota_us",
            "25000",
            Others(&period)
        )),
        Some(vec!["cpu.max=25000 50000".to_owned()])
    );
    assert_eq!(
        lines(to_version_1::pairs("cpu.max", "max", NONE)),
        Some(vec![
            "cpu.cfs_period_us=100000".to_owned(),
            "cpu.cfs_quota_us=-1".to_owned()
        ])
    );
}

#[test]
fn what_has_no_equal_is_refused_and_the_nearest_named() {
    for (one, two) in NEAREST {
        // Two have an equal for some values.
        if one != "blkio.bfq.weight" {
            assert_eq!(to_version_2::pairs(one, "1", NONE), None, "{one}");
        }
        if two != "io.weight" {
            assert_eq!(to_version_1::pairs(two, "1", NONE), None, "{two}");
        }
    }
}

proptest! {
    #[test]
    fn no_value_makes_a_translation_panic(
        key in "[a-z]{1,6}(\\.[a-z_]{1,12}){1,3}|memory.swap.max|io.max|cpu.max|cpu.shares|cpu.weight",
        value in ".{0,30}",
    ) {
        to_version_1::pairs(&key, &value, NONE);
        to_version_2::pairs(&key, &value, NONE);
        bytes(&value);
    }
}
