//! A config file as text: lines with keys, and everything else kept as it is.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Tried};

/// More than this nobody writes by hand.
const LARGEST: u64 = 1 << 20;

/// A config file. Its lines keep their order and comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    pub(super) rows: Vec<Row>,
}

/// One `key = value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// As written.
    pub key: String,
    /// Without surrounding blanks and one pair of quotes. Empty values reset most keys.
    pub value: String,
    /// Whether it has a `=`. Without one it says nothing, and is an error.
    pub assigns: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// With its line break; the last one may have none.
    text: String,
    /// Key and value, if it is a line of ours or LXC's.
    pub(super) pair: Option<(String, Option<String>)>,
}

impl ConfigFile {
    /// Reads the text of a file. Never fails: as for LXC, a line that does not begin with `lxc.`
    /// (or `sampan.`) says nothing. A line that does but has no `=` is refused when its meaning is
    /// asked for, by [`effective`](super::effective).
    pub fn parse(path: &Path, text: &str) -> ConfigFile {
        ConfigFile {
            path: path.to_path_buf(),
            rows: text.split_inclusive('\n').map(Row::parse).collect(),
        }
    }

    /// Reads a file from disk.
    ///
    /// # Errors
    /// It cannot be read, is no file or too large for a config, or is not UTF-8.
    pub fn read(path: &Path) -> Result<ConfigFile> {
        Ok(ConfigFile::parse(path, &read_text(path)?))
    }

    /// An empty file.
    pub fn new() -> ConfigFile {
        ConfigFile::parse(Path::new("config"), "")
    }

    /// Where it was read from, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All lines with a key, in order.
    pub fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        self.rows.iter().enumerate().filter_map(|(index, row)| {
            let (key, value) = row.pair.clone()?;
            Some(Line {
                number: index + 1,
                key,
                assigns: value.is_some(),
                value: value.unwrap_or_default(),
            })
        })
    }

    /// The lines with one of these keys, in order.
    pub fn lines_of<'a>(&'a self, keys: &'a [&str]) -> impl Iterator<Item = Line> + 'a {
        self.lines()
            .filter(move |line| keys.contains(&line.key.as_str()))
    }

    /// The last value of a key.
    pub fn get(&self, key: &str) -> Option<String> {
        self.lines_of(&[key]).last().map(|line| line.value)
    }

    /// Appends a line. A line break in the value becomes a blank: one call, one line.
    pub fn push(&mut self, key: &str, value: &str) {
        self.end_last_line();
        self.rows.push(Row::pair(key, value));
    }

    /// Appends a comment, or (empty) a blank line.
    pub fn push_comment(&mut self, text: &str) {
        let text = if text.is_empty() {
            "\n".to_owned()
        } else {
            format!("# {}\n", text.replace('\n', " "))
        };
        self.end_last_line();
        self.rows.push(Row { text, pair: None });
    }

    /// Sets a key: the last line with it is changed in place and others with it go; without one, a
    /// line is appended.
    pub fn set(&mut self, key: &str, value: &str) {
        let is_it = |row: &Row| row.pair.as_ref().is_some_and(|(k, _)| k == key);
        let Some(last) = self.rows.iter().rposition(is_it) else {
            return self.push(key, value);
        };
        self.rows[last] = Row::pair(key, value);
        let mut index = 0;
        self.rows.retain(|row| {
            index += 1;
            index - 1 == last || !is_it(row)
        });
    }

    /// Gives lines another value where `edit` answers one for their key and value.
    pub(crate) fn edit_values(&mut self, mut edit: impl FnMut(&str, &str) -> Option<String>) {
        for row in &mut self.rows {
            if let Some((key, Some(value))) = &row.pair
                && let Some(new) = edit(key, value)
            {
                *row = Row::pair(key, &new);
            }
        }
    }

    /// Removes all lines with a key.
    pub fn remove(&mut self, key: &str) {
        self.rows
            .retain(|row| row.pair.as_ref().is_none_or(|(k, _)| k != key));
    }

    /// What is appended begins on a line of its own.
    pub(super) fn end_last_line(&mut self) {
        if let Some(last) = self.rows.last_mut()
            && !last.text.ends_with('\n')
        {
            last.text.push('\n');
        }
    }
}

