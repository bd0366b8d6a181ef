//! `/dev` of a container.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Terminals, mkdir};
use crate::config::Settings;
use crate::error::{Result, Tried};
use crate::sandbox::{DEVICE_LINKS, DEVICES, c_string, tmpfs};
use crate::sys::mount;
use crate::sys::plan::{FileSystem, Plan, Source, Step};

/// The group `tty` in Debian and most others; terminals belong to it (devpts(5)).
const TTY_GROUP: u32 = 5;

pub(super) fn add(plan: &mut Plan, settings: &Settings, terminals: &Terminals<'_>) -> Result<()> {
    if settings.autodev {
        add_fresh(plan, settings)?;
    } else {
        add_pseudo_terminals(plan, settings)?;
    }
    let directory = settings.console.directory.as_deref();
    if let Some(directory) = directory {
        mkdir(plan, &Path::new("/dev").join(directory), true)?;
        if !settings.console.none {
            let path = format!("/dev/{}/console", directory.display());
            terminal(plan, &path, terminals.console)?;
        }
    }
    if !settings.console.none {
        terminal(plan, "/dev/console", terminals.console)?;
    }
    for (index, tty) in terminals.ttys.iter().enumerate() {
        let path = format!("/dev/tty{}", index + 1);
        let Some(directory) = directory else {
            terminal(plan, &path, *tty)?;
            continue;
        };
        // `lxc.tty.dir`: the device there, and a link to it.
        let target = format!("{}/tty{}", directory.display(), index + 1);
        terminal(plan, &format!("/dev/{target}"), *tty)?;
        plan.step(
            format!("make the link {path}"),
            Step::Symlink {
                target: c_string(target)?,
                path: c_string(path)?,
            },
        );
    }
    Ok(())
}

/// In a /dev of the rootfs's own. What is missing there is made, as LXC does.
fn add_pseudo_terminals(plan: &mut Plan, settings: &Settings) -> Result<()> {
    mkdir(plan, Path::new("/dev/pts"), true)?;
    plan.step(
        "mount devpts at /dev/pts",
        Step::Mount(devpts(settings)?, c"/dev/pts".to_owned()),
    );
    plan.step(
        "make the link /dev/ptmx",
        Step::Symlink {
            target: c"pts/ptmx".to_owned(),
            path: c"/dev/ptmx".to_owned(),
        },
    );
    Ok(())
}

fn add_fresh(plan: &mut Plan, settings: &Settings) -> Result<()> {
    let no_programs = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    mkdir(plan, Path::new("/dev"), false)?;
    plan.step(
        "mount a tmpfs at /dev",
        Step::Mount(
            tmpfs(&settings.autodev_bytes.to_string(), "0755", no_programs),
            c"/dev".to_owned(),
        ),
    );
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        let what = || format!("open {}", path.display());
        // The nodes themselves cannot be made in a user namespace.
        let tree = mount::open_tree(&path, false).tried(what)?;
        let fd = plan.keep(&tree).tried(what)?;
        let target = c_string(path.as_os_str().as_bytes())?;
        plan.step(
            format!("create {}", path.display()),
            Step::CreateFile(target.clone()),
        );
        plan.step(
            format!("attach {}", path.display()),
            Step::Attach(Source::Fd(fd), target),
        );
    }
    for (path, target) in DEVICE_LINKS.into_iter().chain([("/dev/ptmx", "pts/ptmx")]) {
        plan.step(
            format!("make the link {path}"),
            Step::Symlink {
                target: c_string(target)?,
                path: c_string(path)?,
            },
        );
    }
    mkdir(plan, Path::new("/dev/pts"), false)?;
    plan.step(
        "mount devpts at /dev/pts",
        Step::Mount(devpts(settings)?, c"/dev/pts".to_owned()),
    );
    mkdir(plan, Path::new("/dev/shm"), false)?;
    plan.step(
        "mount a tmpfs at /dev/shm",
        Step::Mount(
            FileSystem {
                kind: c"tmpfs".to_owned(),
                options: vec![(c"mode".to_owned(), Some(c"1777".to_owned()))],
                attributes: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            },
            c"/dev/shm".to_owned(),
        ),
    );
    Ok(())
}

fn devpts(settings: &Settings) -> Result<FileSystem> {
    let mut options = vec![
        (c"newinstance".to_owned(), None),
        (c"ptmxmode".to_owned(), Some(c"0666".to_owned())),
        (c"mode".to_owned(), Some(c"0620".to_owned())),
    ];
    let mapped = settings.privileged()
        || settings
            .group_map
            .iter()
            .any(|m| (m.inside..m.inside.saturating_add(m.count)).contains(&TTY_GROUP));
    if mapped {
        options.push((c"gid".to_owned(), Some(c_string(TTY_GROUP.to_string())?)));
    }
    if settings.ptys > 0 {
        options.push((
            c"max".to_owned(),
            Some(c_string(settings.ptys.to_string())?),
        ));
    }
    Ok(FileSystem {
        kind: c"devpts".to_owned(),
        options,
        attributes: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
    })
}

/// Shows a terminal of the monitor under a name of the guest.
fn terminal(plan: &mut Plan, path: &str, slave: std::os::fd::BorrowedFd<'_>) -> Result<()> {
    let what = || format!("bind a terminal for {path}");
    let tree = mount::open_tree_fd(slave, false).tried(what)?;
    let fd = plan.keep(&tree).tried(what)?;
    plan.step(format!("create {path}"), Step::CreateFile(c_string(path)?));
    plan.step(
        format!("attach {path}"),
        Step::Attach(Source::Fd(fd), c_string(path)?),
    );
    Ok(())
}
