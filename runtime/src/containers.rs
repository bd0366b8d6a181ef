//! All containers of a state directory: finding, listing and making them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, RenameFlags, renameat2};

use crate::cgroup::{Cgroup, Usage};
use crate::claim::{self, Claim};
use crate::config::ConfigFile;
use crate::container::{Container, Info};
use crate::error::{Error, Reason, Result, Tried};
use crate::events::{Change, Events};
use crate::idmap::{self, IdRange};
use crate::name::{ContainerName, nearest};
use crate::resources::{LimitChange, changed_config};
use crate::subid;

/// Where containers live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// `STATE/NAME/config` and `STATE/NAME/rootfs`.
    pub state: PathBuf,
    /// `RUN/NAME/`: lock and control socket of a running container.
    pub run: PathBuf,
    /// `LOG/NAME.log` and `LOG/NAME.console`.
    pub log: PathBuf,
}

/// The containers of one state directory.
#[derive(Debug, Clone)]
pub struct Containers {
    directories: Directories,
    /// Where the ids of containers are reserved, if anywhere.
    etc: Option<PathBuf>,
}

impl Containers {
    /// Nothing is made or read yet.
    pub fn new(directories: Directories) -> Containers {
        // Cgroups are named after the state directory: one name for it, from wherever it is asked.
        let one_name = |path: &Path| {
            fs::canonicalize(path)
                .or_else(|_| std::path::absolute(path))
                .unwrap_or_else(|_| path.to_path_buf())
        };
        Containers {
            directories: Directories {
                state: one_name(&directories.state),
                run: one_name(&directories.run),
                log: one_name(&directories.log),
            },
            etc: None,
        }
    }

    /// The same, reserving the ids of new containers in the subuid(5) and subgid(5) files of `etc`
    /// (usually /etc) where these exist.
    #[must_use]
    pub fn reserving_ids_in(mut self, etc: &Path) -> Containers {
        self.etc = Some(etc.to_path_buf());
        self
    }

    /// Where they live.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// All containers, by name. What a killed monitor left behind is cleaned up on the way.
    pub fn list(&self) -> Result<Vec<Info>> {
        self.sweep_abandoned()?;
        self.names()?
            .into_iter()
            .map(|name| self.handle(name).info())
            .collect()
    }

    /// What each running container uses, by name: cheap enough to be asked every second.
    pub fn usage(&self) -> Result<Vec<(ContainerName, Usage)>> {
        let mut found = Vec::new();
        for name in self.names()? {
            if let Some(usage) = self.handle(name.clone()).usage()? {
                found.push((name, usage));
            }
        }
        Ok(found)
    }

    /// Removes what existed for a command that is gone.
    fn sweep_abandoned(&self) -> Result<()> {
        if nix::unistd::geteuid().is_root() {
            for name in self.names()? {
                claim::sweep(&self.handle(name));
            }
        }
        Ok(())
    }

    /// What happens to them from now on.
    pub fn events(&self) -> Result<Events> {
        Events::open(self)
    }

    /// A container that exists.
    ///
    /// # Errors
    /// [`Reason::NotFound`], with the nearest names as hint.
    pub fn open(&self, name: &ContainerName) -> Result<Container> {
        let config = self.directories.state.join(name.as_str()).join("config");
        match fs::metadata(&config) {
            Ok(_) => Ok(self.handle(name.clone())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let names = self.names()?;
                let near = nearest(name.as_str(), names.iter().map(ContainerName::as_str));
                let error = Error::user(format!(
                    "there is no container \"{name}\" in {}",
                    self.directories.state.display()
                ))
                .with_reason(Reason::NotFound);
                Err(if near.is_empty() {
                    error
                } else {
                    error.with_hint(format!("did you mean {}?", near.join(" or ")))
                })
            }
            Err(e) => Err(e).tried(|| format!("read {}", config.display())),
        }
    }

