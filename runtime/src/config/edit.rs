//! Changing keys of a config by their name of today, whatever its lines are written in.

use std::path::Path;

use super::counting::values_of;
use super::effective::{Assignment, effective};
use super::file::{ConfigFile, Row};
use super::keys::{self, Key};
use super::legacy::{Modernizer, today};
use super::settings::{Problem, read};
use crate::error::{Error, Result};

impl ConfigFile {
    /// Gives a key these values and no others. The place and the name of its last line are kept.
    ///
    /// # Errors
    /// The key or a value cannot stand in a config, or the key holds one value only.
    pub fn assign(&mut self, key: &str, values: &[String]) -> Result<()> {
        let key = checked(key, values)?;
        if values.len() > 1 && !is_list(&key) {
            return Err(Error::user(format!("{key} holds one value")));
        }
        let last = self.last_of(&key);
        let name = last.map(|row| self.written(row));
        let name = name.as_deref().unwrap_or(&key);
        // Where the last one will be when those before it are gone.
        let mut place = last.map(|last| {
            let before = self.rows_of(&key).into_iter().filter(|row| *row < last);
            last - before.count()
        });
        let names = self.names();
        let mut index = 0;
        self.rows.retain(|_| {
            index += 1;
            names[index - 1].as_deref() != Some(&key)
        });
        let mut rows: Vec<Row> = values.iter().map(|value| Row::pair(name, value)).collect();
        // What included files say is before these lines, and forgotten.
        if self.others_say(&key) {
            place = None;
            if is_list(&key) && values.iter().any(|value| !value.is_empty()) {
                rows.insert(0, Row::pair(name, ""));
            }
        }
        let place = place.unwrap_or(self.rows.len());
        self.insert(place, rows);
        Ok(())
    }

    /// Gives a key that holds several values one more.
    ///
    /// # Errors
    /// The key or the value cannot stand in a config, or the key holds one value only.
    pub fn add(&mut self, key: &str, value: &str) -> Result<()> {
        let key = checked(key, &[value.to_owned()])?;
        if !is_list(&key) {
            return Err(Error::user(format!(
                "{key} holds one value, so that none can be added"
            )));
        }
        let last = self.last_of(&key);
        let name = last.map_or(key.clone(), |row| self.written(row));
        let place = match last {
            // One that is forgotten later in the file would be forgotten too.
            Some(last) if !self.others_say(&key) => last + 1,
            _ => self.rows.len(),
        };
        self.insert(place, vec![Row::pair(&name, value)]);
        Ok(())
    }

    /// Removes all lines with a key.
    ///
    /// # Errors
    /// There is none in this file: whether one that it includes has one.
    pub fn unset(&mut self, key: &str) -> Result<()> {
        let key = checked(key, &[])?;
        let names = self.names();
        if !names.iter().flatten().any(|name| *name == key) {
            let path = self.path().display();
            return Err(match self.others(&key).last() {
                Some(line) => Error::user(format!(
                    "{key} is set in {}, which {path} includes, not in {path} itself",
                    line.place()
                ))
                .with_hint("an empty value resets it: set it to \"\""),
                None => Error::user(format!("{key} is not set in {path}")),
            });
        }
        let mut index = 0;
        self.rows.retain(|_| {
            index += 1;
            names[index - 1].as_deref() != Some(&key)
        });
        Ok(())
    }

    /// For each row the key in today's words.
    fn names(&self) -> Vec<Option<String>> {
        let mut names = Modernizer::default();
        self.rows
            .iter()
            .map(|row| row.pair.as_ref().map(|(key, _)| names.modernise(key)))
            .collect()
    }

    fn rows_of(&self, key: &str) -> Vec<usize> {
        let names = self.names();
        (0..names.len())
            .filter(|row| names[*row].as_deref() == Some(key))
            .collect()
    }

    fn last_of(&self, key: &str) -> Option<usize> {
        self.rows_of(key).last().copied()
    }

