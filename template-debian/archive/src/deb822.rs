//! Stanzas of `Field: value` lines: Release, Packages, control and .sources files (deb822(5)).
//!
//! Zero-copy: a Packages file has 60 MB and most of it is never looked at.

use crate::{Error, Result};

/// No stanza has more fields; the longest ones of Debian have some forty.
const FIELDS: usize = 256;

/// One stanza. Field names compare without regard to case; a field given twice is refused when
/// the stanza is read, because two readers may then disagree about its meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stanza<'t> {
    fields: Vec<(&'t str, &'t str)>,
}

impl<'t> Stanza<'t> {
    /// The value of a field: without the space around it, continuation lines as they stand.
    pub fn get(&self, name: &str) -> Option<&'t str> {
        self.fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'t str, &'t str)> + '_ {
        self.fields.iter().copied()
    }
}

/// Reads stanzas one after another; `what` names the text in errors.
pub fn stanzas<'t>(text: &'t str, what: &'t str) -> Stanzas<'t> {
    Stanzas {
        text,
        what,
        offset: 0,
        line: 0,
        failed: false,
    }
}

/// Reads a text that holds exactly one stanza.
pub fn single<'t>(text: &'t str, what: &'t str) -> Result<Stanza<'t>> {
    let mut stanzas = stanzas(text, what);
    let first = stanzas.next().unwrap_or(Ok(Stanza::default()))?;
    match stanzas.next() {
        None => Ok(first),
        Some(_) => Err(Error::syntax(
            what,
            stanzas.line,
            "a second stanza where one was expected",
        )),
    }
}

/// The iterator of [`stanzas`].
#[derive(Debug)]
pub struct Stanzas<'t> {
    text: &'t str,
    what: &'t str,
    offset: usize,
    line: usize,
    failed: bool,
}

impl<'t> Stanzas<'t> {
    /// The next line and the offset where it begins.
    fn next_line(&mut self) -> Option<(usize, &'t str)> {
        let start = self.offset;
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let line = match rest.find('\n') {
            Some(end) => {
                self.offset += end + 1;
                &rest[..end]
            }
            None => {
                self.offset = self.text.len();
                rest
            }
        };
        self.line += 1;
        Some((start, line))
    }

    fn read(&mut self) -> Result<Option<Stanza<'t>>> {
        let mut stanza = Stanza::default();
        while let Some((start, line)) = self.next_line() {
            if line.trim_ascii().is_empty() {
                if stanza.fields.is_empty() {
                    continue;
                }
                return Ok(Some(stanza));
            }
            if line.starts_with([' ', '\t']) {
                let Some((_, value)) = stanza.fields.last_mut() else {
                    return Err(self.error("a continuation line without a field"));
                };
                // Both are slices of the one text, and the new line follows the value.
                let value_start = offset_in(self.text, value);
                *value = self.text[value_start..start + line.len()].trim_ascii();
                continue;
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(self.error("a line without a colon"));
            };
            if !is_field_name(name) {
                return Err(self.error("a field name with forbidden characters"));
            }
            if stanza.get(name).is_some() {
                return Err(self.error("a field given twice"));
            }
            if stanza.fields.len() == FIELDS {
                return Err(self.error(&format!("a stanza of more than {FIELDS} fields")));
            }
            stanza.fields.push((name, value.trim_ascii()));
        }
        Ok((!stanza.fields.is_empty()).then_some(stanza))
    }

    fn error(&self, reason: &str) -> Error {
        Error::syntax(self.what, self.line, reason)
    }
}

impl<'t> Iterator for Stanzas<'t> {
    type Item = Result<Stanza<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let read = self.read().transpose();
        self.failed = matches!(read, Some(Err(_)));
        read
    }
}

fn offset_in(text: &str, slice: &str) -> usize {
    (slice.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['#', '-'])
        && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_continuations_and_stanzas_are_read() {
        let text = "Package: a\nDescription: one\n two\n .\n three\n\n\nPackage:b\nTag:\n x\n";
        let read: Vec<_> = stanzas(text, "test").map(Result::unwrap).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].get("package"), Some("a"));
        assert_eq!(read[0].get("Description"), Some("one\n two\n .\n three"));
        assert_eq!(read[1].get("Package"), Some("b"));
        assert_eq!(read[1].get("Tag"), Some("x"));
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        let error = single("Suite: a\nsuite: b\n", "Release").unwrap_err();
        assert!(error.to_string().contains("given twice"), "{error}");
    }

    #[test]
    fn a_continuation_without_a_field_is_refused() {
        assert!(single(" x\n", "Release").is_err());
        assert!(single("nonsense\n", "Release").is_err());
        assert!(single("A: 1\n\nB: 2\n", "Release").is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[A-Za-z: \t\n#é-]{0,200}") {
            for stanza in stanzas(&text, "test") {
                let _ = stanza;
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            fields in proptest::collection::btree_map("[a-z][a-z0-9]{0,8}", "[!-~]{1,10}( [!-~]{1,5}){0,2}", 1..6)
        ) {
            let text: String = fields.iter().map(|(k, v)| format!("{k}: {v}\n")).collect();
            let stanza = single(&text, "test").unwrap();
            let back: Vec<_> = stanza.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(back, fields.into_iter().collect::<Vec<_>>());
        }
    }
}
