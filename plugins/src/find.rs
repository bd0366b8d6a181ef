//! Finding template libraries by name.
//!
//! A template `debian` is a file `libsampan_template_debian.so`. The directories are searched in
//! order and the first hit wins; later ones of the same name are shadowed.

use std::path::{Path, PathBuf};

use crate::{PluginError, trust};

const PREFIX: &str = "libsampan_template_";
const SUFFIX: &str = ".so";

/// The directories in which templates are looked for.
#[derive(Debug, Clone)]
pub struct Templates {
    directories: Vec<PathBuf>,
}

/// A library found on the search path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The template's name, taken from the file's.
    pub name: String,
    /// The library.
    pub path: PathBuf,
    /// Whether an earlier directory holds one of the same name, so that this one is never used.
    pub shadowed: bool,
}

impl Found {
    /// The library, links resolved, if nobody but root and the caller can have written it.
    ///
    /// # Errors
    /// [`PluginError::Untrusted`], with who can.
    pub fn check(&self) -> Result<PathBuf, PluginError> {
        trust::check(&self.path).map_err(|reason| PluginError::Untrusted {
            path: self.path.clone(),
            reason,
        })
    }
}

impl Templates {
    /// The usual search path: $SAMPAN_TEMPLATE_PATH (separated by colons), the person's own,
    /// the machine's own, the distribution's, and beside the running binary in a build tree.
    pub fn from_environment() -> Self {
        let mut directories: Vec<PathBuf> = std::env::var_os("SAMPAN_TEMPLATE_PATH")
            .map(|paths| std::env::split_paths(&paths).collect())
            .unwrap_or_default();
        directories.extend(
            std::env::var_os("HOME")
                .map(|home| Path::new(&home).join(".local/lib/sampan/templates")),
        );
        directories.push("/usr/local/lib/sampan/templates".into());
        directories.push("/usr/lib/sampan/templates".into());
        if let Some(beside) = build_tree() {
            directories.push(beside);
        }
        directories.retain(|directory| directory.is_absolute());
        Self { directories }
    }

    /// Exactly these directories.
    pub fn in_directories(directories: Vec<PathBuf>) -> Self {
        Self { directories }
    }

    /// The directories, first come first.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Every template, sorted by name, with what shadows it before it.
    ///
    /// # Errors
    /// When a directory exists but cannot be read.
    pub fn list(&self) -> Result<Vec<Found>, PluginError> {
        let mut found: Vec<Found> = Vec::new();
        for directory in &self.directories {
            for path in libraries(directory)? {
                let Some(name) = template_name(&path) else {
                    continue;
                };
                let shadowed = found.iter().any(|other| other.name == name);
                found.push(Found {
                    name: name.to_owned(),
                    path,
                    shadowed,
                });
            }
        }
        // Stable: within a name the order of the search path stays.
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The template of this name.
    ///
    /// # Errors
    /// When there is none; the error holds the nearest name.
    pub fn find(&self, name: &str) -> Result<Found, PluginError> {
        let all = self.list()?;
        let names = all.iter().map(|found| found.name.as_str());
        let nearest = sampan_core::nearest(name, names);
        all.into_iter()
            .find(|found| found.name == name)
            .ok_or_else(|| PluginError::NoTemplate {
                name: name.to_owned(),
                nearest,
                searched: self.directories.clone(),
            })
    }
}

/// The directory of the running binary if cargo built it there: beside it lie the template
/// libraries of the same build.
fn build_tree() -> Option<PathBuf> {
    let directory = std::env::current_exe().ok()?.parent()?.to_owned();
    directory.join(".fingerprint").is_dir().then_some(directory)
}

fn libraries(directory: &Path) -> Result<Vec<PathBuf>, PluginError> {
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PluginError::io("read the directory", directory)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(
            entry
                .map_err(PluginError::io("read the directory", directory))?
                .path(),
        );
    }
    paths.sort();
    Ok(paths)
}

fn template_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        directory
    }

    #[test]
    fn the_first_directory_wins_and_the_second_is_shadowed() {
        let first = directory(&["libsampan_template_a.so", "README"]);
        let second = directory(&["libsampan_template_a.so", "libsampan_template_b.so"]);
        let templates = Templates::in_directories(vec![
            first.path().to_owned(),
            second.path().to_owned(),
            "/nowhere".into(),
        ]);
        let all = templates.list().unwrap();
        let seen: Vec<_> = all.iter().map(|f| (f.name.as_str(), f.shadowed)).collect();
        assert_eq!(seen, [("a", false), ("a", true), ("b", false)]);
        assert!(templates.find("a").unwrap().path.starts_with(first.path()));
    }

    #[test]
    fn a_missing_template_names_the_nearest() {
        let first = directory(&["libsampan_template_debian.so"]);
        let templates = Templates::in_directories(vec![first.path().to_owned()]);
        let error = templates.find("debain").unwrap_err();
        assert!(error.hint().unwrap().contains("`debian`"));
    }
}
