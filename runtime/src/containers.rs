//! All containers of a state directory: finding, listing and making them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::cgroup::Usage;
use crate::claim;
use crate::container::{Container, Info};
use crate::error::{Error, Reason, Result, Tried};
use crate::events::Events;
use crate::name::{ContainerName, nearest};
use crate::storage::{Layers, remove_tree};

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
    pub(crate) etc: Option<PathBuf>,
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

    /// Removes what existed for a command that is gone.
    pub(crate) fn sweep_abandoned(&self) -> Result<()> {
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

    /// The trees that overlays share.
    pub fn layers(&self) -> Layers {
        Layers::of(&self.directories.state)
    }

    pub(crate) fn handle(&self, name: ContainerName) -> Container {
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

pub(crate) fn lock_state(state: &Path) -> Result<Flock<File>> {
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
            let _ = remove_tree(&entry.path());
        }
    }
}

pub(crate) fn already_exists(name: &ContainerName, state: &Path) -> Error {
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
    use crate::config::ConfigFile;
    use crate::new_container::NewContainer;

    fn containers(dir: &tempfile::TempDir) -> Containers {
        Containers::new(Directories {
            state: dir.path().join("state"),
            run: dir.path().join("run"),
            log: dir.path().join("log"),
        })
    }

    fn config(new: &NewContainer) -> ConfigFile {
        let mut config = ConfigFile::new();
        config.push("lxc.rootfs.path", &new.final_root().value());
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