    /// Begins to make a container. It does not exist before [`NewContainer::commit`], and leaves
    /// nothing behind without.
    pub fn begin(&self, name: &ContainerName) -> Result<NewContainer> {
        let state = &self.directories.state;
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(state)
            .tried(|| format!("create {}", state.display()))?;
        self.sweep_abandoned()?;
        if state.join(name.as_str()).exists() {
            return Err(already_exists(name, state));
        }
        let _lock = lock_state(state)?;
        sweep(state);
        let path = state.join(format!(".new-{name}-{:08x}", rand::random::<u32>()));
        let make = |path: &Path, mode| {
            DirBuilder::new()
                .mode(mode)
                .create(path)
                .tried(|| format!("create {}", path.display()))
        };
        // Its files keep setuid bits and the ids of the inside: nobody else may enter.
        make(&path, 0o700)?;
        let made = (|| {
            let lock = lock_directory(&path, FlockArg::LockExclusiveNonblock)?;
            make(&path.join("rootfs"), 0o755)?;
            if let Some(etc) = &self.etc {
                subid::reserve(etc, idmap::CONTAINERS)?;
            }
            let ids = idmap::allocate(state, name.as_str())?;
            // Reserves the range: it is read by whoever allocates the next one.
            let mut config = ConfigFile::new();
            config.push(
                "lxc.idmap",
                &format!("u 0 {} {}", ids.host_start, ids.count),
            );
            write_file(&path.join("config"), &config.to_string())?;
            Ok((lock, ids))
        })();
        match made {
            Ok((lock, ids)) => Ok(NewContainer {
                containers: self.clone(),
                name: name.clone(),
                rootfs: path.join("rootfs"),
                path,
                ids,
                committed: false,
                _lock: lock,
            }),
            Err(error) => {
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    fn handle(&self, name: ContainerName) -> Container {
        Container::new(self.directories.clone(), name)
    }

    pub(crate) fn names(&self) -> Result<Vec<ContainerName>> {
        let state = &self.directories.state;
        let entries = match fs::read_dir(state) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).tried(|| format!("list {}", state.display())),
        };
        let mut names: Vec<ContainerName> = entries
            .flatten()
            .filter(|entry| entry.path().join("config").is_file())
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }
}

/// A container in the making.
pub struct NewContainer {
    containers: Containers,
    name: ContainerName,
    path: PathBuf,
    rootfs: PathBuf,
    ids: IdRange,
    committed: bool,
    /// Tells others' sweeping that this is no leftover.
    _lock: Flock<File>,
}

impl NewContainer {
    /// The empty directory to fill, unshifted: uid 0 on disk is uid 0 inside.
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// The directory that becomes `STATE/NAME`.
    pub fn dir(&self) -> &Path {
        &self.path
    }

    /// Where [`NewContainer::rootfs`] will be once it is committed; this goes into the config.
    pub fn final_rootfs(&self) -> PathBuf {
        let state = &self.containers.directories.state;
        state.join(self.name.as_str()).join("rootfs")
    }

