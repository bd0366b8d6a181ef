//! `lxc.mount.entry` and the fstab, and the guest's cgroup tree.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{FIRST_MAPPED, HOST, SCRATCH, mkdir_steps};
use crate::cgroup::Hierarchies;
use crate::config::{Create, MountEntry, MountIds, Propagation, PropagationKind, Settings};
use crate::error::{Error, Result, Tried};
use crate::sandbox::c_string;
use crate::sys::mount;
use crate::sys::plan::{FileSystem, Plan, Source, Step};

const CGROUP: &str = "sys/fs/cgroup";

/// An opened source that is to be shown with the container's ids.
pub(crate) struct Unmapped {
    tree: OwnedFd,
    recursive: bool,
    optional: bool,
    shown: String,
}

impl Unmapped {
    /// Shows it with the ids of this user namespace.
    pub(crate) fn map(self, user: BorrowedFd<'_>) -> Result<OwnedFd> {
        match map_ids(&self.tree, user, self.recursive, &self.shown) {
            Ok(()) => Ok(self.tree),
            // Nothing that could be attached: the optional steps are left out.
            Err(_) if self.optional => File::open("/dev/null")
                .map(OwnedFd::from)
                .tried(|| "open /dev/null".to_owned()),
            Err(error) => Err(error),
        }
    }
}

/// Adds the steps; returns what is to be mapped before they are taken.
pub(super) fn add(plan: &mut Plan, settings: &Settings) -> Result<Vec<Unmapped>> {
    let mounts = settings.all_mounts()?;
    let mut unmapped = Vec::new();
    for entry in &mounts {
        add_entry(plan, settings, entry, &mut unmapped)?;
    }
    let has_cgroup = mounts.iter().any(|entry| entry.target.starts_with(CGROUP));
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
    Ok(unmapped)
}

