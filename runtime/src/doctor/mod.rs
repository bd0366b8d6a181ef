//! Whether this host can do what containers need, and what stands in the way.
//!
//! What can be tried is tried rather than read from a list: a namespace is made, an interface is
//! made in a network namespace that ends with the attempt, a mount is mapped. Nothing is changed.
//! Every warning and problem comes with the command that mends it.

mod cgroups;
mod clock;
mod configs;
mod directories;
mod dns;
mod finding;
mod firewall;
mod ids;
mod interfaces;
mod kernel;
mod mounts;
mod network;
mod nf_tables;
mod program;

use std::path::{Path, PathBuf};

pub use finding::{Finding, Level};

use crate::config::{ConfigFile, Settings};
use crate::containers::Containers;

/// What is looked at.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The containers and their directories.
    pub containers: &'a Containers,
    /// Directories that need space, by what they are for: `state`, `cache`, `run`, `log`.
    pub directories: Vec<(&'static str, PathBuf)>,
    /// The monitor that starts use.
    pub monitor_program: PathBuf,
}

/// The checks, in the order in which they are reported. What is added here is run by
/// [`examine`]; its names belong into docs/json.md.
const CHECKS: [fn(&Host<'_>) -> Vec<Finding>; 13] = [
    kernel::check,
    mounts::check,
    interfaces::check,
    cgroups::check,
    ids::check,
    network::forwarding,
    network::bridges,
    firewall::check,
    dns::check,
    directories::check,
    configs::check,
    program::check,
    clock::check,
];

/// Looks at everything. A check that could not look says so in a finding.
pub fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let host = Host::of(subject);
    CHECKS.iter().flat_map(|check| check(&host)).collect()
}

/// What the checks share.
struct Host<'a> {
    subject: &'a Subject<'a>,
    root: bool,
    /// The containers whose configs can be read.
    configs: Vec<Configured>,
    /// Why there may be others.
    unread: Option<String>,
}

/// A container, its lines, and what they say or why they cannot be obeyed.
struct Configured {
    name: String,
    settings: crate::Result<Settings>,
}

impl<'a> Host<'a> {
    fn of(subject: &'a Subject<'a>) -> Host<'a> {
        let mut unread = None;
        let names = subject.containers.names().unwrap_or_else(|error| {
            unread = Some(error.chain());
            Vec::new()
        });
        let configs = names.into_iter().map(|name| Configured {
            settings: ConfigFile::read(&subject.containers.handle(name.clone()).config_path())
                .and_then(|config| Settings::of(&config)),
            name: name.to_string(),
        });
        Host {
            root: nix::unistd::geteuid().is_root(),
            configs: configs.collect(),
            unread,
            subject,
        }
    }

    /// The containers whose configs can be obeyed.
    fn settings(&self) -> impl Iterator<Item = (&str, &Settings)> {
        self.configs
            .iter()
            .filter_map(|one| Some((one.name.as_str(), one.settings.as_ref().ok()?)))
    }
}

/// The directory, or the nearest above it that is there.
fn nearest(path: &Path) -> &Path {
    let there = path.ancestors().find(|path| path.exists());
    there.unwrap_or(Path::new("/"))
}
