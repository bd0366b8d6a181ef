//! Running the packages' own scripts inside the tree, in debootstrap's order.
//!
//! Everything was unpacked by us, so that of dpkg's work only this is left: preinsts, then
//! `dpkg --configure`. Scripts see no network, no policy that lets services start, and an
//! environment from which nothing of the machine or the hour leaks into what they write.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use sampan_core::{Command, Host, Span, rootfs::Rootfs};

use crate::{Error, Result, dpkg_database::Record, packages::Package, relation, resolve::provided};

/// Where a preinst runs; debconf takes the owner of questions from this path.
const CONTROL_DIRECTORY: &str = "var/lib/dpkg/tmp.ci";

/// Where the control files of packages wait for their turn.
const WAITING: &str = "var/lib/dpkg/sampan-preinst";

/// Runs scripts in one tree.
pub struct Configurer<'a> {
    host: &'a dyn Host,
    rootfs: &'a Rootfs,
    epoch: i64,
    dpkg_version: String,
    /// Whether the host reads what commands write to descriptor 3: dpkg fails where it is closed.
    status: Cell<bool>,
}

impl<'a> Configurer<'a> {
    /// `epoch` is what scripts that honour SOURCE_DATE_EPOCH take for the present;
    /// `dpkg_version` is the version of dpkg in the tree.
    pub fn new(
        host: &'a dyn Host,
        rootfs: &'a Rootfs,
        epoch: i64,
        dpkg_version: impl Into<String>,
    ) -> Self {
        Self {
            host,
            rootfs,
            epoch,
            dpkg_version: dpkg_version.into(),
            status: Cell::new(false),
        }
    }