    /// The key of a row as it is written.
    fn written(&self, row: usize) -> String {
        let pair = self.rows.get(row).and_then(|row| row.pair.as_ref());
        pair.map(|(key, _)| key.clone()).unwrap_or_default()
    }

    /// What included files say of a key. One that cannot be read says nothing here: that is told
    /// when the whole is checked.
    fn others(&self, key: &str) -> Vec<Assignment> {
        let own: &Path = self.path();
        let mut lines = values_of(effective(self).unwrap_or_default(), key);
        lines.retain(|line| *line.file != *own);
        lines
    }

    fn others_say(&self, key: &str) -> bool {
        !self.others(key).is_empty()
    }

    fn insert(&mut self, place: usize, rows: Vec<Row>) {
        if place >= self.rows.len() {
            self.end_last_line();
        }
        self.rows.splice(place..place, rows);
    }
}

/// The problems of a config: those that a former text does not have, and those it has as well.
pub(crate) fn new_problems(before: &ConfigFile, after: &ConfigFile) -> (Vec<Error>, Vec<Error>) {
    let mut known: Vec<Problem> = read(before).1;
    let (mut new, mut old) = (Vec::new(), Vec::new());
    for problem in read(after).1 {
        match known.iter().position(|known| known.what == problem.what) {
            Some(at) => {
                known.swap_remove(at);
                old.push(problem.into());
            }
            None => new.push(problem.into()),
        }
    }
    (new, old)
}

fn is_list(key: &str) -> bool {
    keys::find(key).is_some_and(|key: &Key| key.list)
}

