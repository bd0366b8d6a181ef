//! A container made from another one, with an identity of its own.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::fcntl::FlockArg;

use crate::config::{ConfigFile, HookKind, Settings};
use crate::container::{Container, must_be_root};
use crate::containers::{Containers, Durability, replace_file};
use crate::error::{Error, Reason, Result, Tried};
use crate::hooks;
use crate::idmap::{IdRange, RANGE};
use crate::name::ContainerName;
use crate::new_container::NewContainer;
use crate::storage::{NAMES, RootPath, StorageKind, dependents, names};

/// The key that tells how large the files of a container may become, in bytes.
pub const SIZE_KEY: &str = "sampan.rootfs.size";

/// Vendor part of the addresses that LXC gives its containers (xen's, locally administered in all
/// but name).
const VENDOR: &str = "00:16:3e";

/// What a copy is made from: a stopped container, or one of its snapshots.
pub(crate) struct Original<'a> {
    /// The container's name, which its host name may be.
    pub(crate) name: &'a str,
    /// Its directory, to which its config may refer.
    pub(crate) directory: PathBuf,
    pub(crate) config: ConfigFile,
    pub(crate) root: RootPath,
}

impl Containers {
    /// Begins a copy of a stopped container: all of its files, a config of its own, ids and network
    /// addresses of its own. What tells one guest from another *inside* its files is the caller's
    /// to change before [`NewContainer::commit`].
    ///
    /// With `share`, what both have in common is kept once: an overlay over a directory, a snapshot
    /// on btrfs.
    ///
    /// # Errors
    /// [`Reason::Running`] if it runs.
    pub fn begin_copy(
        &self,
        source: &Container,
        name: &ContainerName,
        share: bool,
    ) -> Result<(NewContainer, ConfigFile)> {
        must_be_root("copy a container")?;
        let _lock = source.lock(FlockArg::LockExclusive)?;
        source.must_be_stopped("copied")?;
        let config = source.config()?;
        let original = Original {
            name: source.name().as_str(),
            directory: source.dir(),
            root: Settings::of(&config)?.root,
            config,
        };
        self.begin_copy_of(&original, name, share)
    }

    pub(crate) fn begin_copy_of(
        &self,
        original: &Original<'_>,
        name: &ContainerName,
        share: bool,
    ) -> Result<(NewContainer, ConfigFile)> {
        let backend = original.root.backend();
        backend.check()?;
        let mut lower = original.root.lower().to_vec();
        if share && original.root.kind() == StorageKind::Dir {
            lower.push(original.root.own().to_owned());
        }
        let new = self.begin_from(name, &lower, |place| {
            let root = if share {
                backend.share(place)?
            } else {
                backend.copy(place)?
            };
            copy_files(&original.directory, &place.directory)?;
            Ok(root)
        })?;
        let mut config = config_of_copy(original, &new, &self.directories().state)?;
        self.networks().rejoin(&new, &mut config)?;
        let file = new.dir().join("config");
        replace_file(&file, &config.to_string(), Durability::ProcessCrash)?;
        self.handle(name.clone()).run_hooks(
            HookKind::Clone,
            &Settings::of(&config)?,
            new.root(),
            &[
                ("LXC_SRC_NAME", original.name.into()),
                ("LXC_CONFIG_FILE", file.into()),
            ],
        )?;
        Ok((new, config))
    }
}

/// Files that a person or template put beside the config: hooks, tables of mounts.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)
        .tried(|| format!("list {}", from.display()))?
        .flatten()
    {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let ours = ["config", "claim", "last-exit", "renaming"]
            .iter()
            .any(|own| text.starts_with(own))
            || NAMES.iter().any(|own| text.starts_with(own));
        if !ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let target = to.join(&name);
            fs::copy(entry.path(), &target).tried(|| format!("create {}", target.display()))?;
        }
    }
    Ok(())
}

