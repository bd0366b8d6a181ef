//! The plan of a container's init: from `clone3` to its `execve`.
//!
//! Order matters. proc and sysfs are made while the host's are still visible (the kernel demands
//! it in a user namespace) but attached only after the old root is gone: from then on every path is
//! looked up in the guest's tree alone, so that its symbolic links lead nowhere else. Everything of
//! the host that is to be shown (device nodes, bind sources, the console) is opened by the monitor
//! beforehand as a detached mount.

mod devices;
mod entries;
mod execute;
mod masks;
pub(crate) mod namespaces;
mod sysctl;

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use libc::sock_filter;

pub(crate) use self::execute::Execution;
use self::namespaces::is_own;
use crate::cgroup::Entrance;
use crate::config::{Capabilities, HookKind, Namespace, ProcMount, Settings, SysMount};
use crate::error::{Result, Tried};
use crate::hooks::{self, Context, Output};
use crate::sandbox::c_string;
use crate::sandbox::in_root::{DEFAULT_PATH, program_of};
use crate::sys::plan::{FileSystem, Plan, Program, SLOTS, Source, Step};
use crate::sys::seccomp::{Filter, program};
pub(crate) use entries::Unmapped;

/// Where `wait for go` puts the rootfs; behind it come the mounts whose ids the monitor maps.
const ROOTFS: usize = 0;
const FIRST_MAPPED: usize = 1;
/// The host's root, for hooks that see it.
const HOST: usize = SLOTS - 5;
const PROC: usize = SLOTS - 4;
const SYS: usize = SLOTS - 3;
const SCRATCH: usize = SLOTS - 2;

/// reboot(2): in a pid namespace that is not its own a guest would restart the host.
const SYS_BOOT: u32 = 22;

/// What the monitor lends to a container.
pub(crate) struct Terminals<'a> {
    pub(crate) console: BorrowedFd<'a>,
    pub(crate) ttys: Vec<BorrowedFd<'a>>,
}

/// What an init is started with besides its settings.
pub(crate) struct Orders<'a> {
    pub(crate) terminals: Terminals<'a>,
    pub(crate) entrance: &'a Entrance,
    pub(crate) hooks: &'a Context,
    pub(crate) output: &'a Output,
    /// `lxc.seccomp.profile`, compiled.
    pub(crate) profile: Option<Vec<sock_filter>>,
    /// What runs in place of an init.
    pub(crate) execution: Option<&'a Execution>,
}

/// Where the rootfs is attached on its way to become the root: for hooks, where they look for it,
/// else anywhere (/tmp is on every host, and what it holds is not needed any more).
pub(crate) fn mount_point(settings: &Settings) -> PathBuf {
    let chosen = settings.rootfs_mount.clone();
    if sees_host(settings) {
        chosen.unwrap_or_else(|| PathBuf::from("/mnt"))
    } else {
        PathBuf::from("/tmp")
    }
}

/// Whether hooks run that see the assembled rootfs and the host's root.
fn sees_host(settings: &Settings) -> bool {
    let has = |kind| settings.hooks.of(kind).next().is_some();
    has(HookKind::Mount) || (has(HookKind::Autodev) && settings.autodev)
}

/// Whether init opens the rootfs itself, because a hook in its mount namespace may mount it.
pub(crate) fn opens_root(settings: &Settings) -> bool {
    settings.hooks.of(HookKind::PreMount).next().is_some() && !settings.rootfs_mapped
}