    /// A config with these limits in it.
    ///
    /// # Errors
    /// The host cannot hold it to one of them.
    pub fn limited(&self, config: ConfigFile, limits: &[LimitChange]) -> Result<ConfigFile> {
        let state = &self.containers.directories.state;
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
        write_file(&self.path.join("config"), &config.to_string())?;
        let state = &self.containers.directories.state;
        let target = state.join(self.name.as_str());
        let parent = File::open(state).tried(|| format!("open {}", state.display()))?;
        match renameat2(
            nix::fcntl::AT_FDCWD,
            &self.path,
            nix::fcntl::AT_FDCWD,
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
        // It exists, whoever hears of it.
        let _ = container.tell(Change::Created);
        Ok(container)
    }
}

impl Drop for NewContainer {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now, the next creation sweeps.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// What a written file survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of the process.
    ProcessCrash,
    /// The end of the machine too.
    HostCrash,
}

/// Writes a file as a whole or not at all.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<()> {
    replace_file(path, text, Durability::HostCrash)
}

/// As [`write_file`]; syncing takes longer than anything else in a short life.
pub(crate) fn replace_file(path: &Path, text: &str, durability: Durability) -> Result<()> {
    let temporary = path.with_extension(format!("tmp-{:08x}", rand::random::<u32>()));
    let written = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(text.as_bytes())?;
        if durability == Durability::HostCrash {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.tried(|| format!("write {}", path.display()))
}

/// Locks a directory by its own descriptor: the lock goes where the directory goes.
pub(crate) fn lock_directory(path: &Path, how: FlockArg) -> Result<Flock<File>> {
    let what = || format!("lock {}", path.display());
    let file = File::open(path).tried(what)?;
    Flock::lock(file, how).map_err(|(_, e)| e).tried(what)
}

fn lock_state(state: &Path) -> Result<Flock<File>> {
    lock_directory(state, FlockArg::LockExclusive)
}

/// Removes what interrupted creations and destructions left behind: directories that nobody locks.
pub(crate) fn sweep(state: &Path) {
    let Ok(entries) = fs::read_dir(state) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if (name.starts_with(".new-") || name.starts_with(".old-"))
            && let Ok(_lock) = lock_directory(&entry.path(), FlockArg::LockExclusiveNonblock)
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn already_exists(name: &ContainerName, state: &Path) -> Error {
    Error::user(format!(
        "a container \"{name}\" already exists in {}",
        state.display()
    ))
    .with_reason(Reason::AlreadyExists)
    .with_hint(format!(
        "choose another name, or remove it: sampan destroy {name}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containers(dir: &tempfile::TempDir) -> Containers {
        Containers::new(Directories {
            state: dir.path().join("state"),
            run: dir.path().join("run"),
            log: dir.path().join("log"),
        })
    }

    fn config(new: &NewContainer) -> ConfigFile {
        let mut config = ConfigFile::new();
        config.push(
            "lxc.rootfs.path",
            &format!("dir:{}", new.final_rootfs().display()),
        );
        let ids = new.ids();
        config.push(
            "lxc.idmap",
            &format!("b 0 {} {}", ids.host_start, ids.count),
        );
        config
    }

    #[test]
    fn a_container_exists_from_its_commit_on() {
        let dir = tempfile::tempdir().unwrap();
        let all = containers(&dir);
        let name: ContainerName = "web".parse().unwrap();
        let new = all.begin(&name).unwrap();
        assert_eq!(all.open(&name).unwrap_err().reason(), Reason::NotFound);
        let text = config(&new);
        new.commit(&text).unwrap();
        all.open(&name).unwrap();
        assert_eq!(all.list().unwrap().len(), 1);
        let again = all.begin(&name).err().unwrap();
        assert_eq!(again.reason(), Reason::AlreadyExists);
        let wrong = all.open(&"wbe".parse().unwrap()).unwrap_err();
        assert_eq!(wrong.hint(), Some("did you mean web?"));
    }

    #[test]
    fn an_abandoned_one_leaves_nothing_and_a_killed_ones_rest_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let all = containers(&dir);
        let state = all.directories().state.clone();
        drop(all.begin(&"web".parse().unwrap()).unwrap());
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
        fs::create_dir_all(state.join(".new-dead-1/rootfs")).unwrap();
        let alive = all.begin(&"a".parse().unwrap()).unwrap();
        let other = all.begin(&"b".parse().unwrap()).unwrap();
        assert!(!state.join(".new-dead-1").exists());
        assert!(alive.rootfs().exists());
        assert_ne!(alive.ids(), other.ids());
    }

    #[test]
    fn of_two_that_make_one_name_the_slower_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let all = containers(&dir);
        let name: ContainerName = "web".parse().unwrap();
        let (first, second) = (all.begin(&name).unwrap(), all.begin(&name).unwrap());
        let text = config(&first);
        first.commit(&text).unwrap();
        let text = config(&second);
        let error = second.commit(&text).unwrap_err();
        assert_eq!(error.reason(), Reason::AlreadyExists);
    }
}
