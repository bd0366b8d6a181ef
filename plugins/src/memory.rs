//! What templates have seen, kept from one run to the next: the highest value under each name.
//!
//! DIRECTORY/TEMPLATE.json, replaced as a whole with one rename; changed under the lock of
//! DIRECTORY/TEMPLATE.lock only. A template is not trusted: it has its own file, and that has a
//! limit.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind as IoErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use sampan_core::TemplateError;

/// The longest name, in bytes.
const NAME_LIMIT: usize = 256;

/// The most names of one template: some suites of some archives.
const NAMES_LIMIT: usize = 1000;

/// A file that holds that much and is well-formed is no larger.
const FILE_LIMIT: u64 = 2 << 20;

/// The memory of all templates.
#[derive(Debug, Clone)]
pub struct Memory {
    directory: PathBuf,
}

impl Memory {
    /// A memory in `directory`, which is made when there is something to remember.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Remembers `value` under a template's `name` unless a higher one is known; answers with the
    /// higher of the two.
    pub(crate) fn highest(
        &self,
        template: &str,
        name: &str,
        value: i64,
    ) -> Result<i64, TemplateError> {
        if name.len() > NAME_LIMIT {
            return Err(TemplateError::failed(format!(
                "a name to remember has {} bytes, more than {NAME_LIMIT}",
                name.len()
            )));
        }
        let path = self.directory.join(format!("{template}.json"));
        std::fs::create_dir_all(&self.directory).map_err(failed("create", &self.directory))?;
        let lock_path = self.directory.join(format!("{template}.lock"));
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        // Held for an instant only, by another sampan.
        lock.lock().map_err(failed("lock", &lock_path))?;
        let mut known = read(&path)?;
        match known.get(name) {
            Some(highest) if *highest >= value => return Ok(*highest),
            None if known.len() >= NAMES_LIMIT => {
                return Err(TemplateError::failed(format!(
                    "the template has {NAMES_LIMIT} things to remember, and no more are kept"
                )));
            }
            _ => known.insert(name.to_owned(), value),
        };
        write(&path, &known)?;
        Ok(value)
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, i64>, TemplateError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file
            .take(FILE_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(failed("read", path))?,
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed("open", path)(error)),
    };
    // Not taken for empty: it would be easy to make us forget.
    serde_json::from_slice(&bytes).map_err(|error| {
        failed("read", path)(error.into())
            .with_hint("nothing but what was seen of mirrors is in that file; remove it to go on")
    })
}

fn write(path: &Path, known: &BTreeMap<String, i64>) -> Result<(), TemplateError> {
    let fresh = path.with_extension("new");
    let json =
        serde_json::to_vec_pretty(known).map_err(|error| failed("write", path)(error.into()));
    let mut file = File::create(&fresh).map_err(failed("create", &fresh))?;
    file.write_all(&json?)
        .and_then(|()| file.sync_all())
        .map_err(failed("write", &fresh))?;
    std::fs::rename(&fresh, path).map_err(failed("replace", path))
}

fn failed(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> TemplateError {
    let what = format!("cannot {doing} {}", path.display());
    move |error| TemplateError::failed(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_value_is_kept_by_template_and_name_and_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let memory = || Memory::new(directory.path().join("memory"));
        assert_eq!(memory().highest("t", "a", 5).unwrap(), 5);
        assert_eq!(memory().highest("t", "a", 3).unwrap(), 5);
        assert_eq!(memory().highest("t", "a", 7).unwrap(), 7);
        assert_eq!(memory().highest("t", "b", 1).unwrap(), 1);
        assert_eq!(memory().highest("other", "a", -1).unwrap(), -1);
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::new(directory.path());
        std::thread::scope(|scope| {
            for value in 0..20 {
                let memory = &memory;
                scope.spawn(move || memory.highest("t", &value.to_string(), value).unwrap());
            }
        });
        for value in 0..20 {
            assert_eq!(memory.highest("t", &value.to_string(), 0).unwrap(), value);
        }
    }

    #[test]
    fn a_template_cannot_fill_the_disk_and_a_damaged_file_is_not_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::new(directory.path());
        assert!(memory.highest("t", &"x".repeat(NAME_LIMIT + 1), 1).is_err());
        let full: BTreeMap<String, i64> = (0..1000).map(|n| (n.to_string(), n)).collect();
        let path = directory.path().join("t.json");
        write(&path, &full).unwrap();
        assert!(memory.highest("t", "one more", 1).is_err());
        assert_eq!(memory.highest("t", "7", 9).unwrap(), 9);
        std::fs::write(&path, "{").unwrap();
        let error = memory.highest("t", "7", 10).unwrap_err();
        assert!(error.hint().unwrap().contains("remove it"), "{error}");
    }
}