fn add_entry(
    plan: &mut Plan,
    settings: &Settings,
    entry: &MountEntry,
    unmapped: &mut Vec<Unmapped>,
) -> Result<()> {
    let options = &entry.options;
    let target = Path::new("/").join(&entry.target);
    let to = c_string(target.as_os_str().as_bytes())?;
    let shown = format!("{} at {} ({})", entry.source, target.display(), entry.place);
    let mut steps = Vec::new();
    match options.create {
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
    let source = if let Some(kind) = &entry.kind {
        let file_system = file_system(entry, kind)?;
        steps.push((
            format!("mount {shown}"),
            Step::NewFileSystem(file_system, SCRATCH),
        ));
        steps.extend(propagation(SCRATCH, options.propagation, &shown));
        Source::Slot(SCRATCH)
    } else if options.relative {
        steps.extend(relative(entry, &shown)?);
        steps.extend(propagation(SCRATCH, options.propagation, &shown));
        Source::Slot(SCRATCH)
    } else {
        let Some(tree) = open(entry, &shown)? else {
            return Ok(());
        };
        if options.id_map == Some(MountIds::Container) {
            let slot = slot_for(settings, unmapped.len(), &shown)?;
            unmapped.push(Unmapped {
                tree,
                recursive: options.recursive,
                optional: options.optional,
                shown: shown.clone(),
            });
            Source::Slot(slot)
        } else {
            Source::Fd(plan.keep(&tree).tried(|| "copy a descriptor".to_owned())?)
        }
    };
    steps.push((format!("attach {shown}"), Step::Attach(source, to)));
    if options.optional {
        plan.optional(steps);
    } else {
        for (what, step) in steps {
            plan.step(what, step);
        }
    }
    Ok(())
}

/// A file system of the entry's own.
fn file_system(entry: &MountEntry, kind: &str) -> Result<FileSystem> {
    let options = entry
        .options
        .data
        .iter()
        .map(|(key, value)| {
            let value = value.as_deref().map(c_string).transpose()?;
            Ok((c_string(key.as_str())?, value))
        })
        .collect::<Result<_>>()?;
    Ok(FileSystem {
        kind: c_string(kind)?,
        options,
        attributes: entry.options.attributes,
    })
}

/// Opens a source in the container.
fn relative(entry: &MountEntry, shown: &str) -> Result<Vec<(String, Step)>> {
    let source = Path::new("/").join(&entry.source);
    Ok(vec![
        (
            format!("open {} in the container", source.display()),
            Step::CloneTree {
                path: c_string(source.as_os_str().as_bytes())?,
                recursive: entry.options.recursive,
                slot: SCRATCH,
            },
        ),
        (
            format!("set the flags of {shown}"),
            Step::SlotAttributes {
                slot: SCRATCH,
                set: entry.options.attributes,
                clear: entry.options.clear,
            },
        ),
    ])
}

fn propagation(
    slot: usize,
    propagation: Option<Propagation>,
    shown: &str,
) -> Option<(String, Step)> {
    let Propagation { kind, recursive } = propagation?;
    Some((
        format!("set the propagation of {shown}"),
        Step::SlotPropagation {
            slot,
            kind: flag_of(kind),
            recursive,
        },
    ))
}

/// Opens a source of the host, with flags, propagation and (of a namespace that is there) ids.
/// `None` if it is optional and cannot be had.
fn open(entry: &MountEntry, shown: &str) -> Result<Option<OwnedFd>> {
    let options = &entry.options;
    let opened = (|| {
        // A slave, as every mount of LXC's is of the host's.
        let tree = fs::canonicalize(&entry.source)
            .and_then(|path| mount::open_slave_tree(&path, options.recursive))
            .map_err(|cause| absent(entry, shown, cause))?;
        if options.attributes != 0 || options.clear != 0 {
            mount::set_attributes(tree.as_fd(), options.attributes, options.clear)
                .tried(|| format!("set the flags of {shown}"))?;
        }
        if let Some(Propagation { kind, recursive }) = options.propagation {
            mount::set_propagation(tree.as_fd(), flag_of(kind), recursive)
                .tried(|| format!("set the propagation of {shown}"))?;
        }
        if let Some(MountIds::Namespace(path)) = &options.id_map {
            let user = File::open(path).tried(|| format!("open {}", path.display()))?;
            map_ids(&tree, user.as_fd(), options.recursive, shown)?;
        }
        Ok(tree)
    })();
    match opened {
        Ok(tree) => Ok(Some(tree)),
        Err(_) if options.optional => Ok(None),
        Err(error) => Err(error),
    }
}

fn absent(entry: &MountEntry, shown: &str, cause: io::Error) -> Error {
    if cause.kind() != io::ErrorKind::NotFound {
        return Error::os(format!("could not open {shown}"), cause);
    }
    Error::user(format!(
        "could not mount {shown}: {} does not exist on this host",
        entry.source
    ))
    .with_hint("create it, or add the option \"optional\" to that entry")
}

fn map_ids(tree: &OwnedFd, user: BorrowedFd<'_>, recursive: bool, shown: &str) -> Result<()> {
    mount::map_ids(tree.as_fd(), user, recursive).map_err(|cause| {
        let unsupported = matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::EPERM));
        let error = Error::os(format!("could not map the ids of {shown}"), cause);
        if unsupported {
            error.with_hint(
                "its file system does not support idmapped mounts on this kernel, or is idmapped already",
            )
        } else {
            error
        }
    })
}

/// The slot of the next mapped mount.
fn slot_for(settings: &Settings, taken: usize, shown: &str) -> Result<usize> {
    if settings.privileged() {
        return Err(Error::user(format!(
            "could not map the ids of {shown}: idmap=container needs an lxc.idmap"
        )));
    }
    let slot = FIRST_MAPPED + taken;
    if slot >= HOST {
        return Err(Error::user(format!(
            "could not map the ids of {shown}: at most {} mounts may have idmap=container",
            HOST - FIRST_MAPPED
        )));
    }
    Ok(slot)
}

fn flag_of(kind: PropagationKind) -> libc::c_ulong {
    match kind {
        PropagationKind::Private => libc::MS_PRIVATE,
        PropagationKind::Slave => libc::MS_SLAVE,
        PropagationKind::Shared => libc::MS_SHARED,
        PropagationKind::Unbindable => libc::MS_UNBINDABLE,
    }
}
