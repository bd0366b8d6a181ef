//! Who builds on the files of another: found by reading all configs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::RootPath;
use crate::config::ConfigFile;
use crate::containers::sweep;

/// A container, or one of its snapshots, that has something of another's below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dependent {
    pub(crate) container: String,
    pub(crate) snapshot: Option<String>,
}

impl fmt::Display for Dependent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (container, done) = named(&self.container);
        match &self.snapshot {
            None => write!(f, "container {container}{done}"),
            Some(snapshot) => {
                let (snapshot, done_to_it) = named(snapshot);
                write!(
                    f,
                    "snapshot {snapshot}{done_to_it} of container {container}{done}"
                )
            }
        }
    }
}

/// The name that something has, had or shall have, and what is being done to it.
fn named(directory: &str) -> (&str, &'static str) {
    for (prefix, done) in [(".new-", " (being made)"), (".old-", " (being removed)")] {
        if let Some(rest) = directory.strip_prefix(prefix) {
            let name = rest.rsplit_once('-').map_or(rest, |(name, _)| name);
            return (name, done);
        }
    }
    (directory, "")
}

/// Their names in one sentence.
pub(crate) fn names(dependents: &[Dependent]) -> String {
    let words: Vec<String> = dependents.iter().map(Dependent::to_string).collect();
    words.join(", ")
}

/// Everything in `state` that needs what is at `path`, but for what is below `path` itself.
pub(crate) fn dependents(state: &Path, path: &Path) -> Vec<Dependent> {
    let found = look(state, path);
    let unnamed = |name: &str| name.starts_with('.');
    if !found
        .iter()
        .any(|one| unnamed(&one.container) || one.snapshot.as_deref().is_some_and(unnamed))
    {
        return found;
    }
    // What a killed process left needs nothing.
    sweep(state);
    for one in found.iter().filter(|one| one.snapshot.is_some()) {
        sweep(&state.join(&one.container).join("snaps"));
    }
    look(state, path)
}

fn look(state: &Path, path: &Path) -> Vec<Dependent> {
    let mut found = Vec::new();
    for directory in directories(state) {
        let container = directory.file_name().unwrap_or_default();
        let container = container.to_string_lossy().into_owned();
        let mut look = |directory: &Path, snapshot: Option<String>| {
            if !directory.starts_with(path) && builds_on(directory, path) {
                found.push(Dependent {
                    container: container.clone(),
                    snapshot,
                });
            }
        };
        look(&directory, None);
        for snapshot in directories(&directory.join("snaps")) {
            let name = snapshot.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            look(&snapshot, Some(name));
        }
    }
    found.sort();
    found
}

fn builds_on(directory: &Path, path: &Path) -> bool {
    let file = directory.join("config");
    let Ok(text) = fs::read_to_string(&file) else {
        return false;
    };
    // Each start looks at every config of the machine: most need not be parsed for that.
    if !text.contains("overlay") {
        return false;
    }
    // All lines, not only the last: what is wrongly taken for needed is kept, not lost.
    ConfigFile::parse(&file, &text)
        .lines_of(&["lxc.rootfs.path", "lxc.rootfs"])
        .filter_map(|line| RootPath::parse(&line.value).ok())
        .any(|root| root.lower().iter().any(|lower| lower.starts_with(path)))
}

fn directories(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::lock_directory;
    use nix::fcntl::FlockArg;

    #[test]
    fn copies_and_snapshots_that_build_on_a_tree_are_found_and_others_are_not() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path();
        let write = |name: &str, value: &str| {
            let directory = path.join(name);
            fs::create_dir_all(&directory).unwrap();
            let line = format!("lxc.rootfs.path = {value}\n");
            fs::write(directory.join("config"), line).unwrap();
        };
        let base = path.join("base/rootfs");
        let (base, shown) = (base.as_path(), path.display());
        write("base", &format!("dir:{}", base.display()));
        write(
            "copy",
            &format!("overlay:{}:{shown}/copy/upper", base.display()),
        );
        write(
            "copy/snaps/before",
            &format!("overlay:{}:/x", base.display()),
        );
        write("baseline", &format!("overlay:{shown}/baseline-2:/x"));
        let found = dependents(path, &path.join("base"));
        assert_eq!(
            names(&found),
            "container copy, snapshot before of container copy"
        );
    }

    #[test]
    fn what_a_killed_process_left_needs_nothing_and_what_is_being_made_is_told_by_its_name() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path();
        let names_of = || names(&dependents(path, &path.join("base")));
        let line = format!(
            "lxc.rootfs.path = overlay:{}:/x\n",
            path.join("base").display()
        );
        let made = path.join(".new-web-2-0123abcd");
        fs::create_dir(&made).unwrap();
        let lock = lock_directory(&made, FlockArg::LockExclusiveNonblock).unwrap();
        fs::write(made.join("config"), &line).unwrap();
        assert_eq!(names_of(), "container web-2 (being made)");
        let removed = path.join("db/snaps/.old-kept-0123abcd");
        fs::create_dir_all(&removed).unwrap();
        fs::write(removed.join("config"), &line).unwrap();
        assert_eq!(names_of(), "container web-2 (being made)");
        assert!(!removed.exists());
        drop(lock);
        assert_eq!(names_of(), "");
        assert!(!made.exists());
    }
}