    /// Configures the packages without which nothing works. They are unpacked and in the
    /// database.
    pub fn required(&self, records: &[Record<'_>]) -> Result<()> {
        self.preinsts(records)?;
        let has = |name: &str| records.iter().any(|record| record.package.name == name);
        // mawk's postinst makes the real link, and base-files' wants an awk before.
        let stand_in = has("mawk") && !self.rootfs.exists("usr/bin/awk");
        if stand_in {
            self.rootfs.symlink("mawk", "usr/bin/awk")?;
        }
        if !self.rootfs.exists("etc/localtime") {
            self.rootfs
                .symlink("/usr/share/zoneinfo/UTC", "etc/localtime")?;
        }
        let first = ["base-passwd", "base-files", "dpkg", "libc6", "perl-base"];
        let first: Vec<&str> = first.into_iter().filter(|name| has(name)).collect();
        if !first.is_empty() {
            self.dpkg(&["--force-depends", "--configure"], &first)?;
        }
        if stand_in {
            self.rootfs.remove("usr/bin/awk")?;
        }
        // debootstrap makes a call for each of these and one for the rest; dpkg keeps the order of
        // the names that it is given, so that one call does the same.
        let second = ["mawk", "debconf"].into_iter().filter(|name| has(name));
        let rest = records.iter().map(|record| record.package.name);
        let rest = rest.filter(|name| !first.contains(name) && !["mawk", "debconf"].contains(name));
        let names: Vec<&str> = second.chain(rest).collect();
        if names.is_empty() {
            return Ok(());
        }
        self.dpkg(
            &["--force-depends", "--force-configure-any", "--configure"],
            &names,
        )
    }

    /// Configures a batch of the base set; all that is left when `names` is empty.
    pub fn base(&self, records: &[Record<'_>], all: bool) -> Result<()> {
        self.preinsts(records)?;
        let options = [
            "--force-overwrite",
            "--force-confold",
            "--skip-same-version",
            "--configure",
        ];
        if all {
            return self.dpkg(&options, &["-a"]);
        }
        let names: Vec<&str> = records.iter().map(|record| record.package.name).collect();
        self.dpkg(&options, &names)
    }

    /// Fails when dpkg finds anything unfinished.
    pub fn audit(&self) -> Result<()> {
        let outcome = self.host.run(&self.command(["dpkg", "--audit"]))?;
        if outcome.success() && outcome.output.trim().is_empty() {
            return Ok(());
        }
        Err(Error::Script {
            doing: "dpkg --audit, which looks for packages that are not in order,".to_owned(),
            code: outcome.code,
            output: outcome.output,
        })
    }

    fn dpkg(&self, options: &[&str], names: &[&str]) -> Result<()> {
        // The image is synced as a whole when it is stored.
        let mut argv = vec!["dpkg", "--force-unsafe-io"];
        if self.status.get() {
            argv.extend(["--status-fd", "3"]);
        }
        argv.extend(options);
        argv.extend(names);
        self.run("configuring packages", &self.command(argv))
    }

    /// Runs a command and tells how long each script in it took.
    fn run(&self, doing: &str, command: &Command) -> Result<()> {
        self.host.check_cancelled()?;
        let mut command = command.clone();
        command.status = true;
        let outcome = self.host.run(&command)?;
        self.status.set(!outcome.status.is_empty());
        for span in scripts(&outcome.status) {
            self.host.span(&span);
        }
        if outcome.success() {
            return Ok(());
        }
        let lines: Vec<&str> = outcome.output.lines().collect();
        let tail = lines[lines.len().saturating_sub(25)..].join("\n");
        let shown = match command.argv.iter().position(|word| word == "--configure") {
            Some(at) => command.argv[..=at].join(" "),
            None => command.argv.join(" "),
        };
        Err(Error::Script {
            doing: format!("{doing} (`{shown}` in the rootfs)"),
            code: outcome.code,
            output: tail,
        })
    }

    /// A command in the environment that every script gets.
    pub fn command<'s>(&self, argv: impl IntoIterator<Item = &'s str>) -> Command {
        Command::new(argv)
            .env("LC_ALL", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
            .env("DEBCONF_NOWARNINGS", "yes")
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            // Perl scripts write hashes in their order.
            .env("PERL_HASH_SEED", "0")
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
    }

    /// Runs the preinst of each package that has one, all with a single command.
    fn preinsts(&self, records: &[Record<'_>]) -> Result<()> {
        let with: Vec<&Record<'_>> = records
            .iter()
            .filter(|record| record.member("preinst").is_some())
            .collect();
        if with.is_empty() {
            return Ok(());
        }
        // A host that reads no status has descriptor 3 closed.
        let mut script = format!(
            "set -eu\ntell() {{ {{ echo \"$1\" >&3; }} 2>/dev/null || :; }}\n\
             tell 'processing: preinst: '\nexport DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \
             DPKG_RUNNING_VERSION={} DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT=\n\
             one() {{\n  tell \"processing: preinst: $1\"\n  mv \"/{WAITING}/$1\" /{CONTROL_DIRECTORY}\n  \
             DPKG_MAINTSCRIPT_PACKAGE=$1 DPKG_MAINTSCRIPT_ARCH=$2 \
             /{CONTROL_DIRECTORY}/preinst install </dev/null || \
             {{ echo \"the preinst of $1 ended with code $?\" >&2; exit 1; }}\n  \
             rm -rf /{CONTROL_DIRECTORY}\n}}\n",
            self.dpkg_version
        );
        for record in with {
            let package = record.package;
            for member in &record.control {
                let path = format!("{WAITING}/{}/{}", package.name, member.name);
                self.rootfs.write(path, &member.bytes, member.mode)?;
            }
            // Both were checked to be of lower case letters, digits, `+`, `-`, `.`.
            script.push_str(&format!("one {} {}\n", package.name, package.architecture));
        }
        script.push_str("tell 'end: '\n");
        let command = self.command(["/bin/sh", "-s"]).stdin(script);
        self.run("running the packages' preinst scripts", &command)?;
        self.rootfs.remove(WAITING)?;
        Ok(())
    }
}

/// What took how long, from the lines that dpkg writes to its status descriptor
/// (`processing: STEP: PACKAGE`, dpkg(1)) and that our own script writes likewise.
fn scripts(status: &[(u64, String)]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut open: Option<Span> = None;
    for (time, line) in status {
        if let Some(mut span) = open.take() {
            span.ended = *time;
            let over = line.starts_with("processing: ") || line.starts_with("end: ");
            if over {
                spans.push(span);
            } else {
                open = Some(span);
            }
        }
        let mut words = line
            .strip_prefix("processing: ")
            .unwrap_or_default()
            .split(": ");
        if let (Some(step), Some(package)) = (words.next(), words.next()) {
            let task = match step {
                "trigproc" => "trigger",
                step => step,
            };
            let package = package.trim_end_matches(':');
            if !package.is_empty() {
                open = Some(Span {
                    task: task.to_owned(),
                    item: package.to_owned(),
                    begun: *time,
                    ended: *time,
                });
            }
        }
    }
    spans.extend(open);
    spans
}

/// Splits the base set: what something pre-depends on comes in a batch of its own before it, with
/// what that needs in turn (Policy 7.2; dpkg's --predep-package). The last batch is the rest.
pub fn batches<'t>(
    required: &[Package<'t>],
    base: &[Package<'t>],
) -> Result<Vec<Vec<Package<'t>>>> {
    let mut rest: BTreeMap<&str, Package<'t>> = base
        .iter()
        .map(|package| (package.name, *package))
        .collect();
    let mut ready: BTreeSet<&str> = BTreeSet::new();
    let add = |ready: &mut BTreeSet<&'t str>, package: &Package<'t>| -> Result<()> {
        ready.insert(package.name);
        ready.extend(provided(package)?.into_iter().map(|(name, _)| name));
        Ok(())
    };
    for package in required {
        add(&mut ready, package)?;
    }
    let mut batches = Vec::new();
    while let Some(first) = wanted_first(&rest, &ready)? {
        let mut names = closure(&rest, first)?;
        names.retain(|name| rest.contains_key(name));
        let mut batch = Vec::new();
        for name in names {
            if let Some(package) = rest.remove(name) {
                add(&mut ready, &package)?;
                batch.push(package);
            }
        }
        batches.push(batch);
    }
    batches.push(rest.into_values().collect());
    Ok(batches)
}

/// A package in `rest` that something in `rest` pre-depends on, and which itself needs nothing
/// first.
fn wanted_first<'t>(
    rest: &BTreeMap<&'t str, Package<'t>>,
    ready: &BTreeSet<&'t str>,
) -> Result<Option<&'t str>> {
    let mut found = None;
    let mut seen = BTreeSet::new();
    let mut candidates: Vec<&'t str> = rest.keys().copied().collect();
    // Each step goes to something not yet seen, so that a circle of Pre-Depends ends too.
    while let Some(name) = candidates.pop() {
        let Some(package) = rest.get(name) else {
            continue;
        };
        for group in relation::parse(package.pre_depends, package.name)? {
            if group.iter().any(|relation| ready.contains(relation.name)) {
                continue;
            }
            for relation in &group {
                let provider = provider_of(rest, relation.name)?;
                if let Some(provider) = provider.filter(|name| seen.insert(*name)) {
                    found = Some(provider);
                    candidates = vec![provider];
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// The package of this name, or one that provides it.
fn provider_of<'t>(rest: &BTreeMap<&'t str, Package<'t>>, name: &str) -> Result<Option<&'t str>> {
    if let Some(package) = rest.get(name) {
        return Ok(Some(package.name));
    }
    for package in rest.values() {
        if provided(package)?
            .iter()
            .any(|(virtually, _)| *virtually == name)
        {
            return Ok(Some(package.name));
        }
    }
    Ok(None)
}

/// A package and what it needs, as far as it is in `rest`.
fn closure<'t>(rest: &BTreeMap<&'t str, Package<'t>>, root: &'t str) -> Result<BTreeSet<&'t str>> {
    let mut names = BTreeSet::new();
    let mut queue = vec![root];
    while let Some(name) = queue.pop() {
        let Some(package) = rest.get(name).filter(|_| !names.contains(name)) else {
            continue;
        };
        names.insert(package.name);
        for group in crate::resolve::needs(package)? {
            for relation in group {
                if rest.contains_key(relation.name) {
                    queue.push(relation.name);
                    break;
                }
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{packages::Index, testing::DebBuilder};

    #[test]
    fn what_is_pre_depended_on_comes_in_a_batch_before() {
        let packages = [
            DebBuilder::new("a", "1").field("Pre-Depends", "virtual"),
            DebBuilder::new("b", "1")
                .field("Provides", "virtual")
                .field("Depends", "c"),
            DebBuilder::new("c", "1"),
            DebBuilder::new("d", "1").field("Pre-Depends", "base"),
            DebBuilder::new("e", "1").field("Pre-Depends", "f"),
            DebBuilder::new("f", "1").field("Pre-Depends", "e | a"),
        ];
        let text: String = packages.iter().map(|deb| deb.stanza(b"")).collect();
        let base_text = DebBuilder::new("base", "1").stanza(b"");
        let mut index = Index::default();
        index.add(&text, "P").unwrap();
        let mut required = Index::default();
        required.add(&base_text, "P").unwrap();
        let base: Vec<_> = index.iter().copied().collect();
        let required: Vec<_> = required.iter().copied().collect();
        let batches = batches(&required, &base).unwrap();
        let place = |name: &str| {
            let found = batches
                .iter()
                .position(|batch| batch.iter().any(|p| p.name == name));
            found.unwrap()
        };
        assert!(place("b") < place("a"), "{batches:?}");
        assert_eq!(place("b"), place("c"));
        assert_eq!(place("d"), batches.len() - 1);
        // A circle ends, with both in it.
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 6);
    }
}
