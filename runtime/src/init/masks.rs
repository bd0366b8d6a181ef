//! Parts of /proc and /sys that tell about the host or act on it.
//!
//! Root of an unprivileged container may take these mounts away again; what is behind them then
//! refuses it by itself, since its files belong to the host's root. They keep programs from reading
//! what is not about their container, and services from failing at what they may not touch.

use std::path::Path;

use crate::error::{Result, Tried};
use crate::sandbox::{c_string, tmpfs};
use crate::sys::mount;
use crate::sys::plan::{Plan, Source, Step};

use super::{SCRATCH, clone};

/// Files, which become /dev/null, and directories, which become empty: those that OCI runtimes mask,
/// kernel messages, and the host's keys, pages and latencies.
const MASKED_PROC: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];

/// The same of /sys. To systemd the last three look mounted already, so that it does not fail at
/// mounting what a user namespace may not.
const MASKED_SYS: [&str; 6] = [
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/pstore",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// Settings of the host's hardware and file systems.
const READ_ONLY_PROC: [&str; 4] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"];

pub(super) fn mask_proc(plan: &mut Plan) -> Result<()> {
    MASKED_PROC.iter().try_for_each(|path| mask(plan, path))
}

pub(super) fn mask_sys(plan: &mut Plan) -> Result<()> {
    MASKED_SYS.iter().try_for_each(|path| mask(plan, path))
}

/// Binds them over themselves.
pub(super) fn read_only_proc(plan: &mut Plan) -> Result<()> {
    for path in READ_ONLY_PROC {
        // Not every kernel has all of them.
        plan.optional(vec![
            (format!("clone {path}"), clone(path, SCRATCH)?),
            (
                format!("make {path} read-only"),
                Step::SlotAttributes {
                    slot: SCRATCH,
                    set: libc::MOUNT_ATTR_RDONLY,
                    clear: 0,
                },
            ),
            (
                format!("attach {path}"),
                Step::Attach(Source::Slot(SCRATCH), c_string(path)?),
            ),
        ]);
    }
    Ok(())
}

/// Hides what this kernel has of that name: the host's /proc and /sys are of the same kernel.
fn mask(plan: &mut Plan, path: &str) -> Result<()> {
    let Ok(metadata) = std::fs::metadata(path) else {
        return Ok(());
    };
    if metadata.is_dir() {
        let attributes = libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC;
        plan.optional(vec![
            (
                format!("make an empty directory for {path}"),
                Step::NewFileSystem(tmpfs("4096", "0555", attributes), SCRATCH),
            ),
            (
                format!("mask {path}"),
                Step::Attach(Source::Slot(SCRATCH), c_string(path)?),
            ),
        ]);
        return Ok(());
    }
    let null =
        mount::open_tree(Path::new("/dev/null"), false).tried(|| "open /dev/null".to_owned())?;
    let fd = plan.keep(&null).tried(|| "copy a descriptor".to_owned())?;
    plan.optional(vec![(
        format!("mask {path}"),
        Step::Attach(Source::Fd(fd), c_string(path)?),
    )]);
    Ok(())
}