/// `MOUNT_ATTR_*` of the rootfs.
pub(crate) fn root_attributes(settings: &Settings) -> u64 {
    let mut attributes = settings.rootfs_attributes;
    if settings.rootfs_read_only {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    // Devices are in /dev only, which is a file system of its own; unless the config says that the
    // rootfs has them, where the devices cgroup guards them.
    if settings.autodev || !settings.privileged() {
        attributes |= libc::MOUNT_ATTR_NODEV;
    }
    attributes
}

/// Writes the plan. The first descriptor sent with the go byte is the rootfs; behind it come these
/// mounts, shown with the container's ids, which only then exist.
pub(crate) fn plan(
    name: &str,
    settings: &Settings,
    orders: &Orders<'_>,
) -> Result<(Plan, Vec<Unmapped>)> {
    let mut plan = Plan::new().tried(|| "open pipes".to_owned())?;
    orders.entrance.add_steps(&mut plan)?;
    plan.step("wait for the monitor", Step::WaitForGo);
    plan.step("make all mounts private", Step::PrivateMounts);
    plan.step(
        "become root of the user namespace",
        Step::SetIds {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
        },
    );
    plan.step("bind its life to the monitor's", Step::DieWithParent);
    plan.step("leave the host's keys behind", Step::NewSessionKeyring);
    plan.step("start a session", Step::Setsid);
    add_namespaces(&mut plan, name, settings)?;
    if settings.sys.is_some() {
        plan.step("mount sysfs", Step::NewFileSystem(sysfs(), SYS));
    }
    add_hooks(&mut plan, settings, orders, HookKind::PreMount, None)?;
    add_root(&mut plan, settings)?;
    plan.step("set the umask", Step::Umask(0o022));

    if let Some(kind) = settings.proc {
        add_proc(&mut plan, kind)?;
    }
    if let Some(kind) = settings.sys {
        add_sys(&mut plan, kind)?;
    }
    devices::add(&mut plan, settings, &orders.terminals)?;
    let unmapped = entries::add(&mut plan, settings)?;
    if sees_host(settings) {
        add_hooks(&mut plan, settings, orders, HookKind::Mount, Some(HOST))?;
        if settings.autodev {
            add_hooks(&mut plan, settings, orders, HookKind::Autodev, Some(HOST))?;
        }
        let at = c_string(mount_point(settings).as_os_str().as_bytes())?;
        plan.step("return to the host's root", Step::ReturnToRoot(HOST));
        plan.step("change the root", Step::PivotRoot(at));
    }
    if settings.hooks.of(HookKind::StartHost).next().is_some() {
        plan.step("wait for the hooks of the host", Step::Pause);
    }
    add_execution(&mut plan, settings, orders)?;
    Ok((plan, unmapped))
}

/// From its namespaces on: what is in each of them.
fn add_namespaces(plan: &mut Plan, name: &str, settings: &Settings) -> Result<()> {
    if is_own(settings, Namespace::Cgroup) {
        // Only now: together with clone3 its root would be the monitor's cgroup.
        plan.step(
            "unshare the cgroup namespace",
            Step::Unshare(libc::CLONE_NEWCGROUP),
        );
    }
    if is_own(settings, Namespace::Uts) {
        let host_name = settings.host_name.as_deref().unwrap_or(name);
        plan.step(
            format!("set the host name to {host_name}"),
            Step::SetHostname(c_string(host_name)?),
        );
    }
    if is_own(settings, Namespace::Network) {
        plan.step("bring up the loopback interface", Step::LoopbackUp);
    }
    if settings.proc.is_some() || !settings.sysctls.is_empty() {
        plan.step(
            "mount proc",
            Step::NewFileSystem(crate::sandbox::proc_file_system(), PROC),
        );
    }
    // Before parts of it become read-only.
    for (name, value) in &settings.sysctls {
        plan.step(
            format!("set lxc.sysctl.{name} = {value}"),
            Step::WriteAt(
                Source::Slot(PROC),
                c_string(sysctl::file(settings, name)?)?,
                value.clone().into_bytes(),
            ),
        );
    }
    Ok(())
}

/// The rootfs as `/`; with hooks that see the host's root too, for now only by chroot.
fn add_root(plan: &mut Plan, settings: &Settings) -> Result<()> {
    if opens_root(settings) {
        let what = format!("open the root file system {}", settings.rootfs.display());
        plan.step(
            what,
            Step::CloneTree {
                path: c_string(settings.rootfs.as_os_str().as_bytes())?,
                recursive: true,
                slot: ROOTFS,
            },
        );
        plan.step(
            "set the flags of the root file system",
            Step::SlotAttributes {
                slot: ROOTFS,
                set: root_attributes(settings),
                clear: 0,
            },
        );
    }
    let mount_point = mount_point(settings);
    let at = c_string(mount_point.as_os_str().as_bytes())?;
    plan.step(
        format!("attach the root file system at {}", mount_point.display()),
        Step::Attach(Source::Slot(ROOTFS), at.clone()),
    );
    if sees_host(settings) {
        plan.step("keep the host's root", Step::KeepRoot(HOST));
        plan.step("enter the root file system", Step::Chroot(at));
        plan.step("enter its root directory", Step::Chdir(c"/".to_owned()));
    } else {
        plan.step("change the root", Step::PivotRoot(at));
    }
    Ok(())
}

fn add_hooks(
    plan: &mut Plan,
    settings: &Settings,
    orders: &Orders<'_>,
    kind: HookKind,
    root: Option<usize>,
) -> Result<()> {
    for hook in settings.hooks.of(kind) {
        let output = plan.keep(orders.output.write_end());
        let output = output.tried(|| "copy a descriptor".to_owned())?;
        plan.step(
            hooks::sentence(hook),
            Step::Run(Program {
                exec: orders.hooks.program(hook, &[])?,
                output,
                root,
                limit: hooks::TIME_LIMIT.as_millis() as libc::c_int,
            }),
        );
    }
    Ok(())
}

/// The end of the plan: privileges, and the program.
fn add_execution(plan: &mut Plan, settings: &Settings, orders: &Orders<'_>) -> Result<()> {
    if settings.console.none {
        plan.step(
            "open /dev/null",
            Step::StandardStreams(c"/dev/null".to_owned()),
        );
    } else {
        let console = plan.keep_borrowed(orders.terminals.console);
        let console = console.tried(|| "copy a descriptor".to_owned())?;
        for stream in 0..=2 {
            plan.step("pass the console", Step::Dup2(console, stream));
        }
        // By the guest's own name for it, where its device rules allow to open it.
        plan.optional(vec![(
            "open /dev/console".to_owned(),
            Step::StandardStreams(c"/dev/console".to_owned()),
        )]);
    }
    let mut dropped = dropped(settings)?;
    if !is_own(settings, Namespace::Pid) && !dropped.contains(&SYS_BOOT) {
        dropped.push(SYS_BOOT);
    }
    add_privileges(plan, &dropped);
    if settings.no_new_privileges {
        plan.step("forbid new privileges", Step::NoNewPrivileges);
    }
    // Before the guest's first program, and before a profile that may not know this call.
    plan.step("close descriptors", Step::CloseOnExecFrom(3));
    add_filters(plan, orders.profile.clone());
    add_hooks(plan, settings, orders, HookKind::Start, None)?;
    if let Some(execution) = orders.execution {
        return execute::add(plan, settings, execution);
    }
    let directory = settings.init_directory.as_deref().unwrap_or(Path::new("/"));
    plan.step(
        format!("change to the directory {}", directory.display()),
        Step::Chdir(c_string(directory.as_os_str().as_bytes())?),
    );
    let (uid, gid) = (settings.init_uid, settings.init_gid);
    if (uid, gid) != (0, 0) || !settings.init_groups.is_empty() {
        plan.step(
            format!("become user {uid} and group {gid} (lxc.init.uid, lxc.init.gid)"),
            Step::SetIds {
                uid,
                gid,
                groups: settings.init_groups.clone(),
            },
        );
        plan.step("bind its life to the monitor's again", Step::DieWithParent);
    }
    let argv: Vec<OsString> = settings.init.iter().map(OsString::from).collect();
    plan.step(
        format!("execute {} in the container", settings.init.join(" ")),
        Step::Exec(program_of(&argv, &environment(settings))?),
    );
    Ok(())
}

/// The filter that every guest has, and the one of its config on top: of two answers the kernel
/// takes the stricter one, so that no profile opens what is always refused.
pub(crate) fn add_filters(plan: &mut Plan, profile: Option<Vec<sock_filter>>) {
    plan.step(
        "refuse system calls",
        Step::Seccomp(program(Filter::Container)),
    );
    if let Some(profile) = profile {
        plan.step(
            "refuse the system calls of lxc.seccomp.profile",
            Step::Seccomp(profile),
        );
    }
}

/// Gives up capabilities: at the `execve` that ends the plan, root keeps what the bounding set has.
pub(crate) fn add_privileges(plan: &mut Plan, dropped: &[u32]) {
    for number in dropped {
        plan.step(
            format!("drop the capability {number}"),
            Step::DropBoundingCapability(libc::c_ulong::from(*number)),
        );
    }
    plan.step("clear inheritable capabilities", Step::ClearInheritable);
}

/// The last capability that the kernel knows.
pub(crate) fn last_capability() -> Result<u32> {
    let file = "/proc/sys/kernel/cap_last_cap";
    let text = std::fs::read_to_string(file).tried(|| format!("read {file}"))?;
    // A kernel that writes something else there has at least these.
    Ok(text.trim().parse().unwrap_or(40))
}

/// Kernel messages are nobody's business inside, whatever a config keeps: with the host's root
/// inside, this capability reads them.
const SYSLOG: u32 = 34;

fn dropped(settings: &Settings) -> Result<Vec<u32>> {
    let last = last_capability()?;
    let mut dropped: Vec<u32> = match &settings.capabilities {
        // One the kernel does not know is not there to be had.
        Capabilities::Drop(numbers) => numbers.iter().copied().filter(|n| *n <= last).collect(),
        Capabilities::Keep(numbers) => (0..=last).filter(|n| !numbers.contains(n)).collect(),
    };
    if settings.privileged() && !dropped.contains(&SYSLOG) {
        dropped.push(SYSLOG);
    }
    Ok(dropped)
}

fn environment(settings: &Settings) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), DEFAULT_PATH.into()),
        ("TERM".into(), "linux".into()),
        // How a guest knows what it runs in: systemd's CONTAINER_INTERFACE.
        ("container".into(), "lxc".into()),
    ];
    for (key, value) in &settings.environment {
        variables.retain(|(known, _)| known.to_str() != Some(key));
        variables.push((key.into(), value.into()));
    }
    variables
}