/// A key in today's words, if it and the values can stand in a config.
fn checked(key: &str, values: &[String]) -> Result<String> {
    let key = today(key);
    let begins = key.starts_with("lxc.") || key.starts_with("sampan.");
    if !begins || key.contains(|c: char| c.is_whitespace() || c.is_control() || c == '=') {
        return Err(Error::user(format!("\"{key}\" is not a key"))
            .with_hint("a key is one word that begins with \"lxc.\" or \"sampan.\""));
    }
    let broken = |value: &&String| value.contains(['\n', '\r', '\0']);
    if let Some(value) = values.iter().find(broken) {
        return Err(Error::user(format!(
            "the value {value:?} of {key} has a line break or a zero byte, which no line of a config can hold"
        )));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> ConfigFile {
        ConfigFile::parse(Path::new("/no/such/config"), text)
    }

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn a_legacy_line_is_changed_in_its_own_words() {
        let mut config = file(
            "# a\nlxc.utsname = old\nfoo\nlxc.network.type = veth\nlxc.network.flags = down\n",
        );
        config.assign("lxc.uts.name", &texts(&["new"])).unwrap();
        config.assign("lxc.net.0.flags", &texts(&["up"])).unwrap();
        config.assign("lxc.tty", &texts(&["0"])).unwrap();
        assert_eq!(
            config.to_string(),
            "# a\nlxc.utsname = new\nfoo\nlxc.network.type = veth\nlxc.network.flags = up\nlxc.tty.max = 0\n"
        );
        config.unset("lxc.utsname").unwrap();
        assert!(!config.to_string().contains("utsname"));
        assert!(config.unset("lxc.uts.name").is_err());
    }

    #[test]
    fn a_list_gets_its_values_where_its_last_line_was() {
        let mut config = file("lxc.cap.drop = a\n#x\nlxc.cap.drop = b\nlxc.arch = x86_64");
        config.assign("lxc.cap.drop", &texts(&["c", "d"])).unwrap();
        config.add("lxc.cap.drop", "e").unwrap();
        config.add("lxc.environment", "A=b").unwrap();
        assert_eq!(
            config.to_string(),
            "#x\nlxc.cap.drop = c\nlxc.cap.drop = d\nlxc.cap.drop = e\nlxc.arch = x86_64\nlxc.environment = A=b\n"
        );
        assert!(config.add("lxc.arch", "x").is_err());
        assert!(config.assign("lxc.arch", &texts(&["x", "y"])).is_err());
    }

    #[test]
    fn what_an_included_file_says_is_overridden() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("more"),
            "lxc.uts.name = m\nlxc.cap.drop = mknod\n",
        )
        .unwrap();
        let text = "lxc.uts.name = a\nlxc.include = more\n";
        let mut config = ConfigFile::parse(&dir.path().join("config"), text);
        config.assign("lxc.uts.name", &texts(&["b"])).unwrap();
        config
            .assign("lxc.cap.drop", &texts(&["sys_time"]))
            .unwrap();
        let values = |config: &ConfigFile, key: &str| -> Vec<String> {
            let lines = values_of(effective(config).unwrap(), key);
            lines.into_iter().map(|line| line.value).collect()
        };
        assert_eq!(values(&config, "lxc.uts.name"), ["b"]);
        assert_eq!(values(&config, "lxc.cap.drop"), ["sys_time"]);
        config.unset("lxc.cap.drop").unwrap();
        assert_eq!(values(&config, "lxc.cap.drop"), ["mknod"]);
        let error = config.unset("lxc.cap.drop").unwrap_err();
        assert!(error.to_string().contains("/more:2"), "{error}");
    }

    #[test]
    fn no_key_or_value_becomes_another_line() {
        let mut config = file("");
        for key in [
            "uts.name",
            "lxc.a b",
            "lxc.a=b",
            "lxc.a\nlxc.b",
            "#lxc.a",
            "",
        ] {
            assert!(config.assign(key, &texts(&["x"])).is_err(), "{key}");
        }
        assert!(
            config
                .assign("lxc.uts.name", &texts(&["a\nlxc.arch = b"]))
                .is_err()
        );
        assert_eq!(config.to_string(), "");
    }

    #[test]
    fn a_problem_that_was_there_before_is_not_new() {
        let before = file("lxc.rootfs.path = /r\nlxc.net.0.veth.n_rxqueues = 1\n");
        let mut after = before.clone();
        after.push("lxc.uts.nam", "a");
        let (new, old) = new_problems(&before, &after);
        assert_eq!((new.len(), old.len()), (1, 1));
        assert!(new[0].hint().unwrap().contains("lxc.uts.name"));
        let (new, old) = new_problems(&after, &before);
        assert_eq!((new.len(), old.len()), (0, 1));
    }

    proptest! {
        #[test]
        fn what_is_set_is_got_and_other_lines_stay(
            key in "lxc\\.(uts\\.name|cap\\.drop|environment|cgroup2\\.memory\\.max|utsname|prlimit\\.[a-z]{1,8})",
            value in "[^\r\n\0]{1,30}",
            text in "((#.{0,9}|lxc\\.(utsname|cap\\.drop|arch|limit\\.a|network\\.type) ?= ?[a-z]{0,5}|.{0,9})\n){0,9}",
        ) {
            // Somebody's text that includes a file is another test's.
            prop_assume!(!text.contains("lxc.include"));
            let mut config = file(&text);
            prop_assume!(config.lines().all(|line| line.assigns));
            let name = today(&key);
            let kept: Vec<_> = config.lines().filter(|l| today(&l.key) != name).collect();
            config.assign(&key, std::slice::from_ref(&value)).unwrap();
            let again = file(&config.to_string());
            let got = values_of(effective(&again).unwrap(), &name);
            prop_assert_eq!(got.len(), 1);
            prop_assert_eq!(&got[0].value, &value);
            let still: Vec<_> = again.lines().filter(|l| today(&l.key) != name).collect();
            prop_assert!(kept.iter().map(|l| (&l.key, &l.value)).eq(still.iter().map(|l| (&l.key, &l.value))));
            config.unset(&key).unwrap();
            prop_assert_eq!(config.lines().count(), kept.len());
        }
    }
}
