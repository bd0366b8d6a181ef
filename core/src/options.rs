//! From `-o KEY=VALUE` to checked values, by the declarations in [`Description`].

use std::collections::BTreeMap;

use crate::{Description, OptionKind, OptionSpec, TemplateError};

/// Checked option values by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Options(BTreeMap<String, String>);

/// Why an option was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// Not `KEY=VALUE`.
    #[error("`{0}` is not KEY=VALUE")]
    Malformed(String),
    /// The template has no such option.
    #[error("template {template} has no option `{name}`")]
    Unknown {
        /// The template.
        template: String,
        /// What was typed.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// An option that takes one value was given twice.
    #[error("option `{0}` is given twice")]
    Twice(String),
    /// The value does not fit the option.
    #[error("option `{name}` cannot be `{value}`: {reason}")]
    BadValue {
        /// The option.
        name: String,
        /// What was typed.
        value: String,
        /// Why it does not fit.
        reason: String,
        /// The nearest allowed value.
        nearest: Option<String>,
    },
}

impl OptionError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed(_) => Some("write it as -o suite=trixie".to_owned()),
            Self::Unknown {
                template, nearest, ..
            } => Some(match nearest {
                Some(name) => {
                    format!("did you mean `{name}`? See: sampan template show {template}")
                }
                None => format!("see: sampan template show {template}"),
            }),
            Self::BadValue {
                nearest: Some(value),
                ..
            } => Some(format!("did you mean `{value}`?")),
            Self::Twice(_) | Self::BadValue { nearest: None, .. } => None,
        }
    }
}

impl Options {
    /// Reads `KEY=VALUE` words, checks them against the description and fills in the defaults.
    /// Files and host mirrors are left as typed: only the host can look them up.
    pub fn parse<S: AsRef<str>>(
        description: &Description,
        words: &[S],
    ) -> Result<Self, OptionError> {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for word in words {
            let word = word.as_ref();
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| OptionError::Malformed(word.to_owned()))?;
            let spec = description
                .option(name)
                .ok_or_else(|| OptionError::Unknown {
                    template: description.name.clone(),
                    name: name.to_owned(),
                    nearest: nearest(name, description.options.iter().map(|o| o.name.as_str())),
                })?;
            let value = check(spec, value)?;
            match values.get_mut(name) {
                None => {
                    values.insert(name.to_owned(), value);
                }
                Some(list) if spec.kind == OptionKind::List => {
                    list.push(',');
                    list.push_str(&value);
                }
                Some(_) => return Err(OptionError::Twice(name.to_owned())),
            }
        }
        for spec in &description.options {
            if let Some(default) = &spec.default {
                values
                    .entry(spec.name.clone())
                    .or_insert_with(|| default.clone());
            }
        }
        Ok(Self(values))
    }

    /// The value of an option, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of an option that has a default.
    ///
    /// # Errors
    /// When there is none, which means that the template did not declare it so.
    pub fn require(&self, name: &str) -> Result<&str, TemplateError> {
        self.get(name)
            .ok_or_else(|| TemplateError::bad_option(format!("option `{name}` has no value")))
    }

    /// Whether a boolean option is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// The words of a list option.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.get(name).map(split_list).unwrap_or_default()
    }

    /// Sets a value without a check: for hosts that resolve files and mirrors.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Takes a value away.
    pub fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// All values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }
}

/// The words of a list: separated by commas, without spaces around them, empty ones left out.
pub fn split_list(value: &str) -> Vec<&str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect()
}

/// The candidate nearest to `word`, if any is near enough to have been meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = (word.chars().count() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

