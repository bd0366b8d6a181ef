//! Unpacking .debs straight into a rootfs, several at a time.
//!
//! Decoding .xz is nearly all of the work, so that each processor takes the next largest package.
//! The result does not depend on who is first: of two packages with one path the one with the
//! right to it wins (Replaces), and directories get the owner, mode and time of the first package
//! in the order given once all are there. What stood in the tree before stays, as with dpkg.

mod entry;
mod pool;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Read,
    path::{Component, Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sampan_core::rootfs::{Existing, Metadata, Placer, Rootfs};

use entry::Entry;
pub use pool::{Pool, in_stages};

use crate::{
    Error, Result,
    deb::{ControlMember, Deb},
    dpkg_database::{Record, check_identity, declared_conffiles},
    packages::Package,
    relation,
    tarball::Tarball,
};

/// A package and its .deb, already verified.
#[derive(Debug, Clone)]
pub struct Ready<'t> {
    /// What the archive says.
    pub package: Package<'t>,
    /// The .deb.
    pub path: PathBuf,
}

/// Directories that are links to those below /usr in a tree merged from the start.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Makes the links of a merged /usr (debootstrap's setup_merged_usr).
pub fn merge_usr(rootfs: &Rootfs, arch: &str) -> Result<()> {
    // Which architectures have a lib64 at all: their dynamic loader stands in it.
    let has_lib64 = matches!(arch, "amd64" | "ppc64" | "ppc64el" | "loong64");
    for name in MERGED.iter().filter(|name| **name != "lib64" || has_lib64) {
        rootfs.create_dir(format!("usr/{name}"), 0o755)?;
        rootfs.symlink(format!("usr/{name}"), name)?;
    }
    Ok(())
}

/// Unpacks packages that are all there; `progress` is told the number of packages done and answers
/// whether to go on.
pub fn unpack<'t>(
    rootfs: &Rootfs,
    packages: &[Ready<'t>],
    archive_fields: bool,
    progress: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Vec<Record<'t>>> {
    let plain: Vec<Package<'t>> = packages.iter().map(|ready| ready.package).collect();
    in_stages(rootfs, &plain, &vec![0; plain.len()], |pool| {
        for (index, ready) in packages.iter().enumerate() {
            pool.arrived(index, ready.path.clone());
        }
        pool.finish_stage(0, archive_fields, progress)
    })
}

/// A .deb of which the control archive is read.
struct Contents {
    deb: Deb,
    control: Vec<ControlMember>,
    /// The data archive, if it was decoded already.
    data: Option<Vec<u8>>,
}

impl Contents {
    fn open(package: &Package<'_>, path: &Path) -> Result<Self> {
        let deb = open(package, path)?;
        let control = deb.control()?;
        check_identity(package, &control)?;
        Ok(Self {
            deb,
            control,
            data: None,
        })
    }

    /// Decodes the data archive into memory, unless it is larger than `limit`.
    fn decode(mut self, limit: u64) -> Result<Self> {
        let mut data = Vec::new();
        self.deb
            .data_bytes()?
            .take(limit + 1)
            .read_to_end(&mut data)
            .map_err(|error| self.deb.error(&error))?;
        if data.len() as u64 <= limit {
            self.deb.forget_data();
            self.data = Some(data);
        }
        Ok(self)
    }

    fn size(&self) -> u64 {
        self.data.as_ref().map_or(0, Vec::len) as u64
    }

    fn archive(&self) -> Result<Tarball<'_>> {
        match &self.data {
            Some(data) => Ok(self.deb.decoded(Box::new(&data[..]))),
            None => self.deb.data(),
        }
    }
}

#[derive(Default)]
struct One {
    control: Vec<ControlMember>,
    list: Vec<String>,
    conffiles: BTreeMap<String, String>,
    /// Directories that were not in the tree before this call.
    directories: Vec<(PathBuf, Metadata)>,
}

/// Who may place what.
#[derive(Default)]
struct Claims {
    /// The package that came first for a path that is no directory.
    files: Mutex<HashMap<PathBuf, usize>>,
    /// Paths that several packages have, and which.
    contested: Mutex<BTreeMap<PathBuf, BTreeSet<usize>>>,
    /// Whether a directory stood there before.
    directories: Mutex<HashMap<PathBuf, bool>>,
}

impl Claims {
    /// Whether this package came first.
    fn claim(&self, path: &Path, index: usize) -> bool {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *files.entry(path.to_owned()).or_insert(index);
        drop(files);
        if first != index {
            let mut contested = self
                .contested
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            contested
                .entry(path.to_owned())
                .or_default()
                .extend([first, index]);
        }
        first == index
    }

    /// Whether the directory is new; the first to ask must not have made it yet.
    fn is_new_directory(&self, rootfs: &Rootfs, path: &Path) -> bool {
        let mut directories = self
            .directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let stood = directories
            .entry(path.to_owned())
            .or_insert_with(|| rootfs.is_dir(path));
        !*stood
    }
}

