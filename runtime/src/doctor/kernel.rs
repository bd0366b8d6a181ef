//! The kernel: its version, and each kind of namespace, made for a moment.

use crate::error::Error;
use crate::sys::pidfd;
use crate::sys::plan::{Plan, Step};
use crate::sys::spawn::{Child, spawn};

use super::{Finding, Host};

/// What brings a kernel that has everything.
pub(super) const OTHER_KERNEL: &str =
    "apt-get install --reinstall linux-image-$(dpkg --print-architecture) && reboot";

/// Sampan needs mounts with shifted ids of most file systems; overlays want a little more.
const LEAST: (u32, u32) = (5, 15);
const OVERLAYS: (u32, u32) = (5, 19);

/// Name, flag, and the limit of its number in /proc/sys/user.
const NAMESPACES: [(&str, libc::c_int, &str); 7] = [
    ("kernel.namespaces.user", libc::CLONE_NEWUSER, "user"),
    ("kernel.namespaces.mount", libc::CLONE_NEWNS, "mnt"),
    ("kernel.namespaces.pid", libc::CLONE_NEWPID, "pid"),
    ("kernel.namespaces.network", libc::CLONE_NEWNET, "net"),
    ("kernel.namespaces.ipc", libc::CLONE_NEWIPC, "ipc"),
    ("kernel.namespaces.uts", libc::CLONE_NEWUTS, "uts"),
    ("kernel.namespaces.cgroup", libc::CLONE_NEWCGROUP, "cgroup"),
];

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    let mut findings = vec![version(
        &std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default(),
    )];
    findings.extend(NAMESPACES.map(|(check, flag, limit)| namespace(host, check, flag, limit)));
    findings.push(match pidfd::open(std::process::id() as i32) {
        Ok(_) => Finding::ok("kernel.pidfd", "processes can be held by descriptors"),
        Err(error) => Finding::problem(
            "kernel.pidfd",
            format!("pidfd_open does not work: {error}"),
            OTHER_KERNEL,
        ),
    });
    findings.push(seccomp());
    findings
}

/// A process in new namespaces, which ends when it is dropped.
pub(super) fn process_in(namespaces: libc::c_int) -> crate::Result<Child> {
    let os = |error| Error::os("could not open pipes", error);
    let mut plan = Plan::new().map_err(os)?;
    plan.step("wait", Step::WaitForGo);
    spawn(plan, namespaces, None)
}

fn namespace(host: &Host<'_>, check: &'static str, flag: libc::c_int, limit: &str) -> Finding {
    // Whoever is not root is in a namespace of their own users.
    let more = if host.root { 0 } else { libc::CLONE_NEWUSER };
    match process_in(flag | more) {
        Ok(_) => Finding::ok(check, "one was made, by clone3"),
        Err(error) if !host.root => {
            Finding::unknown(check, format!("needs root here: {}", error.chain()))
        }
        Err(error) => {
            let file = format!("/proc/sys/user/max_{limit}_namespaces");
            let most = std::fs::read_to_string(file).ok();
            let few = most.and_then(|text| text.trim().parse::<u64>().ok());
            let mend = match few {
                Some(..1000) => format!("sysctl -w user.max_{limit}_namespaces=16384"),
                _ => OTHER_KERNEL.to_owned(),
            };
            Finding::problem(check, error.chain(), mend)
        }
    }
}

fn version(release: &str) -> Finding {
    let name = "kernel.version";
    let release = release.trim();
    match number(release) {
        None => Finding::unknown(name, format!("the release \"{release}\" has no number")),
        Some(version) if version < LEAST => Finding::problem(
            name,
            format!("Linux {release}; Sampan needs 5.15"),
            OTHER_KERNEL,
        ),
        Some(version) if version < OVERLAYS => Finding::warning(
            name,
            format!("Linux {release}; overlays of unprivileged containers need 5.19"),
            OTHER_KERNEL,
        ),
        Some(_) => Finding::ok(name, format!("Linux {release}")),
    }
}

fn number(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-', '+']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn seccomp() -> Finding {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    match actions {
        Ok(actions) if actions.split_whitespace().any(|word| word == "errno") => {
            Finding::ok("kernel.seccomp", "filters of system calls can be set")
        }
        Ok(_) | Err(_) => Finding::problem(
            "kernel.seccomp",
            "this kernel has no filters of system calls",
            OTHER_KERNEL,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for (release, level) in [
            ("6.18.44-fc", Level::Ok),
            ("5.19.0\n", Level::Ok),
            ("5.15.0-91-generic", Level::Warning),
            ("5.4.0", Level::Problem),
            ("", Level::Unknown),
            ("next", Level::Unknown),
        ] {
            assert_eq!(version(release).level, level, "{release}");
        }
    }
}
