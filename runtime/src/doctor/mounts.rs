//! Mounts: with shifted ids where the containers are, and overlays.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Error, Result, Tried};
use crate::idmap::IdRange;
use crate::sandbox::{map_ids, tmpfs};
use crate::sys::plan::FileSystem;
use crate::sys::{file, mount};

use super::kernel::{OTHER_KERNEL, process_in};
use super::{Finding, Host, nearest};

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    let names = ["kernel.idmapped-mounts", "kernel.overlay"];
    if !host.root {
        return names
            .map(|name| Finding::unknown(name, "needs root"))
            .into();
    }
    let state = nearest(&host.subject.containers.directories().state);
    vec![
        match mapped(state) {
            Ok(()) => Finding::ok(
                names[0],
                format!(
                    "the file system of {} can be shown with shifted ids",
                    state.display()
                ),
            ),
            Err(error) => Finding::problem(
                names[0],
                format!("{}: {}", state.display(), error.chain()),
                "sampan --path DIR …, with a directory on ext4, xfs or btrfs, or a newer kernel",
            ),
        },
        match std::thread::scope(|scope| scope.spawn(overlay).join()) {
            Ok(Ok(())) => Finding::ok(names[1], "one was mounted"),
            Ok(Err(error)) => Finding::warning(
                names[1],
                format!("no storage of the kind overlay: {error}"),
                format!("modprobe overlay, or {OTHER_KERNEL}"),
            ),
            Err(_) => Finding::unknown(names[1], "the thread that tried it panicked"),
        },
    ]
}

fn mapped(directory: &Path) -> Result<()> {
    let child = process_in(libc::CLONE_NEWUSER)?;
    let user = map_ids(child.pid(), IdRange::random_for_build())?;
    let tree = mount::open_tree(directory, false).tried(|| "clone its mount".to_owned())?;
    mount::map_ids(tree.as_fd(), user.as_fd(), false)
        .map_err(|cause| Error::os("its mounts cannot have shifted ids", cause))
}

/// An overlay of empty directories, in a mount namespace that ends with this thread.
fn overlay() -> io::Result<()> {
    file::own_mounts()?;
    let scratch = mount::new_file_system(&tmpfs("64k", "0700", 0))?;
    let target = OwnedFd::from(File::open("/tmp")?);
    mount::attach(scratch.as_fd(), target.as_fd())?;
    for name in ["lower", "upper", "work"] {
        fs::create_dir(Path::new("/tmp").join(name))?;
    }
    let option = |key: &str, value: &str| -> io::Result<_> {
        Ok((CString::new(key)?, Some(CString::new(value)?)))
    };
    mount::new_file_system(&FileSystem {
        kind: c"overlay".to_owned(),
        options: vec![
            option("lowerdir", "/tmp/lower")?,
            option("upperdir", "/tmp/upper")?,
            option("workdir", "/tmp/work")?,
        ],
        attributes: 0,
    })
    .map(drop)
}