fn unpack_one(
    rootfs: &Rootfs,
    package: &Package<'_>,
    mut contents: Contents,
    index: usize,
    claims: &Claims,
) -> Result<One> {
    let name = package.name;
    let layout = Layout::of(rootfs);
    let control = std::mem::take(&mut contents.control);
    let deb = &contents.deb;
    let wanted: BTreeSet<String> = declared_conffiles(&control)
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let mut one = One {
        control,
        list: Vec::new(),
        conffiles: BTreeMap::new(),
        directories: Vec::new(),
    };
    let mut placer = Placer::new(rootfs, Existing::Keep);
    let mut archive = contents.archive()?;
    for entry in archive.entries().map_err(|error| deb.error(&error))? {
        let mut entry = entry.map_err(|error| deb.error(&error))?;
        let entry = Entry::read(&mut entry, layout).map_err(|error| deb.error(&error))?;
        one.list.push(entry.listed.clone());
        if entry.is_root() {
            // It belongs to who made the tree; packages differ about its time.
            continue;
        }
        if entry.is_directory() {
            if claims.is_new_directory(rootfs, &entry.path) {
                one.directories
                    .push((entry.path.clone(), entry.metadata.clone()));
            }
        } else if !claims.claim(&entry.path, index) {
            continue;
        }
        if entry.is_link_that_stands(rootfs) {
            // A link of the merged /usr, from the package that owns it.
            rootfs.set_time(&entry.path, entry.metadata.mtime)?;
            continue;
        }
        let hash = wanted.contains(&entry.listed);
        let listed = entry.listed.clone();
        let digest = entry
            .place(&mut placer, hash)
            .map_err(Error::rootfs(format!("cannot unpack {name}")))?;
        if let Some(digest) = digest {
            one.conffiles.insert(listed, digest);
        }
    }
    Ok(one)
}

fn open(package: &Package<'_>, path: &Path) -> Result<Deb> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read {
        path: path.display().to_string(),
        source,
    })?;
    if bytes.len() as u64 != package.size {
        return Err(Error::Untrusted {
            what: format!("the .deb of {}", package.name),
            reason: "its size is not the one that the archive signed".to_owned(),
        });
    }
    Deb::parse(bytes, package.name)
}

/// Gives each contested path to the one package with the right to it.
fn settle_contests<'p, 't: 'p>(
    rootfs: &Rootfs,
    of: &dyn Fn(usize) -> (&'p Package<'t>, &'p Path),
    unpacked: &mut BTreeMap<usize, One>,
    claims: &Claims,
) -> Result<()> {
    let layout = Layout::of(rootfs);
    let contested = std::mem::take(
        &mut *claims
            .contested
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    );
    for (path, rivals) in contested {
        let names = |index: &usize| of(*index).0.name;
        let mut winner = None;
        for rival in &rivals {
            let beaten = rivals.iter().filter(|other| *other != rival);
            let mut wins = true;
            for other in beaten {
                wins &= replaces(of(*rival).0, of(*other).0)?;
            }
            if wins {
                winner = Some(*rival);
                break;
            }
        }
        let Some(winner) = winner else {
            let names: Vec<&str> = rivals.iter().map(names).collect();
            return Err(Error::malformed(
                format!("the packages {}", names.join(" and ")),
                format!(
                    "both have /{} and none of them Replaces the other",
                    path.display()
                ),
            ));
        };
        let (package, deb) = of(winner);
        place_again(rootfs, package, deb, &path)?;
        let listed = format!("/{}", path.display());
        for rival in rivals.iter().filter(|rival| **rival != winner) {
            if let Some(one) = unpacked.get_mut(rival) {
                one.list
                    .retain(|name| layout.path(Path::new(&name[1..])) != path);
                one.conffiles.remove(&listed);
            }
        }
    }
    Ok(())
}

fn replaces(package: &Package<'_>, other: &Package<'_>) -> Result<bool> {
    Ok(relation::parse(package.replaces, package.name)?
        .iter()
        .flatten()
        .any(|relation| relation.name == other.name && relation.allows(other.version)))
}

/// Places one path of a package over whatever stands there.
fn place_again(rootfs: &Rootfs, package: &Package<'_>, deb: &Path, path: &Path) -> Result<()> {
    let deb = open(package, deb)?;
    let layout = Layout::of(rootfs);
    let mut placer = Placer::new(rootfs, Existing::Replace);
    let mut archive = deb.data()?;
    for entry in archive.entries().map_err(|error| deb.error(&error))? {
        let mut entry = entry.map_err(|error| deb.error(&error))?;
        let entry = Entry::read(&mut entry, layout).map_err(|error| deb.error(&error))?;
        if entry.path == path && !entry.is_directory() {
            entry
                .place(&mut placer, false)
                .map_err(Error::rootfs(format!("cannot unpack {}", package.name)))?;
        }
    }
    Ok(())
}

