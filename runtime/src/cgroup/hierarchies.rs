//! Which cgroup hierarchies the host has, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::keys::Version;
use crate::error::{Error, Result, Tried};

/// The hierarchies of a host: unified, version 1, or (hybrid) both.
#[derive(Debug, Clone)]
pub(crate) struct Hierarchies {
    pub(crate) unified: Option<Hierarchy>,
    pub(crate) version_1: Vec<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) root: PathBuf,
    pub(crate) controllers: Vec<String>,
    version: u8,
}

impl Hierarchies {
    /// Those of this process. They are read once: mounts of cgroups do not come and go, and a list of
    /// a hundred containers would read them a hundred times.
    pub(crate) fn discover() -> Result<Hierarchies> {
        static FOUND: OnceLock<Hierarchies> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        let found = Hierarchies::read()?;
        Ok(FOUND.get_or_init(|| found).clone())
    }

    fn read() -> Result<Hierarchies> {
        let file = "/proc/self/mountinfo";
        let text = fs::read_to_string(file).tried(|| format!("read {file}"))?;
        let mut found = parse(&text);
        if let Some(unified) = &mut found.unified {
            let file = unified.root.join("cgroup.controllers");
            let text = fs::read_to_string(&file).tried(|| format!("read {}", file.display()))?;
            unified.controllers = text.split_whitespace().map(str::to_owned).collect();
        }
        if found.all().next().is_none() {
            return Err(
                Error::environment("no cgroup hierarchy is mounted on this host")
                    .with_hint("mount one: mount -t cgroup2 none /sys/fs/cgroup"),
            );
        }
        Ok(found)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Hierarchy> {
        self.unified.iter().chain(&self.version_1)
    }

    /// The hierarchy that has a controller.
    pub(crate) fn find(&self, controller: &str) -> Option<(&Path, Version)> {
        let has = |h: &&Hierarchy| h.controllers.iter().any(|c| c == controller);
        if let Some(hierarchy) = self.version_1.iter().find(has) {
            return Some((&hierarchy.root, Version::One));
        }
        self.unified
            .as_ref()
            .filter(has)
            .map(|hierarchy| (hierarchy.root.as_path(), Version::Two))
    }
}

impl Hierarchy {
    /// Lets children of a unified directory have controllers.
    pub(super) fn prepare_children(&self, directory: &Path) {
        if self.version != 2 {
            return;
        }
        for controller in &self.controllers {
            // One that cannot be enabled (cpu with real-time processes about) must not keep the
            // others away; a limit that needs it fails with its own error.
            let _ = fs::write(
                directory.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
        }
    }

    /// A version 1 cpuset takes no process before it has CPUs and memory nodes.
    pub(super) fn inherit_cpuset(&self, directory: &Path) {
        if self.version != 1 || !self.controllers.iter().any(|c| c == "cpuset") {
            return;
        }
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let path = directory.join(file);
            let empty = fs::read_to_string(&path).is_ok_and(|text| text.trim().is_empty());
            if empty
                && let Some(parent) = directory.parent()
                && let Ok(value) = fs::read_to_string(parent.join(file))
            {
                // If this fails, adding the process says so.
                let _ = fs::write(&path, value.trim());
            }
        }
    }
}

fn parse(mountinfo: &str) -> Hierarchies {
    let mut found = Hierarchies {
        unified: None,
        version_1: Vec::new(),
    };
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let before: Vec<&str> = before.split(' ').collect();
        let after: Vec<&str> = after.split(' ').collect();
        let (Some(root), Some(kind), Some(options)) = (before.get(4), after.first(), after.get(2))
        else {
            continue;
        };
        let mut hierarchy = Hierarchy {
            root: PathBuf::from(unescape(root)),
            controllers: Vec::new(),
            version: 2,
        };
        match *kind {
            "cgroup2" if found.unified.is_none() => found.unified = Some(hierarchy),
            "cgroup" => {
                hierarchy.version = 1;
                let flags = ["rw", "ro", "xattr", "noprefix", "clone_children"];
                hierarchy.controllers = options
                    .split(',')
                    .filter(|option| !flags.contains(option) && !option.contains('='))
                    .map(str::to_owned)
                    .collect();
                let seen = |other: &Hierarchy| {
                    !hierarchy.controllers.is_empty() && other.controllers == hierarchy.controllers
                };
                if !found.version_1.iter().any(seen) {
                    found.version_1.push(hierarchy);
                }
            }
            _ => {}
        }
    }
    found
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_host_has_both() {
        let found = parse(HYBRID);
        assert_eq!(
            found.unified.as_ref().unwrap().root,
            Path::new("/sys/fs/cgroup/unified")
        );
        assert_eq!(found.version_1.len(), 2);
        let (root, version) = found.find("cpu").unwrap();
        assert_eq!(root, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(version, Version::One);
        assert!(found.find("memory").is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_mountinfo_makes_the_parser_panic(text in ".*") {
            parse(&text);
        }
    }
}