fn check(spec: &OptionSpec, value: &str) -> Result<String, OptionError> {
    let bad = |reason: &str, nearest: Option<String>| OptionError::BadValue {
        name: spec.name.clone(),
        value: value.escape_default().to_string(),
        reason: reason.to_owned(),
        nearest,
    };
    if value.chars().any(char::is_control) {
        return Err(bad("it has control characters", None));
    }
    let value = match spec.kind {
        OptionKind::Boolean => match value {
            "true" | "yes" | "on" | "1" => "true".to_owned(),
            "false" | "no" | "off" | "0" => "false".to_owned(),
            _ => return Err(bad("it is neither true nor false", None)),
        },
        OptionKind::Integer => match value.parse::<i64>() {
            Ok(number) => number.to_string(),
            Err(_) => return Err(bad("it is not a whole number", None)),
        },
        OptionKind::List => split_list(value).join(","),
        OptionKind::Mirror => {
            let known = ["http://", "https://", "file://"];
            let addresses = split_list(value);
            let odd = |address: &&str| !known.iter().any(|scheme| address.starts_with(scheme));
            if addresses.is_empty() || addresses.iter().any(odd) {
                return Err(bad(
                    "it begins with none of http://, https://, file://",
                    None,
                ));
            }
            let trimmed = addresses
                .iter()
                .map(|address| address.trim_end_matches('/'));
            trimmed.collect::<Vec<_>>().join(",")
        }
        OptionKind::File if value.is_empty() => return Err(bad("it names no file", None)),
        OptionKind::Text | OptionKind::File => value.to_owned(),
    };
    if spec.allowed.is_empty() {
        return Ok(value);
    }
    let words = match spec.kind {
        OptionKind::List => split_list(&value),
        _ => vec![value.as_str()],
    };
    for word in words {
        if !spec.allowed.iter().any(|allowed| allowed == word) {
            return Err(bad(
                &format!("allowed are {}", spec.allowed.join(", ")),
                nearest(word, spec.allowed.iter().map(String::as_str)),
            ));
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn description() -> Description {
        let mut description = Description::new("debian", "1", "");
        description.options = vec![
            OptionSpec::new("suite", OptionKind::Text, "").default("stable"),
            OptionSpec::new("variant", OptionKind::Text, "").allowed(["minbase", "standard"]),
            OptionSpec::new("include", OptionKind::List, ""),
            OptionSpec::new("recommends", OptionKind::Boolean, ""),
            OptionSpec::new("mirror", OptionKind::Mirror, "").mirror_of("debian"),
        ];
        description
    }

    #[test]
    fn defaults_are_filled_in_and_lists_add_up() {
        let options = Options::parse(
            &description(),
            &["include=a, b", "include=c", "recommends=yes"],
        )
        .unwrap();
        assert_eq!(options.get("suite"), Some("stable"));
        assert_eq!(options.list("include"), ["a", "b", "c"]);
        assert!(options.is_on("recommends"));
        assert_eq!(options.get("variant"), None);
    }

    #[test]
    fn an_unknown_option_names_the_nearest() {
        let error = Options::parse(&description(), &["siute=x"]).unwrap_err();
        assert_eq!(error.to_string(), "template debian has no option `siute`");
        assert!(error.hint().unwrap().contains("`suite`"));
    }

    #[test]
    fn a_value_that_is_not_allowed_names_the_allowed() {
        let error = Options::parse(&description(), &["variant=minbsae"]).unwrap_err();
        assert!(error.to_string().contains("minbase, standard"));
        assert_eq!(error.hint().unwrap(), "did you mean `minbase`?");
    }

    #[test]
    fn a_single_value_given_twice_is_refused() {
        let error = Options::parse(&description(), &["suite=a", "suite=b"]).unwrap_err();
        assert_eq!(error, OptionError::Twice("suite".to_owned()));
    }

    #[test]
    fn a_mirror_without_a_scheme_is_refused() {
        assert!(Options::parse(&description(), &["mirror=example.org"]).is_err());
    }

    #[test]
    fn several_mirrors_are_separated_by_commas_and_each_is_checked() {
        let parse = |value: &str| Options::parse(&description(), &[format!("mirror={value}")]);
        let options = parse("http://a.example/debian/, file:///srv/debian").unwrap();
        assert_eq!(
            options.list("mirror"),
            ["http://a.example/debian", "file:///srv/debian"]
        );
        assert!(parse("http://a.example,ftp://b.example").is_err());
        assert!(parse(",").is_err());
    }

    #[test]
    fn nothing_far_away_is_suggested() {
        assert_eq!(nearest("zzz", ["suite", "mirror"]), None);
    }

    proptest! {
        #[test]
        fn any_words_give_an_answer_without_panic(words in proptest::collection::vec(".*", 0..4)) {
            let _ = Options::parse(&description(), &words);
        }

        #[test]
        fn a_parsed_list_is_a_fixed_point(value in "[a-z, ]{0,20}") {
            let words = [format!("include={value}")];
            let options = Options::parse(&description(), &words).unwrap();
            let once = options.get("include").unwrap_or_default().to_owned();
            let again = Options::parse(&description(), &[format!("include={once}")]).unwrap();
            prop_assert_eq!(again.get("include").unwrap_or_default(), once);
        }
    }
}
