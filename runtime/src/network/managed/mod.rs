//! Networks that Sampan knows by name: what they are, and bringing them up and down.
//!
//! A definition is a file, STATE/.networks/NAME. What it describes is in the kernel (a bridge, its
//! addresses, two tables of nf_tables) and can be made again at any time: a network that a start
//! finds incomplete is put right. Addresses of containers are in their own configs, in LXC's words.

mod allocate;
mod attach;
mod definition;
mod firewalld;
mod foreign;
mod forward;
mod forwarding;
mod kind;
mod members;
mod port;
mod rules;
mod subnet;
mod up;

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

pub use self::attach::{AttachOptions, Attached, Detached};
pub use self::definition::Definition;
pub use self::foreign::Firewall;
pub(crate) use self::forward::forwards_of;
pub use self::forward::{FORWARD_KEY, Forward, Protocol};
pub use self::forwarding::Forwarded;
pub use self::kind::Kind;
pub(crate) use self::members::{hardware, port_of};
pub(crate) use self::port::Port;

use crate::config::{Network, NetworkKind, VethMode};
use crate::container::{is_root, must_be_root};
use crate::containers::{Containers, Directories, lock_directory, write_file};
use crate::error::{Error, Reason, Result, Tried};
use crate::idmap;
use crate::name::nearest;
use crate::network::netlink::Netlink;
use crate::network::service;

/// The network that new containers are in unless something else is said.
pub const DEFAULT: &str = "sampan0";

/// A definition has a dozen short lines.
const LARGEST: u64 = 1 << 16;

/// The networks of one state directory.
#[derive(Debug, Clone)]
pub struct Networks {
    containers: Containers,
}

/// What there is to know about a network. The field names are stable.
#[derive(Debug, Clone, serde::Serialize)]
pub struct NetworkInfo {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub kind: Kind,
    /// Whether it is up: containers can be started in it.
    pub up: bool,
    /// Its bridge, or the host's interface that it stands on.
    pub link: String,
    /// The host's interface whose addresses its bridge takes over.
    pub uplink: Option<String>,
    /// The host's IPv4 address in it and the bits of the subnet.
    pub ipv4: Option<String>,
    /// The same of IPv6.
    pub ipv6: Option<String>,
    /// Whether the host answers for names.
    pub dns: bool,
    /// Whether the host tells addresses to guests that ask.
    pub dhcp: bool,
    /// Whether its containers reach the host's services.
    pub host_access: bool,
    /// Of the kind vde: where virtual machines plug in.
    pub socket: Option<PathBuf>,
    /// The packet filters of others that its packets pass too, while it is up.
    pub firewalls: Vec<Firewall>,
    /// The containers in it.
    pub containers: Vec<String>,
}

impl Containers {
    /// The networks that they may be in.
    pub fn networks(&self) -> Networks {
        Networks {
            containers: self.clone(),
        }
    }
}

