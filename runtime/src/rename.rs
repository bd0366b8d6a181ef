//! Another name for a container.
//!
//! Two things change: the name of its directory, and what its config says. The directory holds a
//! note of what is to be done before it gets its new name, and whoever meets a directory whose note
//! bears its name reads the config from there, or (root) finishes the work. A note for another name
//! is of a renaming that did not happen.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FlockArg, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigFile, Settings};
use crate::container::{Container, must_be_root};
use crate::containers::{Containers, already_exists, lock_state, write_file};
use crate::error::{Error, Result, Tried};
use crate::events::Change;
use crate::name::ContainerName;
use crate::storage::{dependents, names};

const NOTE: &str = "renaming.json";

#[derive(Serialize, Deserialize)]
struct Note {
    from: String,
    to: String,
    config: String,
}

impl Containers {
    /// Gives a stopped container another name. Its logs, and what its config says of its own
    /// directory and host name, follow.
    ///
    /// # Errors
    /// [`Reason::Running`](crate::Reason::Running) if it runs,
    /// [`Reason::AlreadyExists`](crate::Reason::AlreadyExists) if the name is taken.
    pub fn rename(&self, container: &Container, name: &ContainerName) -> Result<Container> {
        must_be_root("rename a container")?;
        let state = &self.directories().state;
        if state.join(name.as_str()).exists() {
            return Err(already_exists(name, state));
        }
        let lock = container.lock(FlockArg::LockExclusive)?;
        container.must_be_stopped("renamed")?;
        container.sweep_locked(&lock)?;
        resume(container)?;
        let _state = lock_state(state)?;
        let (from, to) = (container.dir(), state.join(name.as_str()));
        let needed = dependents(state, &from);
        if !needed.is_empty() {
            return Err(Error::user(format!(
                "container \"{}\" cannot get another name: {} builds on its files",
                container.name(),
                names(&needed)
            ))
            .with_hint("make a copy under the new name, or destroy these first"));
        }
        let config = renamed_config(&container.config()?, container.name(), name, &from, &to)?;
        let note = Note {
            from: container.name().to_string(),
            to: name.to_string(),
            config: config.to_string(),
        };
        let text = serde_json::to_string(&note)
            .map_err(|e| Error::internal(format!("could not write a note: {e}")))?;
        write_file(&from.join(NOTE), &text)?;
        match renameat2(
            AT_FDCWD,
            &from,
            AT_FDCWD,
            &to,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => {}
            Err(e) => {
                let _ = fs::remove_file(from.join(NOTE));
                return match e {
                    Errno::EEXIST => Err(already_exists(name, state)),
                    e => Err(e).tried(|| format!("rename {}", from.display())),
                };
            }
        }
        let _ = container.tell(Change::Renamed {
            to: name.to_string(),
        });
        let renamed = self.handle(name.clone());
        finish(&renamed, &note)?;
        // It is renamed, whoever finds it by its name.
        let _ = self.networks().tell_services();
        Ok(renamed)
    }
}

/// The config of a container whose directory has its new name already but not yet its new config.
pub(crate) fn pending_config(container: &Container) -> Option<String> {
    Some(pending(container)?.config)
}

/// Finishes a renaming that was interrupted. Root only, under the container's lock.
pub(crate) fn resume(container: &Container) -> Result<()> {
    match pending(container) {
        Some(note) => finish(container, &note),
        None => Ok(()),
    }
}

fn pending(container: &Container) -> Option<Note> {
    let text = fs::read(container.dir().join(NOTE)).ok()?;
    let note: Note = serde_json::from_slice(&text).ok()?;
    (note.to == container.name().as_str()).then_some(note)
}

fn finish(container: &Container, note: &Note) -> Result<()> {
    if let Ok(old) = note.from.parse::<ContainerName>() {
        container.take_logs_of(&old);
    }
    write_file(&container.config_path(), &note.config)?;
    let path = container.dir().join(NOTE);
    fs::remove_file(&path).tried(|| format!("remove {}", path.display()))
}

fn renamed_config(
    config: &ConfigFile,
    old: &ContainerName,
    new: &ContainerName,
    from: &Path,
    to: &Path,
) -> Result<ConfigFile> {
    let root = Settings::of(config)?.root.moved(from, to);
    let below = format!("{}/", from.display());
    let target = format!("{}/", to.display());
    let mut config = config.clone();
    config.edit_values(|key, value| match key {
        "lxc.uts.name" | "lxc.utsname" if value == old.as_str() => Some(new.to_string()),
        "lxc.rootfs.path" | "lxc.rootfs" => Some(root.value()),
        _ if value.contains(&below) => Some(value.replace(&below, &target)),
        _ => None,
    });
    Ok(config)
}
