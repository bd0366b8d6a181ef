//! The search for a set of packages.
//!
//! What must be met is a list of goals; the first one that is not met is decided by trying what
//! would meet it, the best first. Where nothing does, the choices that are to blame are known, the
//! latest of these is changed next, and the blamed set is never tried again. So a set is found
//! whenever there is one, and the same one every time.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::{
    Excluded,
    explain::{Failure, conflict},
    needs, provided, serves,
    state::State,
};
use crate::{
    Error, Result,
    packages::{Index, Package},
    relation::{self, Group, Relation},
    version,
};

/// How many packages are tried before we give up. Real archives need a few more than they have
/// packages to install; this many takes seconds.
const BUDGET: usize = 200_000;

type Providers<'t> = HashMap<&'t str, Vec<(Package<'t>, Option<&'t str>)>>;

/// A growing set of packages.
#[derive(Debug)]
pub struct Solver<'i, 't> {
    pub(super) index: &'i Index<'t>,
    pub(super) state: State<'i, 't>,
    pub(super) goals: Vec<Goal<'t>>,
    wanted: Vec<Goal<'t>>,
    /// As many packages at the beginning are given and never taken back.
    fixed: usize,
    /// What all packages provide; most runs never need it.
    providers: OnceCell<Providers<'t>>,
    decisions: Vec<Decision<'t>>,
    tried: usize,
}

/// What must be met.
#[derive(Debug, Clone)]
pub(super) struct Goal<'t> {
    /// The place of the package that needs it; none for what a person or variant wants.
    pub(super) owner: Option<usize>,
    pub(super) group: Group<'t>,
}

/// How a goal was met.
#[derive(Debug)]
struct Decision<'t> {
    goal: usize,
    /// How many goals there were.
    goals: usize,
    candidates: Vec<Package<'t>>,
    next: usize,
    /// The places of the packages without which there would be more to try.
    blame: BTreeSet<usize>,
    /// Why the first candidate that could be chosen led nowhere.
    why: Option<Failure<'t>>,
}

impl<'i, 't> Solver<'i, 't> {
    /// A set that holds these packages, whose needs are not looked at before [`Solver::close`].
    pub fn new(
        index: &'i Index<'t>,
        excluded: &'i Excluded<'i>,
        start: &BTreeMap<&'t str, Package<'t>>,
    ) -> Result<Self> {
        let native = index.iter().map(|package| package.architecture);
        let native = native
            .into_iter()
            .find(|arch| *arch != "all")
            .unwrap_or("all");
        let mut solver = Self {
            index,
            state: State::new(excluded, native),
            goals: Vec::new(),
            wanted: Vec::new(),
            fixed: start.len(),
            providers: OnceCell::new(),
            decisions: Vec::new(),
            tried: 0,
        };
        for package in start.values() {
            if let Some(obstacle) = solver.state.obstacle(package)? {
                return Err(conflict(&solver.state, package, &obstacle));
            }
            solver.choose(*package)?;
        }
        Ok(solver)
    }

    /// Adds a package that a person or variant wants: a name, real or virtual, `name=version`, or
    /// `name:arch`.
    pub fn want(&mut self, wanted: &'t str) -> Result<()> {
        let relation = match wanted.split_once('=') {
            // A relation in brackets has `=` too.
            Some((name, version)) if !name.contains('(') => {
                let mut relation = relation::single(name, "the option include")?;
                if !version::is_valid(version) {
                    return Err(Error::Relation {
                        owner: "the option include".to_owned(),
                        relation: wanted.escape_debug().to_string(),
                        reason: "its version is not a version",
                    });
                }
                relation.constraint = Some((relation::Operator::Equal, version));
                relation
            }
            _ => relation::single(wanted, "the option include")?,
        };
        self.wanted.push(Goal {
            owner: None,
            group: vec![relation],
        });
        Ok(())
    }

    /// Adds what is wanted and what the chosen packages need.
    pub fn close(self) -> Result<BTreeMap<&'t str, Package<'t>>> {
        self.close_within(BUDGET)
    }

