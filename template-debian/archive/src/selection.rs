//! The sets of packages that a base system is made of.

use std::collections::BTreeMap;

use crate::{
    Error, Result,
    packages::{Index, Package},
    resolve::{Solver, first_alternatives},
};

/// What sort of base system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// debootstrap's minbase: required packages and apt.
    Minbase,
    /// debootstrap's default: required and important packages.
    Standard,
    /// minbase and [`CONTAINER`]: what a person expects to find in a system container.
    Container,
}

/// What [`Variant::Container`] adds to minbase, and why. Short on purpose: `include` adds more.
pub const CONTAINER: &[&str] = &[
    // The init system, and /sbin/init as a link to it.
    "systemd",
    "systemd-sysv",
    // The bus that systemctl and logins talk over.
    "dbus",
    // Sessions with XDG_RUNTIME_DIR and user services for whoever logs in.
    "libpam-systemd",
    // ip, ss: nothing else can show or set addresses.
    "iproute2",
    // ping, the first thing that one tries.
    "iputils-ping",
    // /etc/services and /etc/protocols, which getservbyname(3) needs.
    "netbase",
    // Whom to trust for https, apt's mirrors included.
    "ca-certificates",
    // ps, top, free, kill by name.
    "procps",
    // A pager and an editor: one reads logs and changes a file in /etc.
    "less",
    "nano",
];

impl Variant {
    /// By the word that people type.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "minbase" => Some(Self::Minbase),
            "standard" => Some(Self::Standard),
            "container" => Some(Self::Container),
            _ => None,
        }
    }
}

/// The packages of a base system, in the two stages in which they are installed: programs in the
/// second stage may only be unpacked when the first works, since scripts look for them.
#[derive(Debug, Clone)]
pub struct Selection<'t> {
    /// The packages without which nothing works, sorted by name.
    pub required: Vec<Package<'t>>,
    /// All others, sorted by name.
    pub base: Vec<Package<'t>>,
}

impl<'t> Selection<'t> {
    /// Chooses the packages of a variant and those that people want besides.
    pub fn new(
        index: &Index<'t>,
        variant: Variant,
        include: &[&str],
        https_mirror: bool,
    ) -> Result<Self> {
        let of_priority = |priority: &'static str| {
            index
                .iter()
                .filter(move |package| package.priority == priority)
                .map(|package| package.name)
        };
        let required = first_alternatives(index, of_priority("required"))?;
        if required.is_empty() {
            return Err(Error::Unsatisfiable {
                message: "cannot choose a base system: the package lists have no package of \
                          priority required"
                    .to_owned(),
                hint: Some("an archive of additions only cannot be bootstrapped from".to_owned()),
            });
        }
        // Where debootstrap's rule leaves a hole, dpkg could not configure: fill it.
        let required = Solver::new(index, &required)?.close()?;
        let mut all = required.clone();
        match variant {
            Variant::Minbase | Variant::Container => {
                all.extend(first_alternatives(index, ["apt"])?);
            }
            Variant::Standard => {
                all.extend(first_alternatives(index, of_priority("important"))?);
            }
        }
        all.extend(required.clone());
        let mut solver = Solver::new(index, &all)?;
        if https_mirror {
            solver.want("ca-certificates")?;
        }
        if variant == Variant::Container {
            for name in CONTAINER {
                solver.want(name)?;
            }
        }
        for wanted in include {
            solver.want(wanted)?;
        }
        let mut base: BTreeMap<&str, Package<'t>> = solver.close()?;
        base.retain(|name, _| !required.contains_key(name));
        Ok(Self {
            required: required.into_values().collect(),
            base: base.into_values().collect(),
        })
    }

    /// All packages, in the order of installation.
    pub fn iter(&self) -> impl Iterator<Item = &Package<'t>> {
        self.required.iter().chain(&self.base)
    }

    /// The base set in batches: see [`crate::configure::batches`].
    pub fn batches(&self) -> Result<Vec<Vec<Package<'t>>>> {
        crate::configure::batches(&self.required, &self.base)
    }
}
