//! The lines that count: those of a file and of what it includes, in order and in today's words.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use super::file::{ConfigFile, Line};
use super::legacy::Modernizer;
use crate::error::{Error, Result, Tried};

/// One key, its value, and where that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The file, the config itself or one that it includes.
    pub file: Arc<Path>,
    /// The line, counted from 1.
    pub number: usize,
    /// The key in today's words.
    pub key: String,
    /// The key as it is written there, perhaps in those of LXC 1 or 2.
    pub written: String,
    /// The value.
    pub value: String,
}

/// Deeper than this nobody includes on purpose.
const DEPTH: usize = 16;

/// More files than this nobody includes on purpose: two that include the next one twice, and so on,
/// are soon more than memory holds.
const FILES: usize = 1000;

impl Assignment {
    /// `file:line` for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }
}

/// All assignments of a file, with those of the files it includes in their place.
///
/// # Errors
/// A file that cannot be read, includes itself or is too deep; a line without `=`.
pub fn effective(file: &ConfigFile) -> Result<Vec<Assignment>> {
    let mut reader = Reader {
        names: Modernizer::default(),
        within: Vec::new(),
        files: 0,
        all: Vec::new(),
    };
    if let Ok(path) = fs::canonicalize(file.path()) {
        reader.within.push(path);
    }
    reader.file(file)?;
    Ok(reader.all)
}

struct Reader {
    names: Modernizer,
    /// The files that are being read, the outermost first.
    within: Vec<PathBuf>,
    files: usize,
    all: Vec<Assignment>,
}

impl Reader {
    fn file(&mut self, file: &ConfigFile) -> Result<()> {
        let path: Arc<Path> = Arc::from(file.path());
        for line in file.lines() {
            let Line {
                number,
                key,
                value,
                assigns,
            } = line;
            let line = Assignment {
                file: Arc::clone(&path),
                number,
                key: self.names.modernise(&key),
                written: key,
                value,
            };
            if !assigns {
                let (place, key) = (line.place(), line.key);
                return Err(Error::user(format!("{place}: \"{key}\" has no \"=\"")));
            }
            if line.key == "lxc.include" && !line.value.is_empty() {
                self.include(&line)?;
            } else {
                self.all.push(line);
            }
        }
        Ok(())
    }

    /// Reads what a line includes.
    fn include(&mut self, line: &Assignment) -> Result<()> {
        // LXC takes a relative path from wherever its caller stands.
        let base = line.file.parent().unwrap_or(Path::new("/"));
        let path = base.join(&line.value);
        let failed = |error: Error| {
            let place = line.place();
            error.wrap(format!("{place}: lxc.include = {}", line.value))
        };
        let metadata = fs::metadata(&path);
        // As for LXC: Debian's userns.conf includes a directory for local settings that need not be.
        if line.value.ends_with('/')
            && metadata
                .as_ref()
                .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        {
            return Ok(());
        }
        let metadata = metadata.tried(|| format!("read {}", path.display()));
        if !metadata.map_err(failed)?.is_dir() {
            return self.read(line, &path);
        }
        for path in fragments(&path).map_err(failed)? {
            self.read(line, &path)?;
        }
        Ok(())
    }

    fn read(&mut self, line: &Assignment, path: &Path) -> Result<()> {
        let wrong = |what: String| {
            Error::user(format!(
                "{}: lxc.include = {} {what}",
                line.place(),
                line.value
            ))
        };
        let failed = |error: Error| {
            let place = line.place();
            error.wrap(format!("{place}: lxc.include = {}", line.value))
        };
        let what = || format!("read {}", path.display());
        let real = fs::canonicalize(path).tried(what).map_err(failed)?;
        let file = ConfigFile::read(path).map_err(failed)?;
        if self.within.contains(&real) {
            return Err(wrong(format!(
                "is a circle: {} is being read already",
                real.display()
            )));
        }
        if self.within.len() >= DEPTH {
            return Err(wrong(format!(
                "is too deep; at most {DEPTH} files include each other"
            )));
        }
        self.files += 1;
        if self.files > FILES {
            return Err(wrong(format!(
                "is too much; at most {FILES} files are read"
            )));
        }
        self.within.push(real);
        let read = self.file(&file);
        self.within.pop();
        read
    }
}

