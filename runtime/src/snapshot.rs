//! Snapshots of a container: `STATE/NAME/snaps/SNAPSHOT`, its files and config at one moment.
//!
//! A restored tree is made beside the one that it replaces, and the config, which names it, is
//! replaced by one rename: that is the moment of the restoration. The old tree goes afterwards.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FlockArg, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigFile, Settings};
use crate::container::{Container, must_be_root};
use crate::containers::{Containers, lock_directory, lock_state, sweep, write_file};
use crate::copy::{Original, size_limit};
use crate::error::{Error, Reason, Result, Tried};
use crate::monitor::now;
use crate::name::{ContainerName, nearest};
use crate::new_container::NewContainer;
use crate::rename;
use crate::storage::{
    NAMES, Place, RootPath, StorageKind, dependents, names, remove_tree, sweep_unnamed,
};

const DIRECTORY: &str = "snaps";
const RECORD: &str = "snapshot.json";

/// A snapshot, as it is listed. The field names are stable.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// What somebody wrote of it.
    pub comment: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// Bytes that its files take on disk, those that it shares with others included.
    pub size: u64,
    /// The kind of its storage.
    pub storage: Option<StorageKind>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    /// The container's name when it was made.
    container: String,
    comment: Option<String>,
    created_at: u64,
    /// Higher than that of all which were there then: the clock may be set back. Records of before
    /// the first release have none.
    #[serde(default)]
    number: u64,
}

impl Container {
    /// Keeps the files and the config of the stopped container under a name, `snap0` and so on
    /// without one.
    pub fn snapshot(
        &self,
        name: Option<&ContainerName>,
        comment: Option<&str>,
    ) -> Result<Snapshot> {
        must_be_root("make a snapshot")?;
        let _lock = self.lock(FlockArg::LockExclusive)?;
        self.must_be_stopped("kept in a snapshot")?;
        let all = self.snapshots_directory();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&all)
            .tried(|| format!("create {}", all.display()))?;
        sweep(&all);
        let name = match name {
            Some(name) => name.to_string(),
            None => free_name(&all),
        };
        if all.join(&name).exists() {
            return Err(self.snapshot_exists(&name));
        }
        let config = self.config()?;
        let root = Settings::of(&config)?.root;
        sweep_unnamed(&self.dir(), &root);
        let path = all.join(format!(".new-{name}-{:08x}", rand::random::<u32>()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .tried(|| format!("create {}", path.display()))?;
        let made = self.fill_snapshot(&path, &all.join(&name), &config, &root, comment);
        if made.is_err() {
            let _ = remove_tree(&path);
        }
        made?;
        self.read_snapshot(&name)
    }

    fn fill_snapshot(
        &self,
        path: &Path,
        target: &Path,
        config: &ConfigFile,
        root: &RootPath,
        comment: Option<&str>,
    ) -> Result<()> {
        let _lock = lock_directory(path, FlockArg::LockExclusiveNonblock)?;
        let copy = root.backend().copy(&Place::first(path))?;
        let mut config = config.clone();
        config.remove("lxc.rootfs");
        config.set("lxc.rootfs.path", &copy.moved(path, target).value());
        write_file(&path.join("config"), &config.to_string())?;
        let record = Record {
            container: self.name().to_string(),
            comment: comment.map(str::to_owned),
            created_at: now(),
            number: self.next_number(),
        };
        let text = serde_json::to_string_pretty(&record)
            .map_err(|e| Error::internal(format!("could not write a record: {e}")))?;
        write_file(&path.join(RECORD), &text)?;
        match renameat2(
            AT_FDCWD,
            path,
            AT_FDCWD,
            target,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => Ok(()),
            Err(Errno::EEXIST | Errno::ENOTEMPTY) => {
                let name = target.file_name().unwrap_or_default();
                Err(self.snapshot_exists(&name.to_string_lossy()))
            }
            Err(e) => Err(e).tried(|| format!("rename {}", path.display())),
        }
    }

    /// Its snapshots, the oldest first.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let mut names = self.snapshot_names();
        names.sort_by_cached_key(|name| {
            let record = read_record(&self.snapshots_directory().join(name));
            let order = record.map(|record| (record.number, record.created_at));
            (order, name.clone())
        });
        names.iter().map(|name| self.read_snapshot(name)).collect()
    }