    pub(super) fn close_within(mut self, budget: usize) -> Result<BTreeMap<&'t str, Package<'t>>> {
        // What is wanted is chosen first, so that it serves what is needed.
        let mut goals = std::mem::take(&mut self.wanted);
        goals.append(&mut self.goals);
        self.goals = goals;
        let mut cursor = 0;
        while let Some(goal) = self.goals.get(cursor) {
            let mut group = goal.group.iter();
            if !group.any(|relation| self.state.is_met(relation)) {
                self.decide(cursor, budget)?;
                // Decisions may have been taken back: goals before this one may be open again.
                cursor = self.decisions.last().map_or(0, |decision| decision.goal);
            }
            cursor += 1;
        }
        Ok(self.state.into_packages())
    }

    /// Meets a goal, by changing earlier decisions where it must.
    fn decide(&mut self, goal: usize, budget: usize) -> Result<()> {
        let Goal { owner, group } = &self.goals[goal];
        let mut decision = Decision {
            goal,
            goals: self.goals.len(),
            candidates: self.candidates(group)?,
            next: 0,
            blame: owner.iter().copied().filter(|p| *p >= self.fixed).collect(),
            why: None,
        };
        while !self.advance(&mut decision, budget)? {
            self.state.learn(decision.blame.iter().copied());
            let why = match decision.why {
                Some(why) => why,
                None => Failure::new(self, decision.goal)?,
            };
            let mut blame = decision.blame;
            let Some(place) = blame.pop_last() else {
                return Err(why.into_error(self.index));
            };
            // Each package after the given ones stands for a decision.
            self.decisions.truncate(place - self.fixed + 1);
            self.state.truncate(place);
            let Some(blamed) = self.decisions.pop() else {
                return Err(why.into_error(self.index));
            };
            decision = blamed;
            self.goals.truncate(decision.goals);
            decision.blame.extend(blame);
            decision.why.get_or_insert(why);
        }
        self.decisions.push(decision);
        Ok(())
    }

    /// The goal for which the package at a place was chosen; none for the given ones.
    pub(super) fn reason(&self, place: usize) -> Option<&Goal<'t>> {
        let decision = self.decisions.get(place.checked_sub(self.fixed)?)?;
        self.goals.get(decision.goal)
    }

    /// Chooses the next candidate that stands beside what was chosen.
    fn advance(&mut self, decision: &mut Decision<'t>, budget: usize) -> Result<bool> {
        while let Some(package) = decision.candidates.get(decision.next) {
            decision.next += 1;
            self.tried += 1;
            if self.tried > budget {
                return Err(Error::Unsatisfiable {
                    message: format!(
                        "cannot decide which packages to install: {budget} choices were tried and \
                         neither a set was found nor that there is none"
                    ),
                    hint: Some(
                        "name the alternatives that you want with -o include=, so that there is \
                         less to choose"
                            .to_owned(),
                    ),
                });
            }
            match self.state.obstacle(package)? {
                None => {
                    self.choose(*package)?;
                    return Ok(true);
                }
                Some(obstacle) => {
                    let places = obstacle.places().iter().copied();
                    decision.blame.extend(places.filter(|p| *p >= self.fixed));
                }
            }
        }
        Ok(false)
    }

    fn choose(&mut self, package: Package<'t>) -> Result<()> {
        let place = self.state.len();
        self.state.push(package)?;
        self.goals
            .extend(needs(&package)?.into_iter().map(|group| Goal {
                owner: Some(place),
                group,
            }));
        Ok(())
    }

    /// The packages that meet one of a group's relations, the best first: in the order of the
    /// relations, the real package before those that provide it.
    pub(super) fn candidates(&self, group: &[Relation<'t>]) -> Result<Vec<Package<'t>>> {
        let mut found: Vec<Package<'t>> = Vec::new();
        for relation in group {
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
                if self.state.qualifies(relation, &package) && !found.contains(&package) {
                    found.push(package);
                }
            }
        }
        Ok(found)
    }

    fn providers(&self) -> Result<&Providers<'t>> {
        if let Some(providers) = self.providers.get() {
            return Ok(providers);
        }
        let mut providers = Providers::new();
        let all = self.index.iter();
        for package in all.filter(|package| !package.provides.is_empty()) {
            for (name, version) in provided(package)? {
                providers.entry(name).or_default().push((*package, version));
            }
        }
        Ok(self.providers.get_or_init(|| providers))
    }
}

fn priority(package: &Package<'_>) -> usize {
    let order = ["required", "important", "standard", "optional"];
    let found = order.iter().position(|name| *name == package.priority);
    found.unwrap_or(order.len())
}
