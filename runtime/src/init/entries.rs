//! `lxc.mount.entry`, and the guest's cgroup tree.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{SCRATCH, mkdir_steps};
use crate::cgroup::Hierarchies;
use crate::config::{Create, MountEntry, Settings};
use crate::error::{Result, Tried};
use crate::sandbox::c_string;
use crate::sys::mount;
use crate::sys::plan::{FileSystem, Plan, Source, Step};

const CGROUP: &str = "sys/fs/cgroup";

/// `MOUNT_ATTR__ATIME` of linux/mount.h: to be cleared when one of its values is set.
const ACCESS_TIMES: u64 = 0x70;

pub(super) fn add(plan: &mut Plan, settings: &Settings) -> Result<()> {
    for entry in &settings.mounts {
        add_entry(plan, entry)?;
    }
    let has_cgroup = settings
        .mounts
        .iter()
        .any(|entry| entry.target.starts_with(CGROUP));
    if !has_cgroup && settings.sys.is_some() && Hierarchies::discover()?.unified.is_some() {
        let mut options =
            libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        if settings.cgroup_read_only {
            options |= libc::MOUNT_ATTR_RDONLY;
        }
        plan.step(
            "mount cgroup2 at /sys/fs/cgroup",
            Step::Mount(
                FileSystem {
                    kind: c"cgroup2".to_owned(),
                    options: Vec::new(),
                    attributes: options,
                },
                c"/sys/fs/cgroup".to_owned(),
            ),
        );
    }
    Ok(())
}

fn add_entry(plan: &mut Plan, entry: &MountEntry) -> Result<()> {
    let target = Path::new("/").join(&entry.target);
    let to = c_string(target.as_os_str().as_bytes())?;
    let shown = format!("{} at {} ({})", entry.source, target.display(), entry.place);
    let mut steps = Vec::new();
    match entry.create {
        Some(Create::Directory) => steps.extend(mkdir_steps(&target, true)?),
        Some(Create::File) => {
            if let Some(parent) = target.parent() {
                steps.extend(mkdir_steps(parent, true)?);
            }
            steps.push((
                format!("create {}", target.display()),
                Step::CreateFile(to.clone()),
            ));
        }
        None => {}
    }
    let clear = if entry.attributes & ACCESS_TIMES != 0 {
        ACCESS_TIMES
    } else {
        0
    };
    if let Some(kind) = &entry.kind {
        let options = entry
            .data
            .iter()
            .map(|(key, value)| {
                let value = value.as_deref().map(c_string).transpose()?;
                Ok((c_string(key.as_str())?, value))
            })
            .collect::<Result<_>>()?;
        steps.push((
            format!("mount {shown}"),
            Step::Mount(
                FileSystem {
                    kind: c_string(kind.as_str())?,
                    options,
                    attributes: entry.attributes,
                },
                to,
            ),
        ));
    } else if entry.relative {
        let source = Path::new("/").join(&entry.source);
        steps.push((
            format!("open {} in the container", source.display()),
            Step::CloneTree {
                path: c_string(source.as_os_str().as_bytes())?,
                recursive: entry.recursive,
                slot: SCRATCH,
            },
        ));
        steps.push((
            format!("set the flags of {shown}"),
            Step::SlotAttributes {
                slot: SCRATCH,
                set: entry.attributes,
                clear,
            },
        ));
        steps.push((
            format!("attach {shown}"),
            Step::Attach(Source::Slot(SCRATCH), to),
        ));
    } else {
        let opened = fs::canonicalize(&entry.source)
            .and_then(|path| mount::open_tree(&path, entry.recursive));
        let tree = match opened {
            Ok(tree) => tree,
            Err(_) if entry.optional => return Ok(()),
            Err(cause) => return Err(cause).tried(|| format!("open {shown}")),
        };
        if entry.attributes != 0 {
            mount::set_attributes(tree.as_fd(), entry.attributes, clear)
                .tried(|| format!("set the flags of {shown}"))?;
        }
        let fd = plan.keep(&tree).tried(|| "copy a descriptor".to_owned())?;
        steps.push((format!("attach {shown}"), Step::Attach(Source::Fd(fd), to)));
    }
    if entry.optional {
        plan.optional(steps);
    } else {
        for (what, step) in steps {
            plan.step(what, step);
        }
    }
    Ok(())
}
