//! A container in the making.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};

use crate::cgroup::Cgroup;
use crate::claim::Claim;
use crate::config::ConfigFile;
use crate::container::Container;
use crate::containers::{
    Containers, Durability, already_exists, lock_directory, lock_state, replace_file, sweep,
    write_file,
};
use crate::error::{Error, Reason, Result, Tried};
use crate::events::Change;
use crate::idmap::{self, IdRange};
use crate::name::ContainerName;
use crate::resources::{LimitChange, changed_config};
use crate::storage::{self, NewStorage, Place, RootPath, StorageKind, remove_tree};
use crate::subid;

/// A container that does not exist before [`NewContainer::commit`], and leaves nothing behind
/// without.
pub struct NewContainer {
    containers: Containers,
    name: ContainerName,
    path: PathBuf,
    root: RootPath,
    ids: IdRange,
    committed: bool,
    /// Tells others' sweeping that this is no leftover.
    _lock: Flock<File>,
}

impl Containers {
    /// Begins to make a container in a directory.
    pub fn begin(&self, name: &ContainerName) -> Result<NewContainer> {
        self.begin_with(name, &NewStorage::of(StorageKind::Dir))
    }

    /// Begins to make a container with this storage.
    pub fn begin_with(&self, name: &ContainerName, new: &NewStorage) -> Result<NewContainer> {
        new.check(&self.directories().state)?;
        self.begin_from(name, &new.lower, |place| storage::make(new, place))
    }

    /// Begins to make a container whose files `make` provides; `lower` is what they will lie on.
    pub(crate) fn begin_from(
        &self,
        name: &ContainerName,
        lower: &[PathBuf],
        make: impl FnOnce(&Place) -> Result<RootPath>,
    ) -> Result<NewContainer> {
        let state = &self.directories().state;
        let make_directory = |path: &Path, mode| {
            DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(path)
                .tried(|| format!("create {}", path.display()))
        };
        make_directory(state, 0o755)?;
        self.sweep_abandoned()?;
        if state.join(name.as_str()).exists() {
            return Err(already_exists(name, state));
        }
        let state_lock = lock_state(state)?;
        sweep(state);
        let path = state.join(format!(".new-{name}-{:08x}", rand::random::<u32>()));
        // Its files keep setuid bits and the ids of the inside: nobody else may enter.
        make_directory(&path, 0o700)?;
        let made = (|| {
            let lock = lock_directory(&path, FlockArg::LockExclusiveNonblock)?;
            if let Some(etc) = &self.etc {
                subid::reserve(etc, idmap::CONTAINERS)?;
            }
            let ids = idmap::allocate(state, name.as_str())?;
            // Reserves the range and what lies below: it is read by whoever allocates the next one
            // or removes something.
            let mut config = ConfigFile::new();
            config.push(
                "lxc.idmap",
                &format!("u 0 {} {}", ids.host_start, ids.count),
            );
            if !lower.is_empty() {
                let reserved = RootPath::Overlay {
                    lower: lower.to_vec(),
                    upper: path.clone(),
                };
                config.push("lxc.rootfs.path", &reserved.value());
            }
            // What is lost with the machine is lost with all of this directory.
            let file = path.join("config");
            replace_file(&file, &config.to_string(), Durability::ProcessCrash)?;
            // What follows may take long.
            drop(state_lock);
            for lower in lower {
                if !lower.is_dir() {
                    return Err(
                        Error::user(format!("{} has just been removed", lower.display()))
                            .with_reason(Reason::NotFound),
                    );
                }
            }
            let root = make(&Place::first(&path))?;
            Ok((lock, ids, root))
        })();
        match made {
            Ok((lock, ids, root)) => Ok(NewContainer {
                containers: self.clone(),
                name: name.clone(),
                root,
                path,
                ids,
                committed: false,
                _lock: lock,
            }),
            Err(error) => {
                let _ = remove_tree(&path);
                Err(error)
            }
        }
    }
}

impl NewContainer {
    /// Where its files are being made, unshifted: uid 0 on disk is uid 0 inside.
    pub fn root(&self) -> &RootPath {
        &self.root
    }

    /// Of storage `dir` and `btrfs`, the empty directory to fill.
    pub fn rootfs(&self) -> &Path {
        self.root.own()
    }

    /// The directory that becomes `STATE/NAME`.
    pub fn dir(&self) -> &Path {
        &self.path
    }

    /// Where [`NewContainer::root`] will be once it is committed; this goes into the config.
    pub fn final_root(&self) -> RootPath {
        let state = &self.containers.directories().state;
        self.root.moved(&self.path, &state.join(self.name.as_str()))
    }

    /// Its name.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// A config with these limits in it.
    ///
    /// # Errors
    /// The host cannot hold it to one of them.
    pub fn limited(&self, config: ConfigFile, limits: &[LimitChange]) -> Result<ConfigFile> {
        let state = &self.containers.directories().state;
        let cgroup = Cgroup::of_container(state, self.name.as_str())?;
        changed_config(&cgroup, config, limits)
    }

    /// The ids reserved for it.
    pub fn ids(&self) -> IdRange {
        self.ids
    }

    /// Makes it one that exists only as long as somebody wants it: who holds the claim.
    pub fn claim(&self) -> Result<Claim> {
        Claim::make(&self.path)
    }

    /// Makes it exist, by one rename.
    ///
    /// # Errors
    /// [`Reason::AlreadyExists`] if somebody else was faster.
    pub fn commit(mut self, config: &ConfigFile) -> Result<Container> {
        // After a power cut either is there with what makes it its own, or neither.
        self.root.begin_sync()?;
        write_file(&self.path.join("config"), &config.to_string())?;
        let state = &self.containers.directories().state;
        let target = state.join(self.name.as_str());
        let parent = File::open(state).tried(|| format!("open {}", state.display()))?;
        match renameat2(
            AT_FDCWD,
            &self.path,
            AT_FDCWD,
            &target,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Err(already_exists(&self.name, state)),
            Err(e) => {
                return Err(e)
                    .tried(|| format!("rename {} to {}", self.path.display(), target.display()));
            }
        }
        self.committed = true;
        parent
            .sync_all()
            .tried(|| format!("sync {}", state.display()))?;
        let container = self.containers.handle(self.name.clone());
        // It exists, whoever hears of it, and finds it by its name.
        let _ = container.tell(Change::Created);
        let _ = self.containers.networks().tell_services();
        Ok(container)
    }
}

impl Drop for NewContainer {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now, the next creation sweeps.
            let _ = remove_tree(&self.path);
        }
    }
}