impl Networks {
    /// All networks, by name.
    pub fn list(&self) -> Result<Vec<Definition>> {
        let directory = self.directory();
        let entries = match fs::read_dir(&directory) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.tried(|| format!("list {}", directory.display()))?,
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| definition::checked_name(name).is_ok() && !name.contains(".tmp-"))
            .collect();
        names.sort();
        names.iter().map(|name| self.open(name)).collect()
    }

    /// The network of this name.
    ///
    /// # Errors
    /// [`Reason::NotFound`], with the nearest names as hint.
    pub fn open(&self, name: &str) -> Result<Definition> {
        if let Some(found) = read(&self.directories().state, name)? {
            return Ok(found);
        }
        let all = self.list().unwrap_or_default();
        let near = nearest(name, all.iter().map(|network| network.name.as_str()));
        let error =
            Error::user(format!("there is no network \"{name}\"")).with_reason(Reason::NotFound);
        Err(match near.is_empty() {
            true => error.with_hint(format!("make it: sampan network create {name}")),
            false => error.with_hint(format!("did you mean {}?", near.join(" or "))),
        })
    }

    /// The same; the default one is made if it does not exist yet.
    pub fn open_or_default(&self, name: &str) -> Result<Definition> {
        match self.open(name) {
            Err(error) if error.reason() == Reason::NotFound && name == DEFAULT => {
                match self.create(Definition::new(DEFAULT, Kind::Nat)?, true) {
                    // Somebody else was faster.
                    Err(error) if error.reason() == Reason::AlreadyExists => self.open(name),
                    other => other,
                }
            }
            other => other,
        }
    }

    /// Everything there is to know about one.
    pub fn info(&self, network: &Definition) -> Result<NetworkInfo> {
        let address = |a: crate::config::NetworkAddress| format!("{}/{}", a.address, a.bits);
        let up = self.is_up(network)?;
        let filtered = network.kind.is_managed() && is_root() && self.has_bridge(network)?;
        let firewalls = match filtered {
            true => foreign::found(&network.name, &network.link)
                .tried(|| "look for other packet filters".to_owned())?,
            false => Vec::new(),
        };
        Ok(NetworkInfo {
            name: network.name.clone(),
            kind: network.kind,
            up,
            firewalls,
            link: network.link.clone(),
            uplink: network.uplink.clone(),
            ipv4: network.ipv4.map(address),
            ipv6: network.ipv6.map(address),
            dns: network.dns,
            dhcp: network.dhcp,
            host_access: network.host_access,
            socket: self.switch(network).map(|switch| switch.socket),
            containers: self.users(network)?,
        })
    }

    /// Makes a network exist; it is brought up when it is needed. One of Sampan's own without a
    /// subnet gets one that is free (`ipv6`: also of IPv6, where the host has it).
    ///
    /// # Errors
    /// [`Reason::AlreadyExists`]; no subnet is free; the definition lacks something.
    pub fn create(&self, mut network: Definition, ipv6: bool) -> Result<Definition> {
        must_be_root("create a network")?;
        let directory = self.directory();
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&directory)
            .tried(|| format!("create {}", directory.display()))?;
        let _lock = self.lock()?;
        let path = directory.join(&network.name);
        if path.exists() {
            return Err(
                Error::user(format!("there is a network \"{}\" already", network.name))
                    .with_reason(Reason::AlreadyExists),
            );
        }
        if network.kind.is_managed() {
            self.give_subnets(&mut network, ipv6)?;
        }
        network.check()?;
        write_file(&path, &network.to_string())?;
        Ok(network)
    }

    /// Removes a network that no container is in.
    pub fn remove(&self, name: &str) -> Result<()> {
        must_be_root("remove a network")?;
        let network = self.open(name)?;
        let _lock = self.lock()?;
        let users = self.users(&network)?;
        if !users.is_empty() {
            return Err(Error::user(format!(
                "the network {name} cannot be removed: {} is in it",
                users.join(", ")
            ))
            .with_hint("destroy them first, or give them another network"));
        }
        self.take_down(&network)?;
        let path = self.directory().join(name);
        fs::remove_file(&path).tried(|| format!("remove {}", path.display()))
    }

    /// Changes options of a network; one that is up obeys at once.
    pub fn set(&self, name: &str, changes: &[(String, String)]) -> Result<Definition> {
        must_be_root("change a network")?;
        let _lock = self.lock()?;
        let before = self.open(name)?;
        let mut after = before.clone();
        for (key, value) in changes {
            after.set(key, value)?;
        }
        after.check()?;
        let moved =
            (before.ipv4, before.ipv6, &before.link) != (after.ipv4, after.ipv6, &after.link);
        let users = self.users(&before)?;
        if moved && !users.is_empty() {
            return Err(Error::user(format!(
                "the addresses of the network {name} cannot be changed: {} is in it",
                users.join(", ")
            ))
            .with_hint("make another network, and containers in it"));
        }
        let path = self.directory().join(name);
        let was_up = self.is_up(&before)?;
        write_file(&path, &after.to_string())?;
        if was_up && let Err(error) = self.bring_up(&after) {
            write_file(&path, &before.to_string())?;
            // As well as that goes; what does not is told by whoever needs it next.
            let _ = self.bring_up(&before);
            return Err(error);
        }
        Ok(after)
    }

    fn give_subnets(&self, network: &mut Definition, ipv6: bool) -> Result<()> {
        if network.ipv4.is_none() {
            let what = || "look for a free subnet".to_owned();
            let mut netlink = Netlink::here().tried(what)?;
            let mut taken = subnet::Taken::on_this_host(&mut netlink).tried(what)?;
            for other in self.list()? {
                for own in other.gateways() {
                    taken.add(own.address, own.bits);
                }
            }
            network.ipv4 = taken.free_v4(rand::random);
            if network.ipv4.is_none() {
                return Err(Error::environment(
                    "no private /24 is free: this host has routes to all of them",
                )
                .with_hint("say which one to take: sampan network create … -o ipv4=10.5.0.0/24"));
            }
        }
        if network.ipv6.is_none() && ipv6 && Path::new("/proc/sys/net/ipv6").exists() {
            network.ipv6 = Some(subnet::unique_v6(rand::random()));
        }
        Ok(())
    }

    fn directories(&self) -> &Directories {
        self.containers.directories()
    }

    fn directory(&self) -> PathBuf {
        directory(&self.directories().state)
    }

    /// Where the service of a network has its files.
    fn run_directory(&self, name: &str) -> PathBuf {
        self.directories().run.join(".networks").join(name)
    }

    /// One change of networks, or of who is in them, at a time.
    fn lock(&self) -> Result<Flock<File>> {
        lock_directory(&self.directory(), FlockArg::LockExclusive)
    }

    /// What its bridge says about itself.
    fn alias(&self, network: &Definition) -> String {
        let state = self.directories().state.display();
        let text = format!("sampan network {} in {state}", network.name);
        // IFALIASZ.
        text.chars().take(255).collect()
    }

    /// The hardware address of its bridge: always the same.
    fn bridge_address(&self, network: &Definition) -> [u8; 6] {
        let hash = idmap::hash(&self.directories().state, &network.name).to_be_bytes();
        [0x00, 0x16, 0x3e, hash[5], hash[6], hash[7]]
    }
}

