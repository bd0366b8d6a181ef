//! Which packages a package needs.
//!
//! Two ways, because two things are wanted. [`first_alternatives`] is debootstrap's: names only,
//! the first alternative only, what does not exist is passed over; with it our base systems are
//! debootstrap's. [`Solver`] is for what people add: versions, virtual packages, the highest
//! version, conflicts; it searches until a set is found or there is none.

mod explain;
mod solver;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use solver::Solver;

use crate::{
    Error, Result,
    packages::{Index, Package},
    relation::{self, Group, Operator, Relation},
};

/// The one package that debootstrap never takes: it would merge /usr by moving files, and our
/// trees are merged from the start.
const NEVER: &str = "usrmerge";

/// Packages that are never chosen.
#[derive(Debug, Clone, Default)]
pub struct Excluded<'x> {
    names: BTreeSet<&'x str>,
}

impl<'x> Excluded<'x> {
    /// What a person does not want. A name that the archive does not have is a mistake, and what
    /// is marked Essential may be needed by any package without a word.
    pub fn new(index: &Index<'_>, names: &[&'x str]) -> Result<Self> {
        for name in names {
            let error = |message, hint| Err(Error::Unsatisfiable { message, hint });
            let Some(package) = index.last(name) else {
                let nearest = sampan_core::nearest(name, index.names());
                return error(
                    format!(
                        "cannot exclude {}: there is no such package",
                        name.escape_debug()
                    ),
                    nearest.map(|name| format!("did you mean `{name}`?")),
                );
            };
            if package.essential {
                return error(
                    format!(
                        "cannot exclude {name}: it is marked Essential, so that every package may need it without saying so"
                    ),
                    None,
                );
            }
        }
        Ok(Self {
            names: names.iter().copied().collect(),
        })
    }

    /// Whether a package is never chosen.
    pub fn has(&self, name: &str) -> bool {
        name == NEVER || self.names.contains(name)
    }
}

/// The closure of `roots` by debootstrap's rule.
pub fn first_alternatives<'t>(
    index: &Index<'t>,
    roots: impl IntoIterator<Item = &'t str>,
    excluded: &Excluded<'_>,
) -> Result<BTreeMap<&'t str, Package<'t>>> {
    let mut chosen = BTreeMap::new();
    let mut queue: VecDeque<&'t str> = roots.into_iter().collect();
    queue.retain(|name| !excluded.has(name));
    while let Some(name) = queue.pop_front() {
        let Some(package) = index.last(name).filter(|_| !chosen.contains_key(name)) else {
            continue;
        };
        chosen.insert(package.name, *package);
        for group in needs(package)? {
            let first = group.iter().find(|relation| !excluded.has(relation.name));
            queue.extend(first.map(|relation| relation.name));
        }
    }
    Ok(chosen)
}

/// Pre-Depends and Depends.
pub fn needs<'t>(package: &Package<'t>) -> Result<Vec<Group<'t>>> {
    let mut groups = relation::parse(package.pre_depends, package.name)?;
    groups.extend(relation::parse(package.depends, package.name)?);
    Ok(groups)
}

/// Names with versions that a package provides.
pub fn provided<'t>(package: &Package<'t>) -> Result<Vec<(&'t str, Option<&'t str>)>> {
    let groups = relation::parse(package.provides, package.name)?;
    Ok(groups
        .into_iter()
        .flatten()
        .map(|relation| match relation.constraint {
            Some((Operator::Equal, version)) => (relation.name, Some(version)),
            _ => (relation.name, None),
        })
        .collect())
}

/// Conflicts and Breaks.
fn refusals<'t>(package: &Package<'t>) -> Result<Vec<Relation<'t>>> {
    let mut groups = relation::parse(package.conflicts, package.name)?;
    groups.extend(relation::parse(package.breaks, package.name)?);
    Ok(groups.into_iter().flatten().collect())
}

/// Whether a provided name serves: with a version wanted, only a version provided does
/// (Policy 7.5).
fn serves(relation: &Relation<'_>, provided: Option<&str>) -> bool {
    match provided {
        Some(version) => relation.allows(version),
        None => relation.constraint.is_none(),
    }
}
