//! What of one container the machine still has.

use std::path::{Path, PathBuf};

use crate::machine::processes;

/// What is left of a container that does not run, in words; empty when nothing is. Its name must be
/// one that no other test uses.
pub fn leaks(root: &Path, name: &str) -> Vec<String> {
    let mut found: Vec<String> = monitors(root, name)
        .into_iter()
        .map(|pid| format!("its monitor, process {pid}"))
        .collect();
    for cgroup in cgroups(name) {
        found.push(format!("the cgroup {}", cgroup.display()));
    }
    // Lock, control socket and whatever else lives only while it runs.
    let run = root.join("run/sampan").join(name);
    if run.exists() {
        found.push(format!("its run directory {}", run.display()));
    }
    found
}

/// The processes that look after a container below `root`.
pub fn monitors(root: &Path, name: &str) -> Vec<u32> {
    let root = root.display().to_string();
    let suffix = format!(" {name}");
    processes()
        .into_iter()
        .filter(|(_, command)| {
            command.contains("sampan-monitor ")
                && command.contains(&root)
                && command.trim_end().ends_with(&suffix)
        })
        .map(|(pid, _)| pid)
        .collect()
}

/// The cgroups of containers of this name, in all hierarchies.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let below = top.read_dir().into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = below.map(|entry| entry.path().join("sampan")).collect();
    // On a host with nothing but version 2 this is the hierarchy itself.
    places.push(top.join("sampan"));
    let mut found = Vec::new();
    for entry in places
        .iter()
        .filter_map(|place| place.read_dir().ok())
        .flatten()
        .flatten()
    {
        let file = entry.file_name();
        let hash = file.to_str().and_then(|file| file.strip_prefix(name));
        let hash = hash.and_then(|rest| rest.strip_prefix('-'));
        if hash.is_some_and(|hash| hash.len() == 8 && !hash.contains('-')) {
            found.push(entry.path());
        }
    }
    found
}