fn finish_directories(rootfs: &Rootfs, unpacked: &BTreeMap<usize, One>) -> Result<()> {
    let placer = Placer::new(rootfs, Existing::Keep);
    let mut done = BTreeSet::new();
    for (path, metadata) in unpacked.values().flat_map(|one| &one.directories) {
        if done.insert(path) {
            placer.finish_directory(path, metadata)?;
        }
    }
    Ok(())
}

/// Whether /usr is merged: where what packages have in /bin goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Merged,
    Split,
}

impl Layout {
    /// As the tree is.
    fn of(rootfs: &Rootfs) -> Self {
        match rootfs.read_link("bin") {
            Ok(_) => Self::Merged,
            Err(_) => Self::Split,
        }
    }

    /// A path as it is in the tree, links followed.
    fn path(self, path: &Path) -> PathBuf {
        match path.components().next() {
            Some(Component::Normal(first))
                if self == Self::Merged
                    && MERGED.iter().any(|name| first == *name)
                    && path.components().count() > 1 =>
            {
                Path::new("usr").join(path)
            }
            _ => path.to_owned(),
        }
    }
}

#[cfg(test)]
mod attacks;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{packages::Index, testing::DebBuilder};

    struct Scene {
        directory: tempfile::TempDir,
        text: String,
    }

    impl Scene {
        fn new(debs: &[DebBuilder]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let mut text = String::new();
            for deb in debs {
                let bytes = deb.clone().build();
                std::fs::write(directory.path().join(deb.file_name()), &bytes).unwrap();
                text.push_str(&deb.stanza(&bytes));
            }
            std::fs::create_dir(directory.path().join("root")).unwrap();
            Self { directory, text }
        }

        fn unpack(&self) -> std::result::Result<BTreeMap<String, Vec<String>>, String> {
            let mut index = Index::default();
            index.add(&self.text, "Packages").unwrap();
            let ready: Vec<Ready<'_>> = index
                .iter()
                .map(|package| Ready {
                    package: *package,
                    path: self.directory.path().join(package.filename),
                })
                .collect();
            let rootfs = Rootfs::open(&self.directory.path().join("root")).unwrap();
            merge_usr(&rootfs, "amd64").unwrap();
            let records = unpack(&rootfs, &ready, false, &mut |_| Ok(()));
            let records = records.map_err(|error| error.to_string())?;
            let named = records
                .into_iter()
                .map(|r| (r.package.name.to_owned(), r.list));
            Ok(named.collect())
        }

        fn read(&self, path: &str) -> String {
            std::fs::read_to_string(self.directory.path().join("root").join(path)).unwrap()
        }
    }

    #[test]
    fn links_of_a_merged_usr_are_followed_and_lists_keep_the_names() {
        let scene = Scene::new(&[DebBuilder::new("a", "1").file("bin/x", "x", 0o755)]);
        let lists = scene.unwrap_lists();
        assert_eq!(lists["a"], ["/.", "/bin", "/bin/x"]);
        assert_eq!(scene.read("usr/bin/x"), "x");
    }

    #[test]
    fn of_two_packages_with_one_path_the_one_that_replaces_wins() {
        let a = DebBuilder::new("a", "1").file("usr/bin/x", "from a", 0o755);
        let b = DebBuilder::new("b", "1").file("bin/x", "from b", 0o755);
        let error = Scene::new(&[a.clone(), b.clone()]).unpack().unwrap_err();
        assert!(error.contains("both have /usr/bin/x"), "{error}");

        let scene = Scene::new(&[a, b.field("Replaces", "a (<< 2)")]);
        let lists = scene.unwrap_lists();
        assert_eq!(scene.read("usr/bin/x"), "from b");
        assert!(!lists["a"].contains(&"/usr/bin/x".to_owned()));
    }

    #[test]
    fn a_deb_that_is_another_package_is_refused() {
        let mut scene = Scene::new(&[DebBuilder::new("a", "1")]);
        scene.text = scene.text.replace("Version: 1", "Version: 2");
        let error = scene.unpack().unwrap_err();
        assert!(error.contains("its Version is `1`"), "{error}");
    }

    #[test]
    fn entries_that_lead_out_are_refused_and_links_stay_inside() {
        let hostile = DebBuilder::new("a", "1").raw_entry("../../evil", "x");
        let error = Scene::new(&[hostile]).unpack().unwrap_err();
        assert!(error.contains("evil"), "{error}");

        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().to_str().unwrap();
        let hostile = DebBuilder::new("a", "1")
            .symlink("trap", target)
            .file("trap/x", "x", 0o644);
        assert!(Scene::new(&[hostile]).unpack().is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    impl Scene {
        fn unwrap_lists(&self) -> BTreeMap<String, Vec<String>> {
            self.unpack().unwrap()
        }
    }
}
