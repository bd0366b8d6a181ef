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

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

pub(crate) use self::execute::Execution;
use crate::config::{Capabilities, ProcMount, Settings, SysMount};
use crate::error::{Result, Tried};
use crate::sandbox::c_string;
use crate::sandbox::in_root::{DEFAULT_PATH, program_of};
use crate::sys::mount;
use crate::sys::plan::{FileSystem, Plan, SLOTS, Source, Step};
use crate::sys::seccomp::{Filter, program};
pub(crate) use entries::Unmapped;

/// Where `wait for go` puts the rootfs; behind it come the mounts whose ids the monitor maps.
const ROOTFS: usize = 0;
const FIRST_MAPPED: usize = 1;
const PROC: usize = SLOTS - 4;
const SYS: usize = SLOTS - 3;
const SCRATCH: usize = SLOTS - 2;

/// What the monitor lends to a container.
pub(crate) struct Terminals<'a> {
    pub(crate) console: BorrowedFd<'a>,
    pub(crate) ttys: Vec<BorrowedFd<'a>>,
}

/// The namespaces of a container's init.
pub(crate) fn namespaces(settings: &Settings) -> libc::c_int {
    let user = if settings.privileged() {
        0
    } else {
        libc::CLONE_NEWUSER
    };
    user | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWNET
}

/// Writes the plan. The first descriptor sent with the go byte is the rootfs; behind it come these
/// mounts, shown with the container's ids, which only then exist.
pub(crate) fn plan(
    name: &str,
    settings: &Settings,
    terminals: &Terminals<'_>,
    execution: Option<&Execution>,
) -> Result<(Plan, Vec<Unmapped>)> {
    let mut plan = Plan::new().tried(|| "open pipes".to_owned())?;
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
    plan.step("start a session", Step::Setsid);
    // Only now: together with clone3 its root would be the monitor's cgroup.
    plan.step(
        "unshare the cgroup namespace",
        Step::Unshare(libc::CLONE_NEWCGROUP),
    );
    let host_name = settings.host_name.as_deref().unwrap_or(name);
    plan.step(
        format!("set the host name to {host_name}"),
        Step::SetHostname(c_string(host_name)?),
    );
    plan.step("bring up the loopback interface", Step::LoopbackUp);
    if settings.proc.is_some() {
        plan.step(
            "mount proc",
            Step::NewFileSystem(crate::sandbox::proc_file_system(), PROC),
        );
    }
    if settings.sys.is_some() {
        plan.step("mount sysfs", Step::NewFileSystem(sysfs(), SYS));
    }
    // /tmp is on every host; what it holds is not needed any more.
    plan.step(
        "attach the root file system",
        Step::Attach(Source::Slot(ROOTFS), c"/tmp".to_owned()),
    );
    plan.step("change the root", Step::PivotRoot(c"/tmp".to_owned()));
    plan.step("set the umask", Step::Umask(0o022));

    if let Some(kind) = settings.proc {
        add_proc(&mut plan, kind)?;
    }
    if let Some(kind) = settings.sys {
        add_sys(&mut plan, kind)?;
    }
    devices::add(&mut plan, settings, terminals)?;
    let unmapped = entries::add(&mut plan, settings)?;

    plan.step(
        "open /dev/console",
        Step::StandardStreams(c"/dev/console".to_owned()),
    );
    add_privileges(&mut plan, &dropped(&settings.capabilities)?);
    if settings.no_new_privileges {
        plan.step("forbid new privileges", Step::NoNewPrivileges);
    }
    plan.step(
        "refuse system calls",
        Step::Seccomp(program(Filter::Container)),
    );
    if let Some(execution) = execution {
        execute::add(&mut plan, settings, execution)?;
        return Ok((plan, unmapped));
    }
    plan.step("close descriptors", Step::CloseOnExecFrom(3));
    let directory = settings.init_directory.as_deref().unwrap_or(Path::new("/"));
    plan.step(
        format!("change to the directory {}", directory.display()),
        Step::Chdir(c_string(directory.as_os_str().as_bytes())?),
    );
    let argv: Vec<OsString> = settings.init.iter().map(OsString::from).collect();
    plan.step(
        format!("execute {} in the container", settings.init.join(" ")),
        Step::Exec(program_of(&argv, &environment(settings))?),
    );
    Ok((plan, unmapped))
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

fn dropped(capabilities: &Capabilities) -> Result<Vec<u32>> {
    let last = last_capability()?;
    Ok(match capabilities {
        // One the kernel does not know is not there to be had.
        Capabilities::Drop(numbers) => numbers.iter().copied().filter(|n| *n <= last).collect(),
        Capabilities::Keep(numbers) => (0..=last).filter(|n| !numbers.contains(n)).collect(),
    })
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
    for file in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/kmsg",
    ] {
        let null = mount::open_tree(Path::new("/dev/null"), false)
            .tried(|| "open /dev/null".to_owned())?;
        let fd = plan.keep(&null).tried(|| "copy a descriptor".to_owned())?;
        // Not every kernel has all of them.
        plan.optional(vec![(
            format!("mask {file}"),
            Step::Attach(Source::Fd(fd), c_string(file)?),
        )]);
    }
    if kind == ProcMount::Mixed {
        let net = SCRATCH + 1;
        plan.step("clone /proc/sys/net", clone("/proc/sys/net", net)?);
        read_only(plan, "/proc/sys")?;
        plan.step(
            "attach /proc/sys/net",
            Step::Attach(Source::Slot(net), c"/proc/sys/net".to_owned()),
        );
        // Absent in kernels without magic SysRq.
        let file = "/proc/sysrq-trigger";
        plan.optional(vec![
            (format!("clone {file}"), clone(file, SCRATCH)?),
            (
                format!("make {file} read-only"),
                Step::SlotAttributes {
                    slot: SCRATCH,
                    set: libc::MOUNT_ATTR_RDONLY,
                    clear: 0,
                },
            ),
            (
                format!("attach {file}"),
                Step::Attach(Source::Slot(SCRATCH), c_string(file)?),
            ),
        ]);
    }
    Ok(())
}

fn add_sys(plan: &mut Plan, kind: SysMount) -> Result<()> {
    mkdir(plan, Path::new("/sys"), false)?;
    plan.step(
        "attach sysfs at /sys",
        Step::Attach(Source::Slot(SYS), c"/sys".to_owned()),
    );
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
