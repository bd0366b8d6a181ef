//! What is mounted inside.

use super::Key;
use super::value::path;
use crate::config::effective::Assignment;
use crate::config::mounts::{ProcMount, SysMount};
use crate::config::settings::Draft;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.mount.entry",
        "SOURCE TARGET TYPE OPTIONS",
        "one mount, as a line of fstab(5); the target is relative to the root",
        |draft, line| {
            if line.value.is_empty() {
                draft.entries.clear();
            } else {
                // They need the rootfs, which may come later.
                draft.entries.push(line.clone());
            }
            Ok(())
        },
    )
    .list(),
    Key::new(
        "lxc.mount.fstab",
        "FILE",
        "a file of such lines, read when the container starts",
        |draft, line| {
            draft.settings.fstab = path(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.mount.auto",
        "proc[:mixed|:rw] sys[:mixed|:ro|:rw] cgroup[-full][:mixed|:ro|:rw][:force]",
        "kernel file systems; of cgroups the guest has its own cgroup2 tree, writable but for `ro`",
        read_auto,
    )
    .list(),
];

fn read_auto(draft: &mut Draft, line: &Assignment) -> Result<(), String> {
    let s = &mut draft.settings;
    if line.value.is_empty() {
        (s.proc, s.sys, s.cgroup_read_only) = (None, None, false);
    }
    for word in line.value.split_whitespace() {
        match word {
            "proc" | "proc:mixed" => s.proc = Some(ProcMount::Mixed),
            "proc:rw" => s.proc = Some(ProcMount::ReadWrite),
            "sys" | "sys:mixed" => s.sys = Some(SysMount::Mixed),
            "sys:ro" => s.sys = Some(SysMount::ReadOnly),
            "sys:rw" => s.sys = Some(SysMount::ReadWrite),
            // As for LXC where there are cgroup namespaces: the guest sees its own tree only, also
            // with the -full forms.
            "cgroup"
            | "cgroup:mixed"
            | "cgroup:rw"
            | "cgroup-full"
            | "cgroup-full:mixed"
            | "cgroup-full:rw"
            | "cgroup:force"
            | "cgroup:mixed:force"
            | "cgroup:rw:force"
            | "cgroup-full:force"
            | "cgroup-full:mixed:force"
            | "cgroup-full:rw:force" => {
                s.cgroup_read_only = false;
            }
            "cgroup:ro" | "cgroup:ro:force" | "cgroup-full:ro" | "cgroup-full:ro:force" => {
                s.cgroup_read_only = true;
            }
            word if word.starts_with("shmounts:") => {
                return Err(format!(
                    "= {word} is not supported: mounts are not injected into a running container"
                ));
            }
            _ => return Err(format!("= {word} is not supported")),
        }
    }
    Ok(())
}
