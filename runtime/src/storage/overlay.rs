//! An overlay: what differs from read-only trees that others may share.
//!
//! overlayfs itself cannot be mounted with shifted ids, but its layers can (Linux 5.19). It wants
//! them as paths, so they are attached for a moment in a mount namespace of a thread's own: nobody
//! else sees them, and nothing is left however this ends.
//!
//! The working directory stands beside the upper one under the name that liblxc gives it, so that
//! both programs can mount the same container.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::begin_sync::begin_sync;
use super::copy::copy_tree;
use super::directory::{check_directory, finish, make_directory};
use super::{Backend, Place, RootPath, remove_tree};
use crate::error::{Error, Result, Tried};
use crate::sandbox::{c_string, tmpfs};
use crate::sys::plan::FileSystem;
use crate::sys::{file, mount};

/// What liblxc calls the working directory.
const WORK: &str = "olwork";

/// Whether what was written is on disk when the mount goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    Synced,
    Volatile,
}

pub(super) struct Overlay {
    lower: Vec<PathBuf>,
    upper: PathBuf,
}

impl Overlay {
    pub(super) fn new(lower: &[PathBuf], upper: &Path) -> Overlay {
        Overlay {
            lower: lower.to_vec(),
            upper: upper.to_owned(),
        }
    }

    /// The directory that holds the upper and the working one.
    fn delta(&self) -> Result<&Path> {
        self.upper.parent().ok_or_else(|| {
            Error::user(format!(
                "{} cannot be the upper layer of an overlay",
                self.upper.display()
            ))
        })
    }
}

pub(super) fn make(place: &Place, lower: Vec<PathBuf>) -> Result<RootPath> {
    // Its options are separated by colons, and liblxc's config line too.
    let path = place.path("delta");
    for path in lower.iter().chain([&path]) {
        if path.to_string_lossy().contains([':', ',', '\\']) {
            return Err(Error::user(format!(
                "{} cannot be a layer of an overlay: its name has a colon, comma or backslash",
                path.display()
            )));
        }
        check_lower(path, &lower)?;
    }
    make_directory(&path, 0o700)?;
    let upper = path.join("upper");
    make_directory(&upper, 0o755)?;
    make_directory(&path.join(WORK), 0o700)?;
    // The merged root has the upper directory's owner, mode and time.
    if let Some(top) = lower.first() {
        let open = |path: &Path| File::open(path).tried(|| format!("open {}", path.display()));
        super::copy::copy_metadata(&open(top)?, &open(&upper)?)
            .tried(|| format!("set owner and mode of {}", upper.display()))?;
    }
    Ok(RootPath::Overlay { lower, upper })
}

fn check_lower(path: &Path, lower: &[PathBuf]) -> Result<()> {
    if lower.iter().any(|layer| layer == path) {
        check_directory(path)?;
    }
    Ok(())
}

impl Backend for Overlay {
    fn mount(&self, user: Option<BorrowedFd<'_>>, attributes: u64) -> Result<OwnedFd> {
        self.mount_as(user, attributes, Keeping::Synced)
    }

    /// An overlay that goes syncs the whole file system below it, with all that anybody has written
    /// there: half a second after a build. A volatile one does not, and may not be mounted again
    /// before its mark is gone, which is what `end_work` sees to.
    fn mount_for_work(&self, user: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
        self.mount_as(Some(user), attributes, Keeping::Volatile)
    }

    fn end_work(&self) -> Result<()> {
        remove_tree(&self.delta()?.join(WORK).join("work"))
    }

    fn begin_sync(&self) -> Result<()> {
        begin_sync(&self.upper)
    }

    fn copy(&self, place: &Place) -> Result<RootPath> {
        let made = make(place, self.lower.clone())?;
        copy_tree(&self.upper, made.own())?;
        Ok(made)
    }

    fn share(&self, place: &Place) -> Result<RootPath> {
        // The layers are shared already; the difference is copied, so that both stay independent.
        self.copy(place)
    }

    fn check(&self) -> Result<()> {
        for layer in self.lower.iter().chain([&self.upper]) {
            check_directory(layer)?;
        }
        Ok(())
    }
}