/// The network of Sampan's own whose bridge is `link`, if it is one.
pub(crate) fn of_link(state: &Path, link: &str) -> Result<Option<Definition>> {
    Ok(made_for(state, link)?.filter(|network| network.kind.is_managed()))
}

/// The network of Sampan's own that a network of a config is, if it is one.
pub(crate) fn of_network(state: &Path, own: &Network) -> Result<Option<Definition>> {
    match (own.kind, own.link.as_deref()) {
        (NetworkKind::Veth, Some(link)) if own.veth == VethMode::Bridge => of_link(state, link),
        _ => Ok(None),
    }
}

/// The network for which the bridge `link` is made when it is needed.
fn made_for(state: &Path, link: &str) -> Result<Option<Definition>> {
    if definition::checked_name(link).is_err() {
        return Ok(None);
    }
    Ok(read(state, link)?.filter(Definition::is_made))
}

/// Keeps networks as they are for as long as it is held.
pub(crate) fn hold(state: &Path) -> Result<Flock<File>> {
    lock_directory(&directory(state), FlockArg::LockShared)
}

fn directory(state: &Path) -> PathBuf {
    state.join(".networks")
}

fn read(state: &Path, name: &str) -> Result<Option<Definition>> {
    definition::checked_name(name)?;
    let path = directory(state).join(name);
    let what = || format!("read {}", path.display());
    let file = match File::open(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.tried(what)?,
    };
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).tried(what)?;
    let network = Definition::parse(name, &text)
        .map_err(|error| error.wrap(format!("could not understand {}", path.display())))?;
    Ok(Some(network))
}