fn sysfs() -> FileSystem {
    FileSystem {
        kind: c"sysfs".to_owned(),
        options: Vec::new(),
        attributes: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC,
    }
}

/// LXC's `proc:mixed`, and masks over files that tell about the host or act on it.
fn add_proc(plan: &mut Plan, kind: ProcMount) -> Result<()> {
    mkdir(plan, Path::new("/proc"), false)?;
    plan.step(
        "attach proc at /proc",
        Step::Attach(Source::Slot(PROC), c"/proc".to_owned()),
    );
    masks::mask_proc(plan)?;
    if kind == ProcMount::Mixed {
        let net = SCRATCH + 1;
        plan.step("clone /proc/sys/net", clone("/proc/sys/net", net)?);
        read_only(plan, "/proc/sys")?;
        plan.step(
            "attach /proc/sys/net",
            Step::Attach(Source::Slot(net), c"/proc/sys/net".to_owned()),
        );
        masks::read_only_proc(plan)?;
    }
    Ok(())
}

fn add_sys(plan: &mut Plan, kind: SysMount) -> Result<()> {
    mkdir(plan, Path::new("/sys"), false)?;
    plan.step(
        "attach sysfs at /sys",
        Step::Attach(Source::Slot(SYS), c"/sys".to_owned()),
    );
    masks::mask_sys(plan)?;
    if kind == SysMount::ReadWrite {
        return Ok(());
    }
    let net = "/sys/devices/virtual/net";
    if kind == SysMount::Mixed {
        plan.step(format!("clone {net}"), clone(net, SCRATCH)?);
    }
    plan.step(
        "make /sys read-only",
        Step::PathAttributes {
            path: c"/sys".to_owned(),
            set: libc::MOUNT_ATTR_RDONLY,
            clear: 0,
            recursive: false,
        },
    );
    if kind == SysMount::Mixed {
        plan.step(
            format!("attach {net}"),
            Step::Attach(Source::Slot(SCRATCH), c_string(net)?),
        );
    }
    Ok(())
}

