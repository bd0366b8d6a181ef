//! The file system that a sandboxed program sees.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use super::{Sandbox, c_string};
use crate::error::{Error, Result, Tried};
use crate::sys::mount;
use crate::sys::plan::{FileSystem, Plan, Source, Step};

/// Where `wait for go` puts the rootfs.
const ROOTFS_SLOT: usize = 0;
const PROC_SLOT: usize = 1;

/// The devices that every program may expect (devices.txt of the kernel).
pub(crate) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links that udev makes on a host.
pub(crate) const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Where shared libraries may be; each a directory or, on merged-usr hosts, a link into /usr.
const LIBRARIES: [&str; 8] = [
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
];

pub(super) fn add_steps(sandbox: &Sandbox, plan: &mut Plan) -> Result<()> {
    plan.step("wait for the parent", Step::WaitForGo);
    plan.step("make all mounts private", Step::PrivateMounts);
    plan.step(
        "become root of the user namespace",
        Step::SetIds {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
        },
    );
    plan.step("bind its life to its parent's", Step::DieWithParent);
    plan.step(
        "mount proc",
        Step::NewFileSystem(proc_file_system(), PROC_SLOT),
    );
    plan.step(
        "mount a tmpfs as root",
        Step::Mount(
            tmpfs("8m", "0755", libc::MOUNT_ATTR_NODEV),
            c"/tmp".to_owned(),
        ),
    );
    plan.step("change the root", Step::PivotRoot(c"/tmp".to_owned()));
    plan.step("set the umask", Step::Umask(0o022));

    for path in LIBRARIES.map(Path::new) {
        let Ok(kind) = fs::symlink_metadata(path) else {
            continue;
        };
        if kind.is_symlink() {
            let target =
                fs::read_link(path).tried(|| format!("read the link {}", path.display()))?;
            plan.step(
                format!("make the link {}", path.display()),
                Step::Symlink {
                    target: c_string(target.as_os_str().as_bytes())?,
                    path: c_string(path.as_os_str().as_bytes())?,
                },
            );
        } else if kind.is_dir() {
            bind(plan, path, path)?;
        }
    }
    bind(plan, &sandbox.program, Path::new("/sampan"))?;
    for (host, inside) in &sandbox.read_only {
        bind(plan, host, inside)?;
    }

    mkdir(plan, Path::new("/proc"))?;
    plan.step(
        "attach proc",
        Step::Attach(Source::Slot(PROC_SLOT), c"/proc".to_owned()),
    );
    mkdir(plan, Path::new("/dev"))?;
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        let tree = mount::open_tree(&path, false).tried(|| format!("open {}", path.display()))?;
        let fd = plan.keep(&tree).tried(|| "copy a descriptor".to_owned())?;
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
    for (path, target) in DEVICE_LINKS {
        plan.step(
            format!("make the link {path}"),
            Step::Symlink {
                target: c_string(target)?,
                path: c_string(path)?,
            },
        );
    }
    mkdir(plan, Path::new("/tmp"))?;
    plan.step(
        "mount /tmp",
        Step::Mount(
            tmpfs(
                "256m",
                "1777",
                libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID,
            ),
            c"/tmp".to_owned(),
        ),
    );
    if sandbox.rootfs.is_some() {
        mkdir(plan, Path::new("/rootfs"))?;
        plan.step(
            "attach the rootfs",
            Step::Attach(Source::Slot(ROOTFS_SLOT), c"/rootfs".to_owned()),
        );
    }
    plan.step(
        "make the root read-only",
        Step::PathAttributes {
            path: c"/".to_owned(),
            set: libc::MOUNT_ATTR_RDONLY,
            clear: 0,
            recursive: false,
        },
    );
    Ok(())
}

/// Shows a file or directory of the host read-only.
fn bind(plan: &mut Plan, host: &Path, inside: &Path) -> Result<()> {
    let metadata = fs::metadata(host).tried(|| format!("open {}", host.display()))?;
    // A program that was replaced while it ran has no other path any more.
    let host = match host.starts_with("/proc/self") {
        true => host.to_owned(),
        false => fs::canonicalize(host).tried(|| format!("open {}", host.display()))?,
    };
    let tree = mount::open_tree(&host, false).tried(|| format!("open {}", host.display()))?;
    mount::set_attributes(
        tree.as_fd(),
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        0,
    )
    .tried(|| format!("make {} read-only", host.display()))?;
    let fd = plan.keep(&tree).tried(|| "copy a descriptor".to_owned())?;
    let target = c_string(inside.as_os_str().as_bytes())?;
    if metadata.is_dir() {
        mkdir(plan, inside)?;
    } else {
        if let Some(parent) = inside.parent() {
            mkdir(plan, parent)?;
        }
        plan.step(
            format!("create {}", inside.display()),
            Step::CreateFile(target.clone()),
        );
    }
    plan.step(
        format!("attach {} at {}", host.display(), inside.display()),
        Step::Attach(Source::Fd(fd), target),
    );
    Ok(())
}

/// Makes a directory of the new root, and those above it.
fn mkdir(plan: &mut Plan, path: &Path) -> Result<()> {
    let mut parent = Path::new("/").to_path_buf();
    for part in path.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => {
                plan.step(
                    format!("make the directory {}", parent.join(name).display()),
                    Step::Mkdir(
                        c_string(parent.as_os_str().as_bytes())?,
                        c_string(name.as_bytes())?,
                        0o755,
                    ),
                );
                parent.push(name);
            }
            _ => {
                return Err(Error::internal(format!(
                    "{} is not an absolute path without dots",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

pub(crate) fn proc_file_system() -> FileSystem {
    FileSystem {
        kind: c"proc".to_owned(),
        options: Vec::new(),
        attributes: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC,
    }
}

/// A tmpfs of the size and mode of its root.
pub(crate) fn tmpfs(size: &str, mode: &str, attributes: u64) -> FileSystem {
    // Callers pass literals without zero bytes; an empty value would only mean the default.
    let value = |text: &str| Some(CString::new(text).unwrap_or_default());
    FileSystem {
        kind: c"tmpfs".to_owned(),
        options: vec![
            (c"size".to_owned(), value(size)),
            (c"mode".to_owned(), value(mode)),
        ],
        attributes,
    }
}
