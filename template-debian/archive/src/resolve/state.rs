//! A set of packages that grows and shrinks at its end, and what it offers and refuses.

use std::collections::{BTreeMap, HashMap};

use super::{Excluded, provided, refusals, serves};
use crate::{Result, packages::Package, relation::Relation};

/// One build of one package.
type Key<'t> = (&'t str, &'t str, &'t str);

/// Larger sets that cannot be are rarely met again.
const LARGEST_NOGOOD: usize = 8;

/// How many of these are kept for one package.
const MOST_NOGOODS: usize = 64;

/// The packages chosen so far. A package's place is when it was chosen.
#[derive(Debug)]
pub(super) struct State<'i, 't> {
    excluded: &'i Excluded<'i>,
    native: &'t str,
    trail: Vec<Entry<'t>>,
    places: HashMap<&'t str, usize>,
    provides: HashMap<&'t str, Vec<(usize, Option<&'t str>)>>,
    refused: HashMap<&'t str, Vec<(usize, Relation<'t>)>>,
    /// What was found to be impossible together with a package.
    nogoods: HashMap<Key<'t>, Vec<Vec<Key<'t>>>>,
}

#[derive(Debug)]
struct Entry<'t> {
    package: Package<'t>,
    provides: Vec<&'t str>,
    refuses: Vec<&'t str>,
}

/// Why a package cannot be added.
#[derive(Debug)]
pub(super) enum Obstacle<'t> {
    Excluded,
    /// Another version of it is there.
    Version(usize),
    /// It and the package at a place exclude each other; who says so, and how.
    Conflict(usize, Box<(Package<'t>, Relation<'t>)>),
    /// What the places hold was found to be impossible together with it.
    Known(Vec<usize>),
}

impl<'t> Obstacle<'t> {
    fn conflict(place: usize, owner: Package<'t>, relation: Relation<'t>) -> Self {
        Self::Conflict(place, Box::new((owner, relation)))
    }

    /// Which of the chosen packages would have to go.
    pub(super) fn places(&self) -> &[usize] {
        match self {
            Self::Excluded => &[],
            Self::Version(place) | Self::Conflict(place, ..) => std::slice::from_ref(place),
            Self::Known(places) => places,
        }
    }
}

impl<'i, 't> State<'i, 't> {
    pub(super) fn new(excluded: &'i Excluded<'i>, native: &'t str) -> Self {
        Self {
            excluded,
            native,
            trail: Vec::new(),
            places: HashMap::new(),
            provides: HashMap::new(),
            refused: HashMap::new(),
            nogoods: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.trail.len()
    }

    pub(super) fn package(&self, place: usize) -> &Package<'t> {
        &self.trail[place].package
    }

    pub(super) fn push(&mut self, package: Package<'t>) -> Result<()> {
        let place = self.trail.len();
        let mut entry = Entry {
            package,
            provides: Vec::new(),
            refuses: Vec::new(),
        };
        let (provided, refusals) = (provided(&package)?, refusals(&package)?);
        for (name, version) in provided {
            self.provides
                .entry(name)
                .or_default()
                .push((place, version));
            entry.provides.push(name);
        }
        for relation in refusals {
            let list = self.refused.entry(relation.name).or_default();
            list.push((place, relation));
            entry.refuses.push(relation.name);
        }
        self.places.insert(package.name, place);
        self.trail.push(entry);
        Ok(())
    }

    /// Takes the last ones back until `length` are left.
    pub(super) fn truncate(&mut self, length: usize) {
        while self.trail.len() > length {
            let Some(entry) = self.trail.pop() else { break };
            self.places.remove(entry.package.name);
            for name in entry.provides {
                self.provides.get_mut(name).and_then(Vec::pop);
            }
            for name in entry.refuses {
                self.refused.get_mut(name).and_then(Vec::pop);
            }
        }
    }

    /// All packages, by name.
    pub(super) fn into_packages(self) -> BTreeMap<&'t str, Package<'t>> {
        let packages = self.trail.into_iter().map(|entry| entry.package);
        packages.map(|package| (package.name, package)).collect()
    }

    pub(super) fn is_met(&self, relation: &Relation<'_>) -> bool {
        let real = self
            .places
            .get(relation.name)
            .map(|place| self.package(*place));
        real.is_some_and(|package| {
            relation.allows(package.version) && self.qualifies(relation, package)
        }) || self.provides.get(relation.name).is_some_and(|list| {
            list.iter().any(|(place, version)| {
                serves(relation, *version) && self.qualifies(relation, self.package(*place))
            })
        })
    }

    /// Whether a package may be meant by a relation's `:any`, `:native` or `:ARCH`, by dpkg's
    /// rules in a system of one architecture.
    pub(super) fn qualifies(&self, relation: &Relation<'_>, package: &Package<'_>) -> bool {
        match relation.qualifier {
            None | Some("native") => true,
            Some("any") => package.multi_arch == "allowed",
            Some(arch) if package.architecture == "all" => arch == self.native,
            Some(arch) => arch == package.architecture,
        }
    }

    pub(super) fn obstacle(&self, package: &Package<'t>) -> Result<Option<Obstacle<'t>>> {
        if self.excluded.has(package.name) {
            return Ok(Some(Obstacle::Excluded));
        }
        if let Some(place) = self.places.get(package.name) {
            return Ok(Some(Obstacle::Version(*place)));
        }
        for relation in refusals(package)? {
            if let Some(place) = self.places.get(relation.name)
                && relation.name != package.name
                && relation.allows(self.package(*place).version)
            {
                return Ok(Some(Obstacle::conflict(*place, *package, relation)));
            }
            let providers = self.provides.get(relation.name).into_iter().flatten();
            for (place, version) in providers {
                if serves(&relation, *version) {
                    return Ok(Some(Obstacle::conflict(*place, *package, relation)));
                }
            }
        }
        let own = provided(package)?;
        let names = own.iter().map(|(name, version)| (*name, *version));
        for (name, version) in names.chain([(package.name, Some(package.version))]) {
            for (place, relation) in self.refused.get(name).into_iter().flatten() {
                if serves(relation, version) {
                    let owner = *self.package(*place);
                    return Ok(Some(Obstacle::conflict(*place, owner, *relation)));
                }
            }
        }
        let nogoods = self.nogoods.get(&key(package)).into_iter().flatten();
        for nogood in nogoods {
            let places: Option<Vec<usize>> = nogood.iter().map(|key| self.place_of(key)).collect();
            if let Some(places) = places {
                return Ok(Some(Obstacle::Known(places)));
            }
        }
        Ok(None)
    }

    /// Remembers that the packages at these places cannot be had together.
    pub(super) fn learn(&mut self, places: impl Iterator<Item = usize> + Clone) {
        if places.clone().count() > LARGEST_NOGOOD {
            return;
        }
        let keys: Vec<Key<'t>> = places.map(|place| key(self.package(place))).collect();
        for one in &keys {
            let known = self.nogoods.entry(*one).or_default();
            if known.len() < MOST_NOGOODS {
                known.push(keys.iter().filter(|key| *key != one).copied().collect());
            }
        }
    }

    fn place_of(&self, wanted: &Key<'t>) -> Option<usize> {
        let place = *self.places.get(wanted.0)?;
        (key(self.package(place)) == *wanted).then_some(place)
    }
}

fn key<'t>(package: &Package<'t>) -> Key<'t> {
    (package.name, package.version, package.sha256)
}
