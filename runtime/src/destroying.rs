//! Removing a container with everything in it.

use std::fs;

use nix::fcntl::FlockArg;

use crate::config::HookKind;
use crate::container::{Container, StopOptions, must_be_root};
use crate::containers::lock_state;
use crate::error::{Error, Reason, Result, Tried};
use crate::events::Change;
use crate::storage::{dependents, names, remove_tree};

impl Container {
    /// Removes it with everything in it.
    ///
    /// # Errors
    /// [`Reason::Running`] if it runs and is not to be killed (`force`); others build on its files;
    /// it has snapshots.
    pub fn destroy(&self, force: bool) -> Result<()> {
        self.destroy_with(force, false)
    }

    /// The same, also one that has snapshots if these shall go too.
    pub fn destroy_with(&self, force: bool, snapshots: bool) -> Result<()> {
        must_be_root("destroy a container")?;
        self.check_unneeded(snapshots)?;
        if self.run_directory().is_locked()? {
            if !force {
                return Err(Error::user(format!("container \"{}\" is running", self.name()))
                    .with_reason(Reason::Running)
                    .with_hint(format!(
                        "stop it first (sampan stop {0}), or kill and remove it: sampan destroy --force {0}",
                        self.name()
                    )));
            }
            let kill = StopOptions {
                kill: true,
                ..StopOptions::default()
            };
            match self.stop(&kill) {
                Err(error) if error.reason() != Reason::NotRunning => return Err(error),
                // An ephemeral one was destroyed by its monitor.
                _ if !self.dir().exists() => return Ok(()),
                _ => {}
            }
        }
        let lock = self.lock(FlockArg::LockExclusive)?;
        if self.run_directory().is_locked()? {
            return Err(
                Error::user(format!("container \"{}\" was started again", self.name()))
                    .with_reason(Reason::Running),
            );
        }
        self.sweep_locked(&lock)?;
        // One whose config cannot be understood can still be removed.
        if let Ok(settings) = self.settings() {
            self.run_hooks(HookKind::Destroy, &settings, &settings.root, &[])?;
        }
        let state = lock_state(&self.directories().state)?;
        self.check_unneeded(snapshots)?;
        // One rename, and it does not exist any more; an interrupted removal is swept later.
        let from = self.dir();
        let to = self.directories().state.join(format!(
            ".old-{}-{:08x}",
            self.name(),
            rand::random::<u32>()
        ));
        fs::rename(&from, &to).tried(|| format!("rename {}", from.display()))?;
        let _ = self.tell(Change::Destroyed);
        // Its name leads nowhere; the next change of the network tells it as well.
        let _ = self.networks().tell_services();
        drop(state);
        for log in self.logs() {
            let _ = fs::remove_file(log);
        }
        remove_tree(&to)
    }

    /// Fails where others build on its files, or it has snapshots that are not to go.
    fn check_unneeded(&self, snapshots: bool) -> Result<()> {
        let needed = dependents(&self.directories().state, &self.dir());
        if !needed.is_empty() {
            return Err(Error::user(format!(
                "container \"{}\" cannot be destroyed: {} builds on its files",
                self.name(),
                names(&needed)
            ))
            .with_hint("destroy these first"));
        }
        let kept = self.snapshot_names();
        if !snapshots && !kept.is_empty() {
            return Err(Error::user(format!(
                "container \"{}\" has snapshots: {}",
                self.name(),
                kept.join(", ")
            ))
            .with_hint(format!(
                "to remove them too: sampan destroy --snapshots {}",
                self.name()
            )));
        }
        Ok(())
    }
}
