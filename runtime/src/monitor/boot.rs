//! The monitor's part of a start: everything around the clone of the container's init.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};

use super::hooking::{self, Watch};
use super::scripts;
use super::terminal::Terminal;
use crate::cgroup::Cgroup;
use crate::config::{CgroupSetting, HookKind, IdMapping, Namespace, Network, Settings};
use crate::container::Container;
use crate::error::{Error, Reason, Result, Tried};
use crate::hooks::Output;
use crate::init::{self, Execution, Orders, Terminals, namespaces};
use crate::network::{self, Connected, managed};
use crate::seccomp;
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
    (cgroup, limits): (&Cgroup, &[CgroupSetting]),
    console: &Terminal,
    ttys: &[Terminal],
    execution: Option<&Execution>,
) -> Result<Booted> {
    namespaces::check(settings)?;
    let profile = profile(settings)?;
    seccomp::keep(&container.run_directory().filter(), profile.as_deref())?;
    let mut output = Output::new(&crate::hooks::log_file(container, settings))?;
    let mut context = hooking::context(container, settings, console);
    let hooks = (&mut output, &mut context);
    hooking::run(settings, HookKind::PreStart, &[], hooks.1, hooks.0)?;
    // Outlive a start that fails: the last scripts find what the first ones found.
    let (mut network, mut networked) = (Connected::default(), false);
    let started = (|| -> Result<Running> {
        // Only now: a hook may have mounted it.
        settings.root.backend().check()?;
        confine(cgroup, limits, settings)?;
        let entrance = cgroup.entrance()?;
        let orders = Orders {
            entrance: &entrance,
            terminals: Terminals {
                console: console.slave(),
                ttys: ttys.iter().map(Terminal::slave).collect(),
            },
            hooks: &context,
            output: &output,
            profile,
            execution,
        };
        let (plan, unmapped) = init::plan(container.name().as_str(), settings, &orders)?;
        let child = hooking::in_shared_namespaces(container, settings, || {
            spawn(plan, namespaces::flags(settings), entrance.unified())
        })?;
        prepare(&child, settings)?;
        context.tell("LXC_PID", child.pid().to_string());
        networked = true;
        scripts::up_before(container.owner(), settings, &context, &mut output)?;
        network = connect(container, settings, child.pid())?;
        scripts::up_after(container.owner(), settings, &context, &mut output)?;
        let rootfs = root_tree(settings, &child)?;
        let mounts = mapped(unmapped, &child)?;
        let trees: Vec<_> = std::iter::once(&rootfs).chain(&mounts).collect();
        child.go(&trees.iter().map(|tree| tree.as_fd()).collect::<Vec<_>>())?;
        let pid = child.pid();
        let mut watch = Watch {
            settings,
            context: &mut context,
            output: &mut output,
            pid,
        };
        let started = child.wait_for_exec_watched(&mut watch);
        let mut running = started.map_err(|failure| match failure {
            StartFailure::Exec(errno, error) if execution.is_some() => {
                error.with_reason(match errno {
                    libc::ENOENT => Reason::CommandNotFound,
                    _ => Reason::CommandNotExecutable,
                })
            }
            other => Error::from(other),
        })?;
        running.namespaces = hooking::namespaces_for_hooks(settings, running.pid)?;
        Ok(running)
    })();
    output.take();
    let started = started.inspect_err(|_| {
        if networked {
            hooking::networks_down(container, (settings, &settings.networks), "stop", None);
        }
        drop(std::mem::take(&mut network));
        // What the first hooks did is for the last ones to undo.
        hooking::after(container, settings, HookKind::PostStop, "stop", None);
    });
    Ok(Booted {
        running: started?,
        network,
    })
}

/// Makes its networks, in a network namespace of its own.
fn connect(container: &Container, settings: &Settings, pid: i32) -> Result<Connected> {
    if namespaces::is_own(settings, Namespace::Network) {
        let forwards = managed::forwards_of(&container.config()?)?;
        return network::connect(container.owner(), &settings.networks, &forwards, pid);
    }
    let made = |network: &&Network| network.kind.is_interface();
    match settings.networks.iter().find(made) {
        None => Ok(Connected::default()),
        Some(network) => Err(Error::user(format!(
            "lxc.net.{} cannot be made: its network namespace is not its own (lxc.namespace.*)",
            network.number
        ))),
    }
}

/// The filter of `lxc.seccomp.profile`.
fn profile(settings: &Settings) -> Result<Option<Vec<libc::sock_filter>>> {
    let Some(path) = &settings.seccomp.profile else {
        return Ok(None);
    };
    let profile = seccomp::load(path)?;
    for warning in &profile.warnings {
        eprintln!("{warning}");
    }
    Ok(Some(profile.filter))
}

/// What is done to a child from outside.
fn prepare(child: &Child, settings: &Settings) -> Result<()> {
    let pid = child.pid();
    for limit in &settings.limits {
        set_limit(pid, limit.resource, limit.soft, limit.hard)
            .tried(|| format!("set the limit {}", limit.name))?;
    }
    for (name, value) in &settings.proc_files {
        let path = format!("/proc/{pid}/{}", name.replace('.', "/"));
        fs::write(&path, value)
            .tried(|| format!("set lxc.proc.{name}: write \"{value}\" to {path}"))?;
    }
    if !settings.privileged() {
        write_map(pid, "uid_map", &settings.user_map)?;
        write_map(pid, "gid_map", &settings.group_map)?;
    }
    Ok(())
}

/// Makes the cgroup, with its limits, and gives its inside to the guest.
fn confine(cgroup: &Cgroup, limits: &[CgroupSetting], settings: &Settings) -> Result<()> {
    cgroup.create()?;
    let (uid, gid) = settings.root_ids();
    cgroup.delegate(uid, gid)?;
    // After the delegation, whose bounds a config may change.
    cgroup.apply(limits, settings.privileged())
}

/// The rootfs as a detached mount, with the ids of the child's user namespace.
fn root_tree(settings: &Settings, child: &Child) -> Result<OwnedFd> {
    let attributes = init::root_attributes(settings);
    if settings.rootfs_mapped {
        let path = format!("/proc/{}/ns/user", child.pid());
        let user = File::open(&path).tried(|| format!("open {path}"))?;
        return settings.root.mount(Some(user.as_fd()), attributes);
    }
    settings.root.mount(None, attributes)
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
