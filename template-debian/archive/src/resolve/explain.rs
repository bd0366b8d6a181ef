//! Why there is no set of packages, in words.

use std::collections::BTreeSet;

use super::{
    solver::Solver,
    state::{Obstacle, State},
};
use crate::{
    Error, Result,
    packages::{Index, Package},
    relation,
};

/// So many links of a chain are told.
const LONGEST_CHAIN: usize = 8;

/// A goal that nothing met.
#[derive(Debug)]
pub(super) struct Failure<'t> {
    message: String,
    /// A name that neither a package has nor one provides.
    unknown: Option<&'t str>,
}

impl<'t> Failure<'t> {
    /// Looks at a goal when all that would meet it was tried.
    pub(super) fn new(solver: &Solver<'_, 't>, goal: usize) -> Result<Self> {
        let goal = &solver.goals[goal];
        let needed = relation::display(&goal.group);
        let mut message = match goal.owner.map(|place| solver.state.package(place)) {
            None => format!("cannot include {needed}"),
            Some(Package { name, version, .. }) => {
                format!("cannot install {name}: {name} {version} depends on {needed}")
            }
        };
        let mut there = Vec::new();
        let mut unknown = None;
        for relation in &goal.group {
            let name = relation.name;
            let versions: BTreeSet<&str> = solver
                .index
                .versions(name)
                .map(|package| package.version)
                .collect();
            let mut obstacles = Vec::new();
            for package in solver.candidates(std::slice::from_ref(relation))? {
                if let Some(obstacle) = solver.state.obstacle(&package)? {
                    obstacles.push(describe(&solver.state, &package, &obstacle));
                }
            }
            obstacles.dedup();
            if !obstacles.is_empty() {
                there.push(obstacles.join(" and "));
            } else if versions.is_empty() {
                there.push(format!(
                    "there is no package {name} and none that provides it"
                ));
                unknown = unknown.or(Some(name));
            } else if versions.iter().any(|version| relation.allows(version)) {
                let qualifier = relation.qualifier.unwrap_or_default();
                there.push(format!("{name} is not there as {name}:{qualifier}"));
            } else {
                let versions: Vec<&str> = versions.into_iter().collect();
                there.push(format!("of {name} there is only {}", versions.join(", ")));
            }
        }
        message.push_str(&format!(", but {}", there.join(" and ")));
        if let Some(place) = goal.owner {
            message.push_str(&chain(solver, place));
        }
        Ok(Self { message, unknown })
    }

    pub(super) fn into_error(self, index: &Index<'_>) -> Error {
        let nearest = self
            .unknown
            .and_then(|name| sampan_core::nearest(name, index.names()));
        Error::Unsatisfiable {
            message: self.message,
            hint: nearest.map(|name| format!("did you mean `{name}`?")),
        }
    }
}

/// An error about packages that must be there and cannot stand beside each other.
pub(super) fn conflict<'t>(
    state: &State<'_, 't>,
    package: &Package<'t>,
    obstacle: &Obstacle<'t>,
) -> Error {
    Error::Unsatisfiable {
        message: format!(
            "cannot install {}: {}",
            package.name,
            describe(state, package, obstacle)
        ),
        hint: None,
    }
}

fn describe<'t>(state: &State<'_, 't>, package: &Package<'t>, obstacle: &Obstacle<'t>) -> String {
    let name = package.name;
    match obstacle {
        Obstacle::Excluded => format!("{name} is excluded"),
        Obstacle::Version(place) => {
            let chosen = state.package(*place);
            format!("version {} of {name} is chosen already", chosen.version)
        }
        Obstacle::Conflict(place, refusal) => {
            let (owner, relation) = &**refusal;
            let other = state.package(*place);
            let version = package.version;
            match owner.name == name {
                true => format!(
                    "{name} {version} conflicts with {relation}, and {} {} is chosen already",
                    other.name, other.version
                ),
                false => format!(
                    "{} {}, which is chosen already, conflicts with {relation} as {name} {version} \
                     is or provides",
                    other.name, other.version
                ),
            }
        }
        Obstacle::Known(places) => {
            let names: Vec<&str> = places
                .iter()
                .map(|place| state.package(*place).name)
                .collect();
            match names.is_empty() {
                true => format!("{name} {} cannot be installed", package.version),
                false => format!(
                    "{name} {} cannot be installed together with {}",
                    package.version,
                    names.join(", ")
                ),
            }
        }
    }
}

/// Who needs the package at a place, and who needs that.
fn chain(solver: &Solver<'_, '_>, mut place: usize) -> String {
    let mut links = String::new();
    for _ in 0..LONGEST_CHAIN {
        let Some(goal) = solver.reason(place) else {
            break;
        };
        let name = solver.state.package(place).name;
        match goal.owner {
            None => break,
            Some(owner) => {
                let package = solver.state.package(owner);
                links.push_str(&format!(
                    "; {name} is needed by {} {}",
                    package.name, package.version
                ));
                place = owner;
            }
        }
    }
    links
}