fn config_of_copy(original: &Original<'_>, new: &NewContainer, state: &Path) -> Result<ConfigFile> {
    let settings = Settings::of(&original.config)?;
    let renew_ids = settings.rootfs_mapped && is_one_range(&settings);
    let (old, name) = (original.name, new.name().as_str());
    let below = format!("{}/", original.directory.display());
    let target = format!("{}/", state.join(name).display());
    let mut config = original.config.clone();
    config.edit_values(|key, value| match key {
        "lxc.idmap" | "lxc.id_map" if renew_ids => with_ids(value, new.ids()),
        "lxc.uts.name" | "lxc.utsname" if value == old => Some(name.to_owned()),
        key if is_address(key) && !value.is_empty() && !value.contains(['x', 'X']) => {
            Some(random_address())
        }
        // Other trees (shared layers among them) are not the original's own.
        key if !key.starts_with("lxc.rootfs") && value.contains(&below) => {
            Some(value.replace(&below, &target))
        }
        _ => None,
    });
    config.remove("lxc.rootfs");
    let root = new.final_root();
    config.set("lxc.rootfs.path", &root.value());
    match size_limit(&original.config) {
        // An overlay has none of its own.
        Some(_) if !root.lower().is_empty() => config.remove(SIZE_KEY),
        Some(size) => new.root().backend().set_size_limit(size)?,
        None => {}
    }
    Ok(config)
}

/// The limit of size in a config.
pub(crate) fn size_limit(config: &ConfigFile) -> Option<u64> {
    config.get(SIZE_KEY)?.parse().ok()
}

/// Whether the ids are those of one range from 0 on, of which another one can be used as well:
/// those on disk are the inside's.
fn is_one_range(settings: &Settings) -> bool {
    [&settings.user_map, &settings.group_map]
        .iter()
        .all(|map| matches!(map[..], [only] if only.inside == 0 && only.count <= RANGE))
}

fn with_ids(value: &str, ids: IdRange) -> Option<String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    match words[..] {
        [which, inside, _, count] => Some(format!("{which} {inside} {} {count}", ids.host_start)),
        _ => None,
    }
}

fn is_address(key: &str) -> bool {
    (key.starts_with("lxc.net.") || key.starts_with("lxc.network.")) && key.ends_with(".hwaddr")
}

fn random_address() -> String {
    let [a, b, c, _] = rand::random::<u32>().to_be_bytes();
    format!("{VENDOR}:{a:02x}:{b:02x}:{c:02x}")
}

impl Container {
    /// Runs the hooks of a moment at which it does not run, where they see the files of `root`.
    pub(crate) fn run_hooks(
        &self,
        kind: HookKind,
        settings: &Settings,
        root: &RootPath,
        variables: &[(&str, OsString)],
    ) -> Result<()> {
        if settings.hooks.of(kind).next().is_none() {
            return Ok(());
        }
        self.make_log_directory()?;
        let tree = root.open()?;
        // Of this process: the hook does not get the descriptor itself.
        let mount = format!("/proc/{}/fd/{}", std::process::id(), tree.as_raw_fd());
        hooks::run(self, settings, kind, Path::new(&mount), variables)
    }

    /// Fails if overlays of others lie on its files: what it would write then shows in theirs in ways
    /// that overlayfs leaves undefined.
    pub(crate) fn must_lie_under_nobody(&self, root: &RootPath) -> Result<()> {
        if root.kind() != StorageKind::Dir {
            return Ok(());
        }
        let needed = dependents(&self.directories().state, &self.dir());
        if needed.is_empty() {
            return Ok(());
        }
        Err(Error::user(format!(
            "container \"{}\" cannot be started: {} builds on its files, which must not change",
            self.name(),
            names(&needed)
        ))
        .with_hint(format!(
            "start a copy of it: sampan copy {} NEW --start",
            self.name()
        )))
    }

    /// Fails if it runs.
    pub(crate) fn must_be_stopped(&self, done: &str) -> Result<()> {
        if !self.run_directory().is_locked()? {
            return Ok(());
        }
        Err(Error::user(format!(
            "container \"{}\" is running; it can be {done} when it is stopped",
            self.name()
        ))
        .with_reason(Reason::Running)
        .with_hint(format!("stop it: sampan stop {}", self.name())))
    }
}
