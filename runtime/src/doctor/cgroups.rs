//! Cgroups: which hierarchies there are, and what can be limited.

use std::path::Path;

use crate::cgroup::{DeviceRules, Hierarchies, Version};

use super::kernel::OTHER_KERNEL;
use super::{Finding, Host};

/// What limits are made of: controller of version 2, of version 1, and what cannot be limited without.
const CONTROLLERS: [(&str, &str, &str); 5] = [
    ("memory", "memory", "memory"),
    ("cpu", "cpu", "processor time"),
    ("pids", "pids", "processes"),
    ("cpuset", "cpuset", "the choice of processors"),
    ("io", "blkio", "disk input and output"),
];

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    let hierarchies = match Hierarchies::discover() {
        Ok(hierarchies) => hierarchies,
        Err(error) => {
            return vec![Finding::problem(
                "cgroups.mode",
                error.chain(),
                "mount -t cgroup2 none /sys/fs/cgroup",
            )];
        }
    };
    vec![
        mode(&hierarchies),
        controllers(&hierarchies),
        swap(&hierarchies),
        devices(host),
    ]
}

fn mode(found: &Hierarchies) -> Finding {
    let name = "cgroups.mode";
    match (&found.unified, found.version_1.is_empty()) {
        (Some(unified), true) => Finding::ok(
            name,
            format!("unified: version 2 at {}", unified.root.display()),
        ),
        (Some(unified), false) => Finding::ok(
            name,
            format!(
                "hybrid: version 1, and version 2 at {}",
                unified.root.display()
            ),
        ),
        (None, _) => Finding::warning(
            name,
            "version 1 only: guests get no cgroup tree of their own, and new systemd guests do not boot",
            "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
    }
}

fn controllers(found: &Hierarchies) -> Finding {
    let name = "cgroups.controllers";
    let mut there = Vec::new();
    let mut missing = Vec::new();
    for (two, one, what) in CONTROLLERS {
        if found.find(two).is_some() || found.find(one).is_some() {
            there.push(two);
        } else {
            missing.push((two, what));
        }
    }
    if missing.is_empty() {
        return Finding::ok(name, there.join(", "));
    }
    let lost: Vec<&str> = missing.iter().map(|row| row.1).collect();
    let mend = match missing.iter().any(|row| row.0 == "memory") {
        true => kernel_argument("cgroup_enable=memory"),
        false => OTHER_KERNEL.to_owned(),
    };
    Finding::warning(name, format!("nothing limits {}", lost.join(", ")), mend)
}

fn swap(found: &Hierarchies) -> Finding {
    let name = "cgroups.swap";
    let counted = match found.find("memory") {
        None => return Finding::unknown(name, "there is no memory controller"),
        Some((root, Version::One)) => root.join("memory.memsw.limit_in_bytes").exists(),
        // Not in the root of the tree.
        Some((root, Version::Two)) => match below(root) {
            None => return Finding::unknown(name, "there is no cgroup to look at"),
            Some(child) => child.join("memory.swap.max").exists(),
        },
    };
    match counted {
        true => Finding::ok(name, "swap is counted and can be limited"),
        false => Finding::warning(
            name,
            "swap is not counted: a limit of memory does not bound what is swapped out",
            kernel_argument("swapaccount=1"),
        ),
    }
}

/// A cgroup that has a memory controller of its own.
fn below(root: &Path) -> Option<std::path::PathBuf> {
    let entries = root.read_dir().ok()?.flatten().map(|entry| entry.path());
    let mut with = entries.filter(|path| path.join("memory.current").exists());
    with.next()
}

fn devices(host: &Host<'_>) -> Finding {
    let name = "cgroups.devices";
    if !host.root {
        return Finding::unknown(name, "needs root");
    }
    match DeviceRules::usual().try_loading() {
        Ok(()) => Finding::ok(name, "a BPF program can keep devices from a cgroup"),
        Err(error) => Finding::problem(
            name,
            format!("a BPF program for devices cannot be loaded: {error}"),
            OTHER_KERNEL,
        ),
    }
}

fn kernel_argument(argument: &str) -> String {
    format!(
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{argument} /' /etc/default/grub && update-grub && reboot"
    )
}
