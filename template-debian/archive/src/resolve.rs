//! Which packages a package needs.
//!
//! Two ways, because two things are wanted. [`first_alternatives`] is debootstrap's: names only,
//! the first alternative only, what does not exist is passed over; with it our base systems are
//! debootstrap's. [`Solver`] is for what people add: versions, virtual packages, the highest
//! version, conflicts; it goes on where it can and never takes a choice back, as apt does.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
};

use crate::{
    Error, Result,
    packages::{Index, Package},
    relation::{self, Group, Operator, Relation},
    version,
};

/// The one package that debootstrap never takes: it would merge /usr by moving files, and our
/// trees are merged from the start.
const NEVER: &str = "usrmerge";

/// The closure of `roots` by debootstrap's rule.
pub fn first_alternatives<'t>(
    index: &Index<'t>,
    roots: impl IntoIterator<Item = &'t str>,
) -> Result<BTreeMap<&'t str, Package<'t>>> {
    let mut chosen = BTreeMap::new();
    let mut queue: VecDeque<&'t str> = roots.into_iter().collect();
    while let Some(name) = queue.pop_front() {
        let Some(package) = index.last(name).filter(|_| !chosen.contains_key(name)) else {
            continue;
        };
        chosen.insert(package.name, *package);
        for group in needs(package)? {
            let first = group.iter().find(|relation| relation.name != NEVER);
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

type Providers<'t> = HashMap<&'t str, Vec<(Package<'t>, Option<&'t str>)>>;

/// A growing set of packages.
pub struct Solver<'i, 't> {
    index: &'i Index<'t>,
    chosen: BTreeMap<&'t str, Package<'t>>,
    /// What the chosen ones provide, by virtual name.
    provides: HashMap<&'t str, Vec<(&'t str, Option<&'t str>)>>,
    /// What all packages provide; most runs never need it.
    providers: OnceCell<Providers<'t>>,
    queue: VecDeque<Package<'t>>,
}

impl<'i, 't> Solver<'i, 't> {
    /// A set that holds these packages, whose needs are not looked at before [`Solver::close`].
    pub fn new(index: &'i Index<'t>, start: &BTreeMap<&'t str, Package<'t>>) -> Result<Self> {
        let mut solver = Self {
            index,
            chosen: BTreeMap::new(),
            provides: HashMap::new(),
            providers: OnceCell::new(),
            queue: VecDeque::new(),
        };
        for package in start.values() {
            solver.choose(*package)?;
        }
        Ok(solver)
    }

    /// Adds a package that a person or variant wants: a name, real or virtual, or
    /// `name=version`.
    pub fn want(&mut self, wanted: &str) -> Result<()> {
        let plain = match wanted.split_once('=') {
            Some((name, version)) => format!("{name} (= {version})"),
            None => wanted.to_owned(),
        };
        let relation = relation::single(&plain, "the option include")?;
        if self.is_met(&relation) {
            return Ok(());
        }
        match self.candidate(&relation)? {
            Some(package) => self.choose(package),
            None => Err(self.unsatisfiable(
                format!("cannot include {wanted}"),
                std::slice::from_ref(&relation),
            )),
        }
    }

    /// Adds what the chosen packages need, and refuses a set with conflicts.
    pub fn close(mut self) -> Result<BTreeMap<&'t str, Package<'t>>> {
        while let Some(package) = self.queue.pop_front() {
            for group in needs(&package)? {
                if group.iter().any(|relation| self.is_met(relation)) {
                    continue;
                }
                let mut found = None;
                for relation in group.iter().filter(|relation| relation.name != NEVER) {
                    found = self.candidate(relation)?;
                    if found.is_some() {
                        break;
                    }
                }
                match found {
                    Some(found) => self.choose(found)?,
                    None => {
                        let (name, version) = (package.name, package.version);
                        let needed = relation::display(&group);
                        let message =
                            format!("cannot install {name}: {name} {version} depends on {needed}");
                        return Err(self.unsatisfiable(message, &group));
                    }
                }
            }
        }
        for package in self.chosen.values() {
            if let Some((relation, other)) = self.conflict(package)? {
                let (name, version) = (package.name, package.version);
                return Err(Error::Unsatisfiable {
                    message: format!(
                        "cannot install {name} together with {}: {name} {version} conflicts with \
                         {relation}",
                        other.name
                    ),
                    hint: None,
                });
            }
        }
        Ok(self.chosen)
    }

    fn choose(&mut self, package: Package<'t>) -> Result<()> {
        for (name, version) in provided(&package)? {
            let providers = self.provides.entry(name).or_default();
            providers.push((package.name, version));
        }
        self.chosen.insert(package.name, package);
        self.queue.push_back(package);
        Ok(())
    }

    fn is_met(&self, relation: &Relation<'_>) -> bool {
        let real = self.chosen.get(relation.name);
        real.is_some_and(|package| relation.allows(package.version))
            || self
                .provides
                .get(relation.name)
                .is_some_and(|list| list.iter().any(|(_, version)| serves(relation, *version)))
    }

    /// The package to take for a relation: the highest version of the real package, else the
    /// provider with the highest priority, by name where that is equal.
    fn candidate(&self, relation: &Relation<'_>) -> Result<Option<Package<'t>>> {
        let mut real: Vec<Package<'t>> = self
            .index
            .versions(relation.name)
            .filter(|package| relation.allows(package.version))
            .copied()
            .collect();
        real.sort_by(|a, b| version::compare(b.version, a.version));
        let mut virtually: Vec<Package<'t>> = self
            .providers()?
            .get(relation.name)
            .into_iter()
            .flatten()
            .filter(|(_, version)| serves(relation, *version))
            .map(|(package, _)| *package)
            .collect();
        virtually.sort_by(|a, b| {
            (priority(a), a.name)
                .cmp(&(priority(b), b.name))
                .then_with(|| version::compare(b.version, a.version))
        });
        for package in real.into_iter().chain(virtually) {
            // Another version of it was chosen already, or it cannot stand beside the others.
            let possible = package.name != NEVER
                && !self.chosen.contains_key(package.name)
                && self.conflict(&package)?.is_none();
            if possible {
                return Ok(Some(package));
            }
        }
        Ok(None)
    }

    fn providers(&self) -> Result<&Providers<'t>> {
        if let Some(providers) = self.providers.get() {
            return Ok(providers);
        }
        let mut providers = Providers::new();
        for package in self
            .index
            .iter()
            .filter(|package| !package.provides.is_empty())
        {
            for (name, version) in provided(package)? {
                providers.entry(name).or_default().push((*package, version));
            }
        }
        Ok(self.providers.get_or_init(|| providers))
    }

    /// What of the chosen packages `package` cannot stand beside, in either direction.
    fn conflict(&self, package: &Package<'t>) -> Result<Option<(String, Package<'t>)>> {
        for relation in refusals(package)? {
            if let Some(other) = self.chosen.get(relation.name)
                && other.name != package.name
                && relation.allows(other.version)
            {
                return Ok(Some((relation.to_string(), *other)));
            }
            let providers = self.provides.get(relation.name).into_iter().flatten();
            for (provider, version) in providers {
                if *provider != package.name && serves(&relation, *version) {
                    let other = self.chosen.get(provider).copied().unwrap_or(*package);
                    return Ok(Some((relation.to_string(), other)));
                }
            }
        }
        let own = provided(package)?;
        for other in self
            .chosen
            .values()
            .filter(|other| other.name != package.name)
        {
            for relation in refusals(other)? {
                let hit = (relation.name == package.name && relation.allows(package.version))
                    || own.iter().any(|(name, version)| {
                        *name == relation.name && serves(&relation, *version)
                    });
                if hit {
                    return Ok(Some((relation.to_string(), *other)));
                }
            }
        }
        Ok(None)
    }

    /// Why a package that exists cannot be chosen.
    fn obstacle(&self, relation: &Relation<'_>) -> String {
        let name = relation.name;
        if let Some(chosen) = self.chosen.get(name) {
            return format!("version {} of {name} is chosen already", chosen.version);
        }
        let allowed = |package: &&Package<'t>| relation.allows(package.version);
        for package in self.index.versions(name).filter(allowed) {
            if let Ok(Some((_, other))) = self.conflict(package) {
                return format!(
                    "{name} {} conflicts with {}, which is chosen already",
                    package.version, other.name
                );
            }
        }
        format!("{name} is never chosen")
    }

    /// An error that says what there is for each alternative.
    fn unsatisfiable(&self, message: String, group: &[Relation<'_>]) -> Error {
        let mut there = Vec::new();
        let mut nearest = None;
        for relation in group {
            let name = relation.name;
            let versions: BTreeSet<&str> = self
                .index
                .versions(name)
                .map(|package| package.version)
                .collect();
            let versions: Vec<&str> = versions.into_iter().collect();
            if versions.is_empty() {
                there.push(format!(
                    "there is no package {name} and none that provides it"
                ));
                nearest = nearest.or_else(|| sampan_core::nearest(name, self.index.names()));
            } else if versions.iter().any(|version| relation.allows(version)) {
                there.push(self.obstacle(relation));
            } else {
                there.push(format!("of {name} there is only {}", versions.join(", ")));
            }
        }
        Error::Unsatisfiable {
            message: format!("{message}, but {}", there.join(" and ")),
            hint: nearest.map(|name| format!("did you mean `{name}`?")),
        }
    }
}

/// Conflicts and Breaks.
fn refusals<'t>(package: &Package<'t>) -> Result<impl Iterator<Item = Relation<'t>>> {
    let conflicts = relation::parse(package.conflicts, package.name)?;
    let breaks = relation::parse(package.breaks, package.name)?;
    Ok(conflicts.into_iter().chain(breaks).flatten())
}

/// Whether a provided name serves: with a version wanted, only a version provided does
/// (Policy 7.5).
fn serves(relation: &Relation<'_>, provided: Option<&str>) -> bool {
    match provided {
        Some(version) => relation.allows(version),
        None => relation.constraint.is_none(),
    }
}

fn priority(package: &Package<'_>) -> usize {
    let order = ["required", "important", "standard", "optional"];
    let found = order.iter().position(|name| *name == package.priority);
    found.unwrap_or(order.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(stanzas: &[&str]) -> String {
        stanzas
            .iter()
            .map(|stanza| {
                format!(
                    "Package: {stanza}\nArchitecture: all\nFilename: x.deb\nSize: 1\nSHA256: {}\n\n",
                    "0".repeat(64)
                )
            })
            .collect()
    }

    fn solve(stanzas: &[&str], wants: &[&str]) -> std::result::Result<String, String> {
        let text = packages(stanzas);
        let mut index = Index::default();
        index
            .add(&text, "Packages")
            .map_err(|error| error.to_string())?;
        let mut solver = Solver::new(&index, &BTreeMap::new()).map_err(|e| e.to_string())?;
        let solved = wants
            .iter()
            .try_for_each(|want| solver.want(want))
            .and_then(|()| solver.close());
        match solved {
            Ok(set) => {
                let words: Vec<String> = set
                    .values()
                    .map(|p| format!("{} {}", p.name, p.version))
                    .collect();
                Ok(words.join(", "))
            }
            Err(error) => Err(format!("{error} [{}]", error.hint().unwrap_or_default())),
        }
    }

    #[test]
    fn the_highest_version_and_what_it_needs_are_chosen() {
        let there = [
            "a\nVersion: 1",
            "a\nVersion: 2\nDepends: b (>= 1)",
            "b\nVersion: 1",
        ];
        assert_eq!(solve(&there, &["a"]).unwrap(), "a 2, b 1");
        assert_eq!(solve(&there, &["a=1"]).unwrap(), "a 1");
    }

    #[test]
    fn a_virtual_package_is_served_by_the_most_important_provider() {
        let there = [
            "x\nVersion: 1\nProvides: mta",
            "y\nVersion: 1\nProvides: mta (= 3)\nPriority: important",
            "a\nVersion: 1\nDepends: mta",
            "b\nVersion: 1\nDepends: mta (>= 4)",
        ];
        assert_eq!(solve(&there, &["a"]).unwrap(), "a 1, y 1");
        assert_eq!(solve(&there, &["x", "a"]).unwrap(), "a 1, x 1");
        assert!(solve(&there, &["b"]).is_err());
    }

    #[test]
    fn a_set_that_cannot_be_names_package_dependency_and_versions() {
        let there = ["a\nVersion: 1\nDepends: b (>= 2)", "b\nVersion: 1"];
        let error = solve(&there, &["a"]).unwrap_err();
        assert_eq!(
            error,
            "cannot install a: a 1 depends on b (>= 2), but of b there is only 1 []"
        );
        let error = solve(&["nano\nVersion: 1"], &["nanno"]).unwrap_err();
        assert!(
            error.contains("no package nanno") && error.contains("`nano`"),
            "{error}"
        );
    }

    #[test]
    fn an_alternative_without_conflict_is_preferred() {
        let there = [
            "a\nVersion: 1\nConflicts: b",
            "b\nVersion: 1",
            "c\nVersion: 1",
            "d\nVersion: 1\nDepends: b | c",
        ];
        assert_eq!(solve(&there, &["a", "d"]).unwrap(), "a 1, c 1, d 1");
        let error = solve(&there, &["a", "b"]).unwrap_err();
        assert!(
            error.contains("but b 1 conflicts with a, which is chosen already"),
            "{error}"
        );
    }

    #[test]
    fn debootstraps_rule_takes_first_alternatives_and_passes_over_what_is_missing() {
        let text = packages(&[
            "a\nVersion: 1\nDepends: usrmerge | usr-is-merged, ghost, b | c (>= 9)",
            "b\nVersion: 1",
            "c\nVersion: 1",
            "usrmerge\nVersion: 1",
            "usr-is-merged\nVersion: 1",
        ]);
        let mut index = Index::default();
        index.add(&text, "Packages").unwrap();
        let chosen = first_alternatives(&index, ["a"]).unwrap();
        let names: Vec<&str> = chosen.into_keys().collect();
        assert_eq!(names, ["a", "b", "usr-is-merged"]);
    }
}