fn clone(path: &str, slot: usize) -> Result<Step> {
    Ok(Step::CloneTree {
        path: c_string(path)?,
        recursive: false,
        slot,
    })
}

/// Binds a path over itself, read-only.
fn read_only(plan: &mut Plan, path: &str) -> Result<()> {
    plan.step(format!("clone {path}"), clone(path, SCRATCH)?);
    plan.step(
        format!("make {path} read-only"),
        Step::SlotAttributes {
            slot: SCRATCH,
            set: libc::MOUNT_ATTR_RDONLY,
            clear: 0,
        },
    );
    plan.step(
        format!("attach {path}"),
        Step::Attach(Source::Slot(SCRATCH), c_string(path)?),
    );
    Ok(())
}

/// Steps that make a directory of the guest and, if `deep`, those above it.
fn mkdir_steps(path: &Path, deep: bool) -> Result<Vec<(String, Step)>> {
    let mut steps = Vec::new();
    let mut parent = Path::new("/").to_path_buf();
    for part in path.components() {
        if let Component::Normal(name) = part {
            let whole = parent.join(name);
            if deep || whole == path {
                steps.push((
                    format!("make the directory {}", whole.display()),
                    Step::Mkdir(
                        c_string(parent.as_os_str().as_bytes())?,
                        c_string(name.as_bytes())?,
                        0o755,
                    ),
                ));
            }
            parent = whole;
        }
    }
    Ok(steps)
}

fn mkdir(plan: &mut Plan, path: &Path, deep: bool) -> Result<()> {
    for (what, step) in mkdir_steps(path, deep)? {
        plan.step(what, step);
    }
    Ok(())
}
