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
    }
    terminal(plan, "/dev/console", terminals.console)?;
    for (index, tty) in terminals.ttys.iter().enumerate() {
        terminal(plan, &format!("/dev/tty{}", index + 1), *tty)?;
    }
    Ok(())
}

fn add_fresh(plan: &mut Plan, settings: &Settings) -> Result<()> {
    let no_programs = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    mkdir(plan, Path::new("/dev"), false)?;
    plan.step(
        "mount a tmpfs at /dev",
        Step::Mount(tmpfs("500000", "0755", no_programs), c"/dev".to_owned()),
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