/// The files of a directory that are read, by name.
fn fragments(directory: &Path) -> Result<Vec<PathBuf>> {
    let what = || format!("list {}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).tried(what)? {
        let path = entry.tried(what)?.path();
        // A name, not only the ending.
        if path.extension().is_some_and(|ending| ending == "conf") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn read(dir: &tempfile::TempDir) -> Result<Vec<Assignment>> {
        let path = dir.path().join("config");
        effective(&ConfigFile::read(&path)?)
    }

    fn values(dir: &tempfile::TempDir) -> Vec<String> {
        read(dir)
            .unwrap()
            .into_iter()
            .map(|line| line.value)
            .collect()
    }

    #[test]
    fn an_included_files_lines_stand_in_its_place() {
        let dir = place(&[
            (
                "config",
                "lxc.group = a\nlxc.include = more/one.conf\nlxc.group = d\n",
            ),
            ("more/one.conf", "lxc.group = b\nlxc.include = two\n"),
            ("more/two", "# nothing\nlxc.group = c\n"),
        ]);
        assert_eq!(values(&dir), ["a", "b", "c", "d"]);
        let lines = read(&dir).unwrap();
        assert_eq!(lines[2].number, 2);
        assert!(lines[2].file.ends_with("more/two"), "{:?}", lines[2]);
    }

    #[test]
    fn of_a_directory_the_conf_files_are_read_by_name() {
        let dir = place(&[
            ("config", "lxc.include = d\n"),
            ("d/20.conf", "lxc.group = b\n"),
            ("d/10.conf", "lxc.group = a\n"),
            ("d/30.conf.off", "lxc.group = c\n"),
            ("d/.conf", "lxc.group = d\n"),
            ("d/README", "lxc.group = e\n"),
        ]);
        assert_eq!(values(&dir), ["a", "b"]);
    }

    #[test]
    fn legacy_networks_are_counted_across_files() {
        let dir = place(&[
            (
                "config",
                "lxc.network.type = empty\nlxc.include = n\nlxc.network.flags = up\n",
            ),
            ("n", "lxc.network.type = veth\n"),
        ]);
        let lines = read(&dir).unwrap();
        let keys: Vec<&str> = lines.iter().map(|line| line.key.as_str()).collect();
        assert_eq!(
            keys,
            ["lxc.net.0.type", "lxc.net.1.type", "lxc.net.1.flags"]
        );
        assert_eq!(lines[2].written, "lxc.network.flags");
    }

    #[test]
    fn circles_depth_and_missing_files_are_told_with_their_place() {
        let dir = place(&[
            ("config", "\nlxc.include = a\n"),
            ("a", "lxc.include = b\n"),
            ("b", "\n\nlxc.include = a\n"),
        ]);
        let text = read(&dir).unwrap_err().chain();
        assert!(text.contains("/b:3: lxc.include = a is a circle"), "{text}");

        let dir = place(&[("config", "lxc.include = config\n")]);
        let text = read(&dir).unwrap_err().chain();
        assert!(
            text.contains("/config:1: lxc.include = config is a circle"),
            "{text}"
        );

        let dir = place(&[("config", "lxc.arch = x\nlxc.include = gone\n")]);
        let text = read(&dir).unwrap_err().chain();
        assert!(
            text.contains("/config:2: lxc.include = gone: could not read"),
            "{text}"
        );
        assert!(text.contains("No such file"), "{text}");
        let dir = place(&[("config", "lxc.arch = x\nlxc.include = gone/\n")]);
        assert_eq!(
            read(&dir).unwrap().len(),
            1,
            "a directory need not be there"
        );

        let mut files: Vec<(String, String)> = (0..40)
            .map(|n| (format!("f{n}"), format!("lxc.include = f{}\n", n + 1)))
            .collect();
        files[0].0 = "config".to_owned();
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        let text = read(&place(&files)).unwrap_err().chain();
        assert!(text.contains("too deep"), "{text}");
    }

    #[test]
    fn files_that_multiply_are_not_read_for_ever() {
        let files: Vec<(String, String)> = (0..12)
            .map(|n| {
                let next = n + 1;
                let name = if n == 0 {
                    "config".to_owned()
                } else {
                    format!("f{n}")
                };
                (name, format!("lxc.include = f{next}\n").repeat(4))
            })
            .chain([("f12".to_owned(), String::new())])
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        let text = read(&place(&files)).unwrap_err().chain();
        assert!(text.contains("too much"), "{text}");
    }

    #[test]
    fn what_is_no_readable_text_file_is_refused() {
        let dir = place(&[("config", "lxc.include = /dev/zero\n")]);
        let text = read(&dir).unwrap_err().chain();
        assert!(text.ends_with("/dev/zero is not a file"), "{text}");
        fs::write(
            dir.path().join("config"),
            b"lxc.arch = a\nlxc.uts.name = \xff\n",
        )
        .unwrap();
        let text = read(&dir).unwrap_err().chain();
        assert!(text.ends_with("config:2: this line is not UTF-8"), "{text}");
    }

    #[test]
    fn a_line_without_an_equals_sign_is_an_error() {
        let dir = place(&[("config", "lxc.uts.name\n")]);
        let text = read(&dir).unwrap_err().chain();
        assert!(
            text.ends_with("config:1: \"lxc.uts.name\" has no \"=\""),
            "{text}"
        );
    }
}