impl Overlay {
    fn mount_as(
        &self,
        user: Option<BorrowedFd<'_>>,
        attributes: u64,
        keeping: Keeping,
    ) -> Result<OwnedFd> {
        self.check()?;
        // For LXC's containers: it makes the directory at the first start.
        let work = self.delta()?.join(WORK);
        if !work.exists() {
            make_directory(&work, 0o700)?;
        }
        let user = user
            .map(|user| user.try_clone_to_owned())
            .transpose()
            .tried(|| "copy a descriptor".to_owned())?;
        std::thread::scope(|scope| {
            let mounting =
                scope.spawn(|| self.mount_in_own_namespace(user.as_ref(), attributes, keeping));
            mounting
                .join()
                .unwrap_or_else(|_| Err(Error::internal("the thread that mounts panicked")))
        })
    }

    fn mount_in_own_namespace(
        &self,
        user: Option<&OwnedFd>,
        attributes: u64,
        keeping: Keeping,
    ) -> Result<OwnedFd> {
        file::own_mounts().tried(|| "make a mount namespace".to_owned())?;
        let user = user.map(AsFd::as_fd);
        let layer = |path: &Path, attributes| {
            let tree = mount::open_tree(path, false)
                .tried(|| format!("open the layer {}", path.display()))?;
            finish(tree, user, attributes, path)
        };
        let mut trees = Vec::new();
        for path in &self.lower {
            trees.push(layer(path, libc::MOUNT_ATTR_RDONLY)?);
        }
        // The working directory must be on the same mount.
        trees.push(layer(self.delta()?, 0)?);
        // /tmp is on every host; whatever it holds is hidden in this namespace only, and the
        // layers are open already.
        let scratch = tmpfs("64k", "0700", 0);
        let scratch = mount::new_file_system(&scratch).tried(|| "mount a tmpfs".to_owned())?;
        attach(&scratch, Path::new("/tmp"))?;
        let mut points = Vec::new();
        for (number, tree) in trees.iter().enumerate() {
            let point = PathBuf::from(format!("/tmp/{number}"));
            fs::create_dir(&point).tried(|| format!("create {}", point.display()))?;
            attach(tree, &point)?;
            points.push(point.display().to_string());
        }
        let delta = points.pop().unwrap_or_default();
        let name = self
            .upper
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let option = |key: &str, value: String| -> Result<(CString, Option<CString>)> {
            Ok((c_string(key)?, Some(c_string(value)?)))
        };
        let mut system = FileSystem {
            kind: c"overlay".to_owned(),
            options: vec![
                option("lowerdir", points.join(":"))?,
                option("upperdir", format!("{delta}/{name}"))?,
                option("workdir", format!("{delta}/{WORK}"))?,
                // The layers may be copies, and come together again with others.
                option("index", "off".to_owned())?,
            ],
            attributes,
        };
        if keeping == Keeping::Volatile {
            system.options.push((c"volatile".to_owned(), None));
        }
        if user.is_some() {
            // overlayfs works in its layers as the user who mounts it, whom the shifted ids must
            // have: that is their root, who owns the directory on disk.
            let root = fs::metadata(&delta).tried(|| format!("look at {delta}"))?;
            file::make_files_as(root.uid(), root.gid())
                .tried(|| "make files as the container's root".to_owned())?;
        }
        mount::new_file_system(&system).map_err(|cause| {
            let old = cause.raw_os_error() == Some(libc::EINVAL) && user.is_some();
            let what = format!("could not mount the overlay {}", self.upper.display());
            let error = Error::os(what, cause);
            if old {
                error.with_hint(
                    "layers with shifted ids need Linux 5.19 or newer: on an older kernel use --storage dir",
                )
            } else {
                error
            }
        })
    }
}

fn attach(tree: &OwnedFd, point: &Path) -> Result<()> {
    let what = || format!("attach a mount at {}", point.display());
    let target = File::open(point).tried(what)?;
    mount::attach(tree.as_fd(), target.as_fd()).tried(what)
}