    fn next_number(&self) -> u64 {
        let all = self.snapshots_directory();
        let records = self.snapshot_names().into_iter();
        let numbers = records.filter_map(|name| Some(read_record(&all.join(name))?.number));
        numbers.max().unwrap_or(0).saturating_add(1)
    }

    /// The names of its snapshots.
    pub fn snapshot_names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.snapshots_directory())
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().join(RECORD).is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    /// Makes the stopped container what it was: its files and its config.
    pub fn restore(&self, snapshot: &str) -> Result<()> {
        must_be_root("restore a snapshot")?;
        let _lock = self.lock(FlockArg::LockExclusive)?;
        self.must_be_stopped("restored")?;
        rename::resume(self)?;
        let state = self.state_directory();
        let needed = dependents(&state, &self.dir());
        if !needed.is_empty() {
            return Err(Error::user(format!(
                "the files of container \"{}\" cannot be replaced: {} builds on them",
                self.name(),
                names(&needed)
            ))
            .with_hint(format!(
                "make another container of the snapshot: sampan snapshot restore {} {snapshot} --as NAME",
                self.name()
            )));
        }
        let original = self.open_snapshot(snapshot)?;
        let directory = self.dir();
        // Of a container whose config cannot be read any more, what it had is replaced as well.
        let current = self.settings().ok().map(|settings| settings.root);
        if let Some(current) = &current {
            sweep_unnamed(&directory, current);
        }
        let place = Place {
            suffix: free_suffix(&directory),
            directory: directory.clone(),
        };
        let root = original.root.backend().copy(&place).inspect_err(|_| {
            for name in NAMES {
                let _ = remove_tree(&directory.join(format!("{name}{}", place.suffix)));
            }
        })?;
        let mut config = original.config;
        config.edit_values(|key, value| {
            let is_name = matches!(key, "lxc.uts.name" | "lxc.utsname") && value == original.name;
            is_name.then(|| self.name().to_string())
        });
        config.set("lxc.rootfs.path", &root.value());
        if let Some(size) = size_limit(&config) {
            root.backend().set_size_limit(size)?;
        }
        sync(&root)?;
        write_file(&self.config_path(), &config.to_string())?;
        sweep_unnamed(&directory, &root);
        Ok(())
    }

    /// Removes a snapshot.
    pub fn remove_snapshot(&self, snapshot: &str) -> Result<()> {
        must_be_root("remove a snapshot")?;
        let _lock = self.lock(FlockArg::LockExclusive)?;
        self.read_snapshot(snapshot)?;
        let all = self.snapshots_directory();
        let path = all.join(snapshot);
        let _state = lock_state(&self.state_directory())?;
        let needed = dependents(&self.state_directory(), &path);
        if !needed.is_empty() {
            return Err(Error::user(format!(
                "snapshot {snapshot} cannot be removed: {} builds on its files",
                names(&needed)
            )));
        }
        // One rename, and it does not exist any more.
        let old = all.join(format!(".old-{snapshot}-{:08x}", rand::random::<u32>()));
        fs::rename(&path, &old).tried(|| format!("rename {}", path.display()))?;
        remove_tree(&old)
    }

    fn snapshots_directory(&self) -> PathBuf {
        self.dir().join(DIRECTORY)
    }

    fn read_snapshot(&self, name: &str) -> Result<Snapshot> {
        let path = self.snapshots_directory().join(name);
        let Some(record) = read_record(&path).filter(|_| !name.contains('/')) else {
            let known = self.snapshot_names();
            let near = nearest(name, known.iter().map(String::as_str));
            let error = Error::user(format!(
                "container \"{}\" has no snapshot \"{name}\"",
                self.name()
            ))
            .with_reason(Reason::NotFound);
            return Err(match near.is_empty() {
                true => error.with_hint(format!("list them: sampan snapshot ls {}", self.name())),
                false => error.with_hint(format!("did you mean {}?", near.join(" or "))),
            });
        };
        let config = read_config(&path);
        let root = config.and_then(|config| rebased(&config, &path));
        Ok(Snapshot {
            name: name.to_owned(),
            comment: record.comment,
            created_at: record.created_at,
            size: root.as_ref().map_or(0, |root| usage(root.own())),
            storage: root.map(|root| root.kind()),
        })
    }

    fn open_snapshot(&self, name: &str) -> Result<OpenSnapshot> {
        self.read_snapshot(name)?;
        let path = self.snapshots_directory().join(name);
        let broken = || Error::environment(format!("snapshot {} is damaged", path.display()));
        let record = read_record(&path).ok_or_else(broken)?;
        let config = read_config(&path).ok_or_else(broken)?;
        let root = rebased(&config, &path).ok_or_else(broken)?;
        root.backend().check()?;
        Ok(OpenSnapshot {
            name: record.container,
            config,
            root,
        })
    }

    fn state_directory(&self) -> PathBuf {
        let dir = self.dir();
        dir.parent().unwrap_or(&dir).to_owned()
    }

    fn snapshot_exists(&self, name: &str) -> Error {
        Error::user(format!(
            "container \"{}\" has a snapshot \"{name}\" already",
            self.name()
        ))
        .with_reason(Reason::AlreadyExists)
        .with_hint(format!(
            "choose another name, or remove it: sampan snapshot rm {} {name}",
            self.name()
        ))
    }
}

