//! A config file as text: lines with keys, and everything else kept as it is.

use std::fmt;
use std::path::{Path, PathBuf};

/// A config file. Its lines keep their order and comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    rows: Vec<Row>,
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
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    text: String,
    /// Key and value, if it is a line of ours or LXC's.
    pair: Option<(String, String)>,
}

impl ConfigFile {
    /// Reads the text of a file. Never fails: as for LXC, a line that does not begin with `lxc.`
    /// (or `sampan.`) says nothing. A line that does but has no `=` gets an empty key's meaning in
    /// [`Settings`](super::Settings), which refuses it.
    pub fn parse(path: &Path, text: &str) -> ConfigFile {
        ConfigFile {
            path: path.to_path_buf(),
            rows: text.lines().map(Row::parse).collect(),
        }
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
                value,
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
        self.rows.push(Row::pair(key, value));
    }

    /// Appends a comment, or (empty) a blank line.
    pub fn push_comment(&mut self, text: &str) {
        let text = if text.is_empty() {
            String::new()
        } else {
            format!("# {}", text.replace('\n', " "))
        };
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
            if let Some((key, value)) = &row.pair
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
}

impl Default for ConfigFile {
    fn default() -> ConfigFile {
        ConfigFile::new()
    }
}

impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{}", row.text)?;
        }
        Ok(())
    }
}

impl Row {
    fn pair(key: &str, value: &str) -> Row {
        Row::parse(&format!("{key} = {value}").replace(['\n', '\r'], " "))
    }

    fn parse(text: &str) -> Row {
        let trimmed = text.trim();
        let pair = (trimmed.starts_with("lxc.") || trimmed.starts_with("sampan.")).then(|| {
            let (key, value) = trimmed.split_once('=').unwrap_or((trimmed, ""));
            (key.trim().to_owned(), unquote(value.trim()).to_owned())
        });
        Row {
            text: text.to_owned(),
            pair,
        }
    }
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
        fn any_text_survives_reading_and_writing(text in "([^\r\n]{0,40}\n){0,10}") {
            prop_assert_eq!(parse(&text).to_string(), text);
        }

        #[test]
        fn what_is_set_is_read_back(value in "[a-zA-Z0-9/=: ]{0,30}", text in "(lxc\\.a = [a-z]\n){0,3}") {
            let mut file = parse(&text);
            file.set("lxc.a", value.trim());
            prop_assert_eq!(file.get("lxc.a").unwrap(), value.trim());
            prop_assert_eq!(file.lines().count(), 1);
        }
    }
}
