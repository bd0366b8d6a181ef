//! Trees that overlays share: `STATE/.images/ID/rootfs`.
//!
//! What a tree is, only the caller knows; here it has an id, which tells its contents, and a name for
//! people. It has its final name when it is complete, and nothing changes it from then on. Whether
//! somebody needs it is read from the configs under the lock of the state directory, under which
//! new containers write theirs.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};

use super::{Dependent, dependents, names, remove_tree};
use crate::containers::{lock_directory, lock_state, sweep};
use crate::error::{Error, Result, Tried};

/// The shared trees of a state directory.
#[derive(Debug, Clone)]
pub struct Layers {
    state: PathBuf,
}

/// A tree in the making.
pub struct NewLayer {
    path: PathBuf,
    target: PathBuf,
    committed: bool,
    /// Tells others' sweeping that this is no leftover.
    _lock: Flock<File>,
}

impl Layers {
    pub(crate) fn of(state: &Path) -> Layers {
        Layers {
            state: state.to_owned(),
        }
    }

    /// The tree of this id, if it is there.
    pub fn find(&self, id: &str) -> Option<PathBuf> {
        let path = layers_directory(&self.state).join(id).join("rootfs");
        path.is_dir().then_some(path)
    }

    /// Begins to make one.
    pub fn begin(&self, id: &str, name: &str) -> Result<NewLayer> {
        let make = |path: &Path, mode| {
            DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(path)
                .tried(|| format!("create {}", path.display()))
        };
        make(&self.state, 0o755)?;
        let all = layers_directory(&self.state);
        // Its files keep setuid bits and the ids of the inside: nobody else may enter.
        make(&all, 0o700)?;
        let _state = lock_state(&self.state)?;
        sweep(&all);
        let path = all.join(format!(".new-{id}-{:08x}", rand::random::<u32>()));
        make(&path, 0o700)?;
        let lock = lock_directory(&path, FlockArg::LockExclusiveNonblock)?;
        make(&path.join("rootfs"), 0o755)?;
        fs::write(path.join("image"), format!("{name}\n"))
            .tried(|| format!("write {}", path.join("image").display()))?;
        Ok(NewLayer {
            target: all.join(id),
            path,
            committed: false,
            _lock: lock,
        })
    }

    /// Removes the trees of the image `name` but the one of the id `keep`, if nobody needs them.
    ///
    /// # Errors
    /// Somebody needs one: the message says who.
    pub fn remove(&self, name: &str, keep: Option<&str>) -> Result<()> {
        let all = layers_directory(&self.state);
        if !all.is_dir() {
            return Ok(());
        }
        let _state = lock_state(&self.state)?;
        sweep(&self.state);
        sweep(&all);
        let mut needed = Vec::new();
        for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
            let path = entry.path();
            let id = entry.file_name();
            let of = fs::read_to_string(path.join("image")).unwrap_or_default();
            if of.trim_end() != name
                || id.to_string_lossy().starts_with('.')
                || keep.is_some_and(|keep| id.to_str() == Some(keep))
            {
                continue;
            }
            let users = dependents(&self.state, &path);
            if users.is_empty() {
                // One rename, and it does not exist any more.
                let old = all.join(format!(".old-{:016x}", rand::random::<u64>()));
                fs::rename(&path, &old).tried(|| format!("rename {}", path.display()))?;
                remove_tree(&old)?;
            } else {
                needed.extend(users);
            }
        }
        match &needed[..] {
            [] => Ok(()),
            needed => Err(in_use(name, needed)),
        }
    }

    /// Fails where somebody needs a tree of the image `name`.
    pub fn check_unused(&self, name: &str) -> Result<()> {
        let all = layers_directory(&self.state);
        let mut needed = Vec::new();
        for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
            let of = fs::read_to_string(entry.path().join("image")).unwrap_or_default();
            if of.trim_end() == name {
                needed.extend(dependents(&self.state, &entry.path()));
            }
        }
        match &needed[..] {
            [] => Ok(()),
            needed => Err(in_use(name, needed)),
        }
    }
}

impl NewLayer {
    /// The empty directory to fill.
    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// Makes it exist. Where another process was faster, that one's tree serves.
    pub fn commit(mut self) -> Result<PathBuf> {
        // What containers will build on must not be lost by a power cut that keeps their configs.
        let tree = File::open(self.rootfs()).tried(|| "open the new layer".to_owned())?;
        nix::unistd::syncfs(&tree).tried(|| format!("sync {}", self.path.display()))?;
        let target = &self.target;
        match renameat2(
            AT_FDCWD,
            &self.path,
            AT_FDCWD,
            target,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => self.committed = true,
            Err(Errno::EEXIST | Errno::ENOTEMPTY) => {}
            Err(e) => return Err(e).tried(|| format!("rename {}", self.path.display())),
        }
        Ok(target.join("rootfs"))
    }
}

impl Drop for NewLayer {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now is swept later.
            let _ = remove_tree(&self.path);
        }
    }
}

fn in_use(name: &str, needed: &[Dependent]) -> Error {
    Error::user(format!(
        "image {name} is needed by {}, whose files lie on it",
        names(needed)
    ))
    .with_hint("destroy these first, or keep the image")
}

/// Where the shared trees of a state directory are.
fn layers_directory(state: &Path) -> PathBuf {
    state.join(".images")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_there_from_its_commit_on_and_goes_when_nobody_needs_it() {
        let state = tempfile::tempdir().unwrap();
        let layers = Layers::of(state.path());
        drop(layers.begin("abc", "small/key").unwrap());
        assert_eq!(layers.find("abc"), None);
        let first = layers.begin("abc", "small/key").unwrap();
        let second = layers.begin("abc", "small/key").unwrap();
        let tree = first.commit().unwrap();
        assert_eq!(second.commit().unwrap(), tree);
        assert_eq!(layers.find("abc"), Some(tree.clone()));

        let user = state.path().join("web");
        fs::create_dir(&user).unwrap();
        let line = format!("lxc.rootfs.path = overlay:{}:/x\n", tree.display());
        fs::write(user.join("config"), line).unwrap();
        let error = layers.remove("small/key", None).unwrap_err();
        assert!(error.chain().contains("container web"), "{}", error.chain());
        layers.check_unused("small/key").unwrap_err();
        fs::remove_dir_all(&user).unwrap();
        layers.remove("small/key", Some("abc")).unwrap();
        assert!(layers.find("abc").is_some());
        layers.remove("small/key", None).unwrap();
        assert_eq!(layers.find("abc"), None);
        let left = fs::read_dir(layers_directory(state.path()))
            .unwrap()
            .count();
        assert_eq!(left, 0);
    }
}