impl Default for ConfigFile {
    fn default() -> ConfigFile {
        ConfigFile::new()
    }
}

impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            f.write_str(&row.text)?;
        }
        Ok(())
    }
}

impl Row {
    pub(super) fn pair(key: &str, value: &str) -> Row {
        // What quotes or blanks would be taken off when it is read gets a pair more.
        let quoted = unquote(value) != value || value.trim_matches(BLANKS) != value;
        let value = if quoted {
            format!("\"{value}\"")
        } else {
            value.to_owned()
        };
        let line = format!("{key} = {value}").replace(['\n', '\r'], " ");
        Row::parse(&format!("{line}\n"))
    }

    fn parse(text: &str) -> Row {
        // LXC knows no carriage returns, people's editors do.
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line).trim_matches(BLANKS);
        let pair = (line.starts_with("lxc.") || line.starts_with("sampan.")).then(|| {
            match line.split_once('=') {
                Some((key, value)) => {
                    let value = unquote(value.trim_matches(BLANKS));
                    (key.trim_matches(BLANKS).to_owned(), Some(value.to_owned()))
                }
                None => (line.to_owned(), None),
            }
        });
        Row {
            text: text.to_owned(),
            pair,
        }
    }
}

/// What LXC takes for space around keys and values.
const BLANKS: [char; 2] = [' ', '\t'];

/// Reads a file that is written by hand.
///
/// # Errors
/// It cannot be read, is no file or too large, or the line that is not UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let what = || format!("read {}", path.display());
    // Asked before it is opened: a pipe would wait for a writer, a device never end.
    if !fs::metadata(path).tried(what)?.is_file() {
        return Err(Error::user(format!("{} is not a file", path.display())));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).tried(what)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).tried(what)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::user(format!(
            "{} is larger than the {LARGEST} bytes that it may have",
            path.display()
        )));
    }
    String::from_utf8(bytes).map_err(|wrong| {
        let before = &wrong.as_bytes()[..wrong.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::user(format!("{}:{line}: this line is not UTF-8", path.display()))
    })
}

/// One matching pair of quotes around a value is not part of it.
fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> ConfigFile {
        ConfigFile::parse(Path::new("config"), text)
    }

    #[test]
    fn editing_keeps_comments_and_order() {
        let mut file = parse("# mine\nlxc.uts.name = a\n\n# two\nlxc.arch = x\nlxc.uts.name = b\n");
        file.set("lxc.uts.name", "c");
        file.push("lxc.tty.max", "0");
        assert_eq!(
            file.to_string(),
            "# mine\n\n# two\nlxc.arch = x\nlxc.uts.name = c\nlxc.tty.max = 0\n"
        );
        file.remove("lxc.arch");
        assert!(file.get("lxc.arch").is_none());
    }

    #[test]
    fn quotes_blanks_and_foreign_lines_are_read_as_lxc_does() {
        let file = parse("  lxc.init.cmd=\"/sbin/init a\"  \nfoo = bar\n#lxc.arch = x\n");
        assert_eq!(file.get("lxc.init.cmd").unwrap(), "/sbin/init a");
        assert_eq!(file.lines().count(), 1);
    }

    proptest! {
        #[test]
        fn any_text_survives_reading_and_writing(text in "(.{0,40}[\r\n]{0,2}){0,10}") {
            prop_assert_eq!(parse(&text).to_string(), text);
        }

        #[test]
        fn what_is_set_is_read_back(
            value in "[^\r\n]{0,30}",
            text in "(lxc\\.a = [a-z]\n){0,3}(lxc\\.b=1|#x)?",
        ) {
            let mut file = parse(&text);
            let others = file.lines().filter(|line| line.key != "lxc.a").count();
            file.set("lxc.a", &value);
            prop_assert_eq!(file.get("lxc.a").unwrap(), value.clone());
            prop_assert_eq!(file.lines().count(), others + 1);
            let again = parse(&file.to_string());
            prop_assert_eq!(again.get("lxc.a").unwrap(), value);
            prop_assert_eq!(again.lines().count(), others + 1);
        }
    }
}