impl Containers {
    /// Begins a container made from a snapshot, as [`Containers::begin_copy`] does from a container.
    pub fn begin_restored(
        &self,
        source: &Container,
        snapshot: &str,
        name: &ContainerName,
    ) -> Result<(NewContainer, ConfigFile)> {
        must_be_root("restore a snapshot")?;
        let _lock = source.lock(FlockArg::LockExclusive)?;
        let open = source.open_snapshot(snapshot)?;
        let original = Original {
            name: &open.name,
            directory: source.dir(),
            config: open.config,
            root: open.root,
        };
        self.begin_copy_of(&original, name, false)
    }
}

struct OpenSnapshot {
    name: String,
    config: ConfigFile,
    root: RootPath,
}

fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path.join(RECORD)).ok()?).ok()
}

fn read_config(path: &Path) -> Option<ConfigFile> {
    let file = path.join("config");
    let text = fs::read_to_string(&file).ok()?;
    Some(ConfigFile::parse(&file, &text))
}

/// Its tree where it is now: the container may have got another name since.
fn rebased(config: &ConfigFile, path: &Path) -> Option<RootPath> {
    let root = Settings::of(config).ok()?.root;
    let then = root.own().ancestors().find(|above| {
        above.file_name() == path.file_name()
            && above
                .parent()
                .is_some_and(|parent| parent.file_name() == Some(DIRECTORY.as_ref()))
    })?;
    Some(root.moved(then, path))
}

fn free_name(all: &Path) -> String {
    (0..)
        .map(|number: u32| format!("snap{number}"))
        .find(|name| !all.join(name).exists())
        .unwrap_or_default()
}

/// A suffix that no tree in the container's directory has.
fn free_suffix(directory: &Path) -> String {
    let free = |suffix: &str| {
        NAMES
            .iter()
            .all(|name| !directory.join(format!("{name}{suffix}")).exists())
    };
    std::iter::once(String::new())
        .chain((2..).map(|number: u32| format!("-{number}")))
        .find(|suffix| free(suffix))
        .unwrap_or_default()
}

/// What is about to replace another tree is on the disk before it does.
fn sync(root: &RootPath) -> Result<()> {
    let path = root.own();
    let what = || format!("sync {}", path.display());
    let file = File::open(path).tried(what)?;
    nix::unistd::syncfs(&file).tried(what)
}

/// Bytes on disk of a file or of everything in a directory.
fn usage(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            bytes += usage(&entry.path());
        }
    }
    bytes
}
