//! The sets of packages that a base system is made of.

use std::collections::BTreeMap;

use crate::{
    Error, Result,
    packages::{Index, Package},
    resolve::{Excluded, Solver, first_alternatives},
};

/// What sort of base system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// debootstrap's minbase: required packages and apt.
    Minbase,
    /// debootstrap's default: required and important packages.
    Standard,
    /// debootstrap's buildd: required packages, apt and build-essential.
    Buildd,
    /// mmdebstrap's essential: what is marked Essential and what that needs, so no apt.
    Essential,
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
            "buildd" => Some(Self::Buildd),
            "essential" => Some(Self::Essential),
            "container" => Some(Self::Container),
            _ => None,
        }
    }
}

/// What a person changes of a variant.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'c> {
    /// Packages to have besides: see [`Solver::want`].
    pub include: &'c [&'c str],
    /// Packages that are never chosen.
    pub exclude: &'c [&'c str],
    /// What the lock says was asked for.
    pub asked: &'c [(String, String)],
}

/// The packages of a base system, in the two stages in which they are installed: programs in the
/// second stage may only be unpacked when the first works, since scripts look for them.
#[derive(Debug, Clone)]
pub struct Selection<'t> {
    /// The packages without which nothing works, sorted by name.
    pub required: Vec<Package<'t>>,
    /// All others, sorted by name.
    pub base: Vec<Package<'t>>,
    /// Whether /bin, /sbin and /lib are directories rather than links into /usr. Packages were built
    /// so until the release whose packages depend on usr-is-merged, and debootstrap's buildd of that
    /// release still is.
    pub split_usr: bool,
}

impl<'t> Selection<'t> {
    /// Chooses the packages of a variant and those that people want besides.
    pub fn new(
        index: &Index<'t>,
        variant: Variant,
        choice: &Choice<'t>,
        https_mirror: bool,
    ) -> Result<Self> {
        let excluded = Excluded::new(index, choice.exclude)?;
        let marked = |package: &&Package<'t>| match variant {
            Variant::Essential => package.essential,
            _ => package.priority == "required",
        };
        let roots = index.iter().filter(marked).map(|package| package.name);
        let required = first_alternatives(index, roots, &excluded)?;
        if required.is_empty() {
            let mark = match variant {
                Variant::Essential => "that is marked Essential",
                _ => "of priority required",
            };
            return Err(Error::Unsatisfiable {
                message: format!(
                    "cannot choose a base system: the package lists have no package {mark}"
                ),
                hint: Some("an archive of additions only cannot be bootstrapped from".to_owned()),
            });
        }
        // Where debootstrap's rule leaves a hole, dpkg could not configure: fill it.
        let required = Solver::new(index, &excluded, &required)?.close()?;
        let roots: Vec<&'t str> = match variant {
            Variant::Minbase | Variant::Container => vec!["apt"],
            Variant::Buildd => vec!["apt", "build-essential"],
            Variant::Standard => index
                .iter()
                .filter(|package| package.priority == "important")
                .map(|package| package.name)
                .collect(),
            Variant::Essential => Vec::new(),
        };
        let mut wanted: Vec<&'t str> = Vec::new();
        // Without apt nobody in the tree asks the mirror for anything.
        if https_mirror && variant != Variant::Essential {
            wanted.push("ca-certificates");
        }
        if variant == Variant::Container {
            wanted.extend(CONTAINER);
        }
        wanted.retain(|name| !excluded.has(name));
        wanted.extend(choice.include);
        let complete = |start: &BTreeMap<&'t str, Package<'t>>, more: &[&'t str]| {
            let mut solver = Solver::new(index, &excluded, start)?;
            for name in wanted.iter().chain(more) {
                solver.want(name)?;
            }
            solver.close()
        };
        let mut all = first_alternatives(index, roots.iter().copied(), &excluded)?;
        all.extend(required.clone());
        let mut base = complete(&all, &[]).or_else(|error| {
            // debootstrap's alternatives may be in the way of what is wanted, and others not.
            let there = |name: &&str| !excluded.has(name) && index.last(name).is_some();
            let roots: Vec<&'t str> = roots.iter().copied().filter(there).collect();
            complete(&required, &roots).map_err(|_| error)
        })?;
        base.retain(|name, _| !required.contains_key(name));
        let mut selection = Self {
            required: required.into_values().collect(),
            base: base.into_values().collect(),
            split_usr: false,
        };
        selection.split_usr = variant == Variant::Buildd && selection.is_of_the_transition();
        Ok(selection)
    }

    /// Whether these are packages of the one release that could still be had both ways.
    pub(crate) fn is_of_the_transition(&self) -> bool {
        self.iter().any(|package| package.name == "usr-is-merged")
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

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHIVE: [&str; 8] = [
        "Package: libc6\n",
        "Package: dpkg\nEssential: yes\nPriority: required\nDepends: libc6, awk\n",
        "Package: gawk\nProvides: awk\n",
        "Package: mawk\nPriority: required\nProvides: awk\n",
        "Package: mount\nPriority: required\n",
        "Package: apt\nPriority: required\n",
        "Package: cron\nPriority: important\n",
        "Package: build-essential\nDepends: gcc\n",
    ];

    fn text() -> String {
        let rest = format!(
            "Version: 1\nArchitecture: all\nFilename: x.deb\nSize: 1\nSHA256: {}\n\n",
            "0".repeat(64)
        );
        let mut packages = ARCHIVE.map(|stanza| format!("{stanza}{rest}")).concat();
        packages.push_str(&format!("Package: gcc\n{rest}"));
        packages
    }

    #[test]
    fn every_variant_is_made_from_the_archives_own_marks() {
        let text = text();
        let mut index = Index::default();
        index.add(&text, "Packages").unwrap();
        for (variant, required, base) in [
            (Variant::Essential, "dpkg libc6 mawk", ""),
            (Variant::Minbase, "apt dpkg libc6 mawk mount", ""),
            (Variant::Standard, "apt dpkg libc6 mawk mount", "cron"),
            (
                Variant::Buildd,
                "apt dpkg libc6 mawk mount",
                "build-essential gcc",
            ),
        ] {
            let selection = Selection::new(&index, variant, &Choice::default(), false).unwrap();
            let names = |set: &[Package<'_>]| {
                let names: Vec<&str> = set.iter().map(|package| package.name).collect();
                names.join(" ")
            };
            assert_eq!(names(&selection.required), required, "{variant:?}");
            assert_eq!(names(&selection.base), base, "{variant:?}");
        }
    }
}
