//! Changing the config of a container: as a whole, checked, under its lock.

use std::fs::{self, File};

use nix::fcntl::{Flock, FlockArg};

use crate::config::ConfigFile;
use crate::config::new_problems;
use crate::container::{Container, State, must_be_root};
use crate::containers::write_file;
use crate::error::{Error, Result};
use crate::rename;

/// What an edit came to.
#[derive(Debug)]
pub struct Edited {
    /// Whether the text differs from the one before.
    pub changed: bool,
    /// Whether it runs, so that the change counts from its next start.
    pub running: bool,
    /// What was wrong with the config before and still is.
    pub problems: Vec<Error>,
}

/// What came of a new text for a config.
#[derive(Debug)]
pub enum Replaced {
    /// It is the config now.
    Done(Edited),
    /// It has problems that the former one does not have. Nothing was changed.
    Refused(Vec<Error>),
}

impl Container {
    /// Changes its config. A running container keeps the one it started with.
    ///
    /// # Errors
    /// That of `change`, or the first line that cannot be obeyed and could, or was not there,
    /// before. Then nothing is changed.
    pub fn edit_config(
        &self,
        change: impl FnOnce(&mut ConfigFile) -> Result<()>,
    ) -> Result<Edited> {
        must_be_root("change a container's config")?;
        let lock = self.lock(FlockArg::LockExclusive)?;
        let before = self.config()?;
        let mut after = before.clone();
        change(&mut after)?;
        match self.put(&lock, &before, &after)? {
            Replaced::Done(edited) => {
                // It is changed, whoever finds it by its name.
                let _ = self.networks().tell_services();
                Ok(edited)
            }
            Replaced::Refused(problems) => {
                let first = problems.into_iter().next();
                Err(first
                    .unwrap_or_else(|| Error::internal("a config without problems was refused")))
            }
        }
    }

    /// Makes `text` its config, which was `before` when somebody began to write `text`.
    ///
    /// # Errors
    /// It was changed meanwhile, or cannot be written. Nothing is changed then.
    pub fn replace_config(&self, before: &ConfigFile, text: &str) -> Result<Replaced> {
        must_be_root("change a container's config")?;
        let lock = self.lock(FlockArg::LockExclusive)?;
        if self.config()? != *before {
            return Err(Error::user(format!(
                "{} was changed by somebody else meanwhile",
                self.config_path().display()
            )));
        }
        self.put(&lock, before, &ConfigFile::parse(before.path(), text))
    }

    /// Removes what an edit that was killed left half written. Under the lock, without which nobody
    /// writes there.
    fn sweep_config(&self) {
        for entry in fs::read_dir(self.dir()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("config.tmp-") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Replaces `before` by `after`, if that has no problem of its own.
    pub(crate) fn put(
        &self,
        lock: &Flock<File>,
        before: &ConfigFile,
        after: &ConfigFile,
    ) -> Result<Replaced> {
        let (new, old) = new_problems(before, after);
        if !new.is_empty() {
            return Ok(Replaced::Refused(new));
        }
        let running = self.state()? != State::Stopped;
        let changed = before != after;
        if changed {
            // What a killed monitor left is found by the config that it had. What does not go away
            // is told by the next start.
            let _ = self.sweep_locked(lock);
            rename::resume(self)?;
            self.sweep_config();
            write_file(&self.config_path(), &after.to_string())?;
        }
        Ok(Replaced::Done(Edited {
            changed,
            running,
            problems: old,
        }))
    }
}
