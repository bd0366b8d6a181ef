//! Relations between packages: `a (>= 1) | b, c:any` (Debian Policy 7.1).

use std::{cmp::Ordering, fmt};

use crate::{Error, Result, packages::is_package_name, version};

/// One alternative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'t> {
    /// The package's name, real or virtual.
    pub name: &'t str,
    /// What follows `:`, such as `any`.
    pub qualifier: Option<&'t str>,
    /// The versions that do.
    pub constraint: Option<(Operator, &'t str)>,
}

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterEqual,
    /// `>>`
    Later,
}

/// Alternatives, of which one is enough.
pub type Group<'t> = Vec<Relation<'t>>;

/// Reads a field such as Depends; `what` names the field's owner in errors.
pub fn parse<'t>(field: &'t str, what: &str) -> Result<Vec<Group<'t>>> {
    field
        .split(',')
        .filter(|group| !group.trim_ascii().is_empty())
        .map(|group| group.split('|').map(|one| single(one, what)).collect())
        .collect()
}

/// Reads one relation, such as what a person wants included.
pub fn single<'t>(text: &'t str, what: &str) -> Result<Relation<'t>> {
    let bad = |reason| Error::Relation {
        owner: what.to_owned(),
        relation: text.trim_ascii().escape_debug().to_string(),
        reason,
    };
    let text = text.trim_ascii();
    let end = text
        .find(|c: char| c.is_ascii_whitespace() || matches!(c, '(' | '[' | '<' | ':'))
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    if !is_package_name(name) {
        return Err(bad("it does not begin with a package's name"));
    }
    let mut qualifier = None;
    if let Some(after) = rest.strip_prefix(':') {
        let end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .unwrap_or(after.len());
        if end == 0 {
            return Err(bad("nothing follows the colon"));
        }
        qualifier = Some(&after[..end]);
        rest = &after[end..];
    }
    rest = rest.trim_ascii();
    let mut constraint = None;
    if let Some(after) = rest.strip_prefix('(') {
        let (inside, after) = after
            .split_once(')')
            .ok_or_else(|| bad("a bracket is not closed"))?;
        let inside = inside.trim_ascii();
        let (operator, length) = match inside.as_bytes() {
            [b'<', b'<', ..] => (Operator::Earlier, 2),
            [b'<', b'=', ..] => (Operator::EarlierEqual, 2),
            [b'>', b'=', ..] => (Operator::LaterEqual, 2),
            [b'>', b'>', ..] => (Operator::Later, 2),
            // Deprecated, and they mean what they do not look like (Policy 7.1).
            [b'<', ..] => (Operator::EarlierEqual, 1),
            [b'>', ..] => (Operator::LaterEqual, 1),
            [b'=', ..] => (Operator::Equal, 1),
            _ => return Err(bad("it has no operator such as >=")),
        };
        let number = inside[length..].trim_ascii();
        if !version::is_valid(number) {
            return Err(bad("its version is not a version"));
        }
        constraint = Some((operator, number));
        rest = after.trim_ascii();
    }
    if !rest.is_empty() {
        return Err(bad("something follows that has no meaning here"));
    }
    Ok(Relation {
        name,
        qualifier,
        constraint,
    })
}

impl Relation<'_> {
    /// Whether a package of this version does.
    pub fn allows(&self, candidate: &str) -> bool {
        let Some((operator, wanted)) = self.constraint else {
            return true;
        };
        let order = version::compare(candidate, wanted);
        match operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = self.constraint {
            let operator = match operator {
                Operator::Earlier => "<<",
                Operator::EarlierEqual => "<=",
                Operator::Equal => "=",
                Operator::LaterEqual => ">=",
                Operator::Later => ">>",
            };
            write!(f, " ({operator} {version})")?;
        }
        Ok(())
    }
}

/// `a (>= 1) | b`.
pub fn display(group: &[Relation<'_>]) -> String {
    let words: Vec<String> = group.iter().map(Relation::to_string).collect();
    words.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn alternatives_versions_and_qualifiers_are_read() {
        let groups = parse("libc6 (>= 2.36), perl:any | awk(<<2),\n x", "p").unwrap();
        let shown: Vec<String> = groups.iter().map(|g| display(g)).collect();
        assert_eq!(shown, ["libc6 (>= 2.36)", "perl:any | awk (<< 2)", "x"]);
        assert!(groups[0][0].allows("2.36-9"));
        assert!(!groups[0][0].allows("2.31"));
    }

    #[test]
    fn nonsense_is_refused_with_its_owner() {
        for bad in [
            "A",
            "a (1)",
            "a (>= 1",
            "a (>= 1) x",
            "a:",
            "../x",
            "a (>= 1/2)",
        ] {
            let error = single(bad, "package p").unwrap_err().to_string();
            assert!(error.contains("package p"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _ = parse(&text, "p");
        }

        #[test]
        fn what_is_written_is_read_back(
            text in "[a-z]{2,5}(:any)?( \\((<<|<=|=|>=|>>) [0-9]{1,3}\\))?( \\| [a-z]{2,4}){0,2}"
        ) {
            let groups = parse(&text, "p").unwrap();
            prop_assert_eq!(display(&groups[0]), text);
        }
    }
}
