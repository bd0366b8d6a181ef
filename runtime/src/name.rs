//! Names of containers.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A valid name: 1 to 63 letters, digits, `.`, `_` and `-`, a letter or digit first. So it is also
/// a file name, a part of a host name, and never an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName(String);

impl ContainerName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that nobody else chooses: this, and eight random digits.
    ///
    /// # Errors
    /// It does not begin as a name does.
    pub fn random(prefix: &str) -> crate::Result<ContainerName> {
        format!("{prefix}{:08x}", rand::random::<u32>()).parse()
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerName {
    type Err = Error;

    fn from_str(text: &str) -> Result<ContainerName> {
        let Some(problem) = problem_of(text) else {
            return Ok(ContainerName(text.to_owned()));
        };
        let error = Error::user(format!(
            "\"{text}\" is not a container's name: it {problem}"
        ));
        Err(match suggestion(text) {
            Some(name) => error.with_hint(format!("{name} would do")),
            None => error.with_hint("a name is 1 to 63 letters, digits, \".\", \"_\" and \"-\""),
        })
    }
}

/// Why a text is no name.
fn problem_of(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.len() > 63 {
        Some("is longer than 63 characters")
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("does not begin with a letter or digit")
    } else if !text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    {
        Some("has characters other than letters, digits, \".\", \"_\" and \"-\"")
    } else if text.ends_with(".lock") {
        Some("ends with \".lock\"")
    } else {
        None
    }
}

fn suggestion(text: &str) -> Option<String> {
    let name: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(63)
        .collect();
    let name = name
        .trim_end_matches(".lock")
        .trim_end_matches('-')
        .to_owned();
    problem_of(&name).is_none().then_some(name)
}

/// The names most like a wrong one, at most three.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(usize, &str)> = names
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .collect();
    scored.sort();
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y))
                .min(above + 1)
                .min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass_and_bad_ones_get_a_suggestion() {
        for good in ["web", "a", "web-1.example_x", "0day"] {
            assert_eq!(good.parse::<ContainerName>().unwrap().as_str(), good);
        }
        let error = "my web!".parse::<ContainerName>().unwrap_err();
        assert!(error.to_string().contains("characters other than"));
        assert_eq!(error.hint(), Some("my-web would do"));
        let long = "x".repeat(64);
        for bad in [
            "", ".hidden", "-rf", "a/b", "..", "x.lock", "a\n", "é", &long,
        ] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_names_come_first() {
        let names = ["web", "mail", "web2"];
        assert_eq!(nearest("wbe", names.into_iter())[0], "web");
        assert!(nearest("zzzzzz", names.into_iter()).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<ContainerName>();
        }
    }
}
