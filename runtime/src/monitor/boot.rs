//! The monitor's part of a start: everything around the clone of the container's init.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use super::terminal::Terminal;
use crate::cgroup::Cgroup;
use crate::config::{IdMapping, Settings};
use crate::container::Container;
use crate::error::{Reason, Result, Tried};
use crate::init::{self, Execution, Terminals};
use crate::network::{self, Connected};
use crate::sys::mount;
use crate::sys::spawn::{Child, Running, StartFailure, set_limit, spawn};

/// An init that runs, and what it is connected to.
pub(super) struct Booted {
    pub(super) running: Running,
    pub(super) network: Connected,
}

/// Starts init. What it made when it fails is the caller's to remove: the cgroup.
pub(super) fn boot(
    container: &Container,
    settings: &Settings,
    cgroup: &Cgroup,
    console: &Terminal,
    ttys: &[Terminal],
    execution: Option<&Execution>,
) -> Result<Booted> {
    confine(cgroup, settings)?;
    let terminals = Terminals {
        console: console.slave(),
        ttys: ttys.iter().map(Terminal::slave).collect(),
    };
    let (plan, unmapped) = init::plan(container.name().as_str(), settings, &terminals, execution)?;
    let into = cgroup.open_unified()?;
    let child = spawn(
        plan,
        init::namespaces(settings),
        into.as_ref().map(AsFd::as_fd),
    )?;
    cgroup.add_to_version_1(child.pid())?;
    for limit in &settings.limits {
        set_limit(child.pid(), limit.resource, limit.soft, limit.hard)
            .tried(|| format!("set the limit {}", limit.name))?;
    }
    if !settings.privileged() {
        write_map(child.pid(), "uid_map", &settings.user_map)?;
        write_map(child.pid(), "gid_map", &settings.group_map)?;
    }
    let network = network::connect(container.owner(), &settings.networks, child.pid())?;
    let rootfs = root_tree(settings, &child)?;
    let mounts = mapped(unmapped, &child)?;
    let trees: Vec<_> = std::iter::once(&rootfs).chain(&mounts).collect();
    child.go(&trees.iter().map(|tree| tree.as_fd()).collect::<Vec<_>>())?;
    let running = child.wait_for_exec().map_err(|failure| match failure {
        StartFailure::Exec(errno, error) if execution.is_some() => error.with_reason(match errno {
            libc::ENOENT => Reason::CommandNotFound,
            _ => Reason::CommandNotExecutable,
        }),
        other => crate::error::Error::from(other),
    })?;
    Ok(Booted { running, network })
}

/// Makes the cgroup, with its limits, and gives its inside to the guest.
fn confine(cgroup: &Cgroup, settings: &Settings) -> Result<()> {
    cgroup.create()?;
    let (uid, gid) = settings.root_ids();
    cgroup.delegate(uid, gid)?;
    // After the delegation, whose bounds a config may change.
    cgroup.apply(&settings.cgroup, settings.privileged())
}

/// The rootfs as a detached mount, with the ids of the child's user namespace.
fn root_tree(settings: &Settings, child: &Child) -> Result<OwnedFd> {
    let attributes = if settings.rootfs_read_only {
        libc::MOUNT_ATTR_RDONLY
    } else {
        0
    };
    // Devices are in /dev only, which is a file system of its own.
    let attributes = attributes | libc::MOUNT_ATTR_NODEV;
    if settings.rootfs_mapped {
        let path = format!("/proc/{}/ns/user", child.pid());
        let user = File::open(&path).tried(|| format!("open {path}"))?;
        return crate::sandbox::mapped_tree(&settings.rootfs, &user.into(), attributes);
    }
    let what = || format!("open the root file system {}", settings.rootfs.display());
    let tree = mount::open_tree(&settings.rootfs, true).tried(what)?;
    mount::set_attributes(tree.as_fd(), attributes, 0).tried(what)?;
    Ok(tree)
}

/// Mounts with the ids of the child's user namespace.
fn mapped(unmapped: Vec<init::Unmapped>, child: &Child) -> Result<Vec<OwnedFd>> {
    if unmapped.is_empty() {
        return Ok(Vec::new());
    }
    let path = format!("/proc/{}/ns/user", child.pid());
    let user = File::open(&path).tried(|| format!("open {path}"))?;
    unmapped
        .into_iter()
        .map(|mount| mount.map(user.as_fd()))
        .collect()
}

fn write_map(pid: i32, file: &str, map: &[IdMapping]) -> Result<()> {
    let text: String = map
        .iter()
        .map(|m| format!("{} {} {}\n", m.inside, m.host, m.count))
        .collect();
    let path = format!("/proc/{pid}/{file}");
    std::fs::write(&path, &text).tried(|| format!("write \"{}\" to {path}", text.trim()))
}
