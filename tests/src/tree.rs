//! Two root file systems compared: everything that a file is.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

/// A tree that was read.
pub struct Tree {
    root: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
    /// Paths that dpkg says belong to a package.
    packaged: std::collections::BTreeSet<PathBuf>,
}

/// What is compared of one path. Owners are names: packages make users in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: &'static str,
    mode: u32,
    owner: String,
    group: String,
    size: u64,
    mtime: i64,
    target: Option<PathBuf>,
    device: u64,
    xattrs: BTreeMap<String, Vec<u8>>,
    /// The first path, by name, of those that are one file.
    linked_to: Option<PathBuf>,
}

impl Tree {
    /// Reads a tree, in whose /etc/passwd the owners' names are.
    pub fn read(root: &Path) -> Self {
        let users = names(&root.join("etc/passwd"));
        let groups = names(&root.join("etc/group"));
        let mut tree = Self {
            root: root.to_owned(),
            entries: BTreeMap::new(),
            packaged: packaged(root),
        };
        let mut inodes: HashMap<u64, PathBuf> = HashMap::new();
        tree.walk(Path::new(""), &users, &groups, &mut inodes);
        tree
    }

    fn walk(
        &mut self,
        below: &Path,
        users: &HashMap<u32, String>,
        groups: &HashMap<u32, String>,
        inodes: &mut HashMap<u64, PathBuf>,
    ) {
        let mut names: Vec<_> = fs::read_dir(self.root.join(below))
            .expect("a directory of the tree")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        for name in names {
            let path = below.join(name);
            let full = self.root.join(&path);
            let metadata = full.symlink_metadata().expect("an inode");
            let kind = metadata.file_type();
            let name_of = |names: &HashMap<u32, String>, id: u32| {
                names.get(&id).cloned().unwrap_or_else(|| id.to_string())
            };
            let linked = metadata.nlink() > 1 && !kind.is_dir();
            let first = linked.then(|| {
                let first = inodes.entry(metadata.ino()).or_insert_with(|| path.clone());
                first.clone()
            });
            let entry = Entry {
                kind: match () {
                    () if kind.is_dir() => "directory",
                    () if kind.is_file() => "file",
                    () if kind.is_symlink() => "link",
                    () if kind.is_fifo() => "fifo",
                    () if kind.is_char_device() => "character device",
                    () if kind.is_block_device() => "block device",
                    () => "socket",
                },
                mode: metadata.mode() & 0o7777,
                owner: name_of(users, metadata.uid()),
                group: name_of(groups, metadata.gid()),
                size: if kind.is_file() { metadata.size() } else { 0 },
                mtime: metadata.mtime(),
                target: kind
                    .is_symlink()
                    .then(|| fs::read_link(&full).expect("a link")),
                device: metadata.rdev(),
                xattrs: xattr::list(&full)
                    .expect("attributes")
                    .map(|name| {
                        let value = xattr::get(&full, &name).expect("an attribute");
                        (
                            name.to_string_lossy().into_owned(),
                            value.unwrap_or_default(),
                        )
                    })
                    .collect(),
                linked_to: first,
            };
            self.entries.insert(path.clone(), entry);
            if kind.is_dir() {
                self.walk(&path, users, groups, inodes);
            }
        }
    }

    /// How two trees differ, a sentence each. `normal` makes comparable what is in a file: `None`
    /// means the bytes as they are.
    pub fn differences(
        &self,
        other: &Self,
        normal: &dyn Fn(&Path, &[u8]) -> Option<String>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let paths: std::collections::BTreeSet<&PathBuf> =
            self.entries.keys().chain(other.entries.keys()).collect();
        for path in paths {
            let shown = format!("/{}", path.display());
            let (ours, theirs) = match (self.entries.get(path), other.entries.get(path)) {
                (Some(ours), Some(theirs)) => (ours, theirs),
                (Some(_), None) => {
                    found.push(format!("{shown}: only in the first"));
                    continue;
                }
                _ => {
                    found.push(format!("{shown}: only in the second"));
                    continue;
                }
            };
            let mut say = |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| {
                found.push(format!("{shown}: {what}: {a:?} and {b:?}"));
            };
            if ours.kind != theirs.kind {
                say("type", &ours.kind, &theirs.kind);
                continue;
            }
            if ours.mode != theirs.mode {
                say("mode", &ours.mode, &theirs.mode);
            }
            if (&ours.owner, &ours.group) != (&theirs.owner, &theirs.group) {
                let pair = |entry: &Entry| format!("{}:{}", entry.owner, entry.group);
                say("owner", &pair(ours), &pair(theirs));
            }
            if ours.target != theirs.target {
                say("link target", &ours.target, &theirs.target);
            }
            if ours.device != theirs.device {
                say("device", &ours.device, &theirs.device);
            }
            if ours.xattrs != theirs.xattrs {
                say("attributes", &ours.xattrs, &theirs.xattrs);
            }
            if ours.linked_to != theirs.linked_to {
                say("hard links", &ours.linked_to, &theirs.linked_to);
            }
            let mut same = true;
            if ours.kind == "file" {
                let read = |tree: &Self| fs::read(tree.root.join(path)).expect("a file");
                let (a, b) = (read(self), read(other));
                if a != b {
                    same = false;
                    match (normal(path, &a), normal(path, &b)) {
                        (Some(a), Some(b)) if a == b => {}
                        (Some(a), Some(b)) => {
                            say("content", &first_line(&a, &b), &first_line(&b, &a))
                        }
                        _ => say("content", &a.len(), &b.len()),
                    }
                }
            }
            // What a script wrote has the time of the build.
            let packaged = self.packaged.contains(path) && other.packaged.contains(path);
            if same && packaged && ours.kind != "directory" && ours.mtime != theirs.mtime {
                say("time", &ours.mtime, &theirs.mtime);
            }
        }
        found
    }
}

/// The first line of `a` that `b` has not.
fn first_line(a: &str, b: &str) -> String {
    let others: std::collections::BTreeSet<&str> = b.lines().collect();
    let line = a.lines().find(|line| !others.contains(line));
    line.unwrap_or_default().chars().take(200).collect()
}

/// Names by their numbers in passwd(5) or group(5).
fn names(path: &Path) -> HashMap<u32, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            Some((fields.nth(1)?.parse().ok()?, name))
        })
        .collect()
}

fn packaged(root: &Path) -> std::collections::BTreeSet<PathBuf> {
    let mut paths = std::collections::BTreeSet::new();
    for entry in fs::read_dir(root.join("var/lib/dpkg/info"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if !entry.file_name().as_bytes().ends_with(b".list") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        for line in text.lines() {
            let path = line.trim_start_matches('/');
            // Lists have the names that packages gave, also where /usr is merged.
            let first = path.split('/').next().unwrap_or_default();
            let merged = !first.is_empty() && path != first && root.join(first).is_symlink();
            paths.insert(match merged {
                true => Path::new("usr").join(path),
                false => path.into(),
            });
        }
    }
    paths
}
