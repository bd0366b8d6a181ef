//! The networks of a container, from its `lxc.net.*` lines.
//!
//! The monitor makes them while the container's first process still waits: interfaces are born in
//! (or given to) its network namespace, and get their addresses and routes there, through a socket
//! that was opened inside. So they are complete before init runs, and nothing of the guest takes
//! part. With the namespace they end; the host's end of a veth is removed by name as well, because
//! the kernel takes its time.

mod address;
mod bridge_vlan;
mod interface;
pub(crate) mod link;
pub(crate) mod managed;
pub(crate) mod netlink;
mod nft;
pub mod service;
pub mod uplink;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use self::interface::One;
use self::link::Guest;
use self::managed::{Definition, Forward, Port};
use self::netlink::Netlink;
use crate::config::{Network, NetworkKind};
use crate::error::{Result, Tried};
use crate::idmap;

/// What the host's end of a veth says about itself (`ip link`).
const ALIAS: &str = "sampan container";

/// The networks that a container has on the host's side.
#[derive(Debug, Default)]
pub(crate) struct Connected {
    /// What is known of it in the networks of Sampan's own.
    ports: Vec<Port>,
    /// Host ends of veths.
    veths: Vec<String>,
    /// Interfaces of the host that the container was given: their names inside and on the host.
    given: Vec<(String, String)>,
    /// Its network namespace, if something of the host is in it or of use to scripts.
    namespace: Option<OwnedFd>,
}

/// Whose networks they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    /// The container's name.
    pub(crate) name: &'a str,
    /// The directory of its state.
    pub(crate) state: &'a std::path::Path,
}

impl Owner<'_> {
    /// The same for one container in all its lives, another for each other one.
    fn number(self, network: u32) -> u64 {
        idmap::hash(self.state, &format!("{}/{network}", self.name))
    }

    /// `web-1f3a0c`: whose it is, and no other's.
    fn host_end(self, network: u32) -> String {
        let hash = self.number(network) & 0x00ff_ffff;
        let begin: String = self.name.chars().take(8).collect();
        format!("{begin}-{hash:06x}")
    }

    /// The name of the host's end of a veth.
    pub(crate) fn veth(self, network: &Network) -> String {
        match &network.pair {
            Some(name) => name.clone(),
            None => self.host_end(network.number),
        }
    }

    fn alias(self) -> String {
        format!("{ALIAS} {} in {}", self.name, self.state.display())
            .chars()
            // IFALIASZ.
            .take(255)
            .collect()
    }
}

/// Connects the process `pid`, which has a fresh network namespace; `forwards` lead to its first
/// place behind the host's address.
///
/// # Errors
/// The network, by its number, and what of it failed. Nothing is left then.
pub(crate) fn connect(
    owner: Owner<'_>,
    networks: &[Network],
    forwards: &[Forward],
    pid: i32,
) -> Result<Connected> {
    let mut connected = Connected::default();
    if !networks.iter().any(|n| n.kind.is_interface()) {
        return Ok(connected);
    }
    let namespace = namespace_of(pid)?;
    let what = || "open a netlink socket".to_owned();
    let mut host = Netlink::here().tried(what)?;
    let mut inside = Netlink::inside(namespace.as_fd()).tried(what)?;
    let mut forwards = Some(forwards);
    for network in networks {
        let managed = match (network.kind, network.link.as_deref()) {
            (NetworkKind::Veth, Some(link)) => managed::of_link(owner.state, link)?,
            _ => None,
        };
        let nat =
            |own: &Definition| own.kind == managed::Kind::Nat && !network.addresses.is_empty();
        let one = One {
            owner,
            network,
            forwards: match managed.as_ref().is_some_and(nat) {
                true => forwards.take().unwrap_or_default(),
                false => &[],
            },
            managed,
            namespace: &namespace,
        };
        one.connect(&mut host, &mut inside, &mut connected)
            .map_err(|error| {
                error.wrap(format!(
                    "could not set up the network lxc.net.{} ({})",
                    network.number, network.place
                ))
            })?;
    }
    // The last scripts find what the first ones found, as with LXC.
    let scripts = networks.iter().any(|n| n.down_script.is_some());
    if !connected.given.is_empty() || scripts {
        connected.namespace = Some(namespace);
    }
    Ok(connected)
}

impl Connected {
    /// Takes back what the host gave, and removes what stands on its side. Goes on past failures,
    /// which it returns as sentences.
    fn disconnect(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for port in &self.ports {
            if let Err(error) = port.remove() {
                failures.push(format!("remove the rules of {}: {error}", port.interface));
            }
        }
        if self.veths.is_empty() && self.given.is_empty() {
            return failures;
        }
        let mut host = match Netlink::here() {
            Ok(host) => host,
            Err(error) => return vec![format!("open a netlink socket: {error}")],
        };
        for name in &self.veths {
            let removed = link::find(&mut host, name)
                .and_then(|link| link.map_or(Ok(()), |link| link::delete(&mut host, link.index)));
            if let Err(error) = removed {
                failures.push(format!("remove the interface {name}: {error}"));
            }
        }
        let Some(namespace) = &self.namespace else {
            return failures;
        };
        for (inside, outside) in &self.given {
            if let Err(error) = take_back(namespace, inside, outside) {
                failures.push(format!("take back the interface {outside}: {error}"));
            }
        }
        failures
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        for failure in self.disconnect() {
            eprintln!("could not {failure}");
        }
    }
}

fn take_back(namespace: &OwnedFd, inside: &str, outside: &str) -> io::Result<()> {
    let home = File::open("/proc/thread-self/ns/net")?;
    let mut guest = Netlink::inside(namespace.as_fd())?;
    let Some(link) = link::find(&mut guest, inside)? else {
        return Ok(());
    };
    let back = Guest {
        name: outside,
        namespace: home.as_fd(),
        address: None,
        mtu: None,
    };
    link::give(&mut guest, link.index, &back)
}

/// Removes what a container has left whose monitor was killed; its processes are gone.
pub(crate) fn sweep(owner: Owner<'_>, networks: &[Network]) -> Result<()> {
    let veths = networks.iter().filter(|n| n.kind == NetworkKind::Veth);
    let names: Vec<String> = veths.map(|network| owner.veth(network)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut host = Netlink::here().tried(|| "open a netlink socket".to_owned())?;
    for name in names {
        remove_if_ours(&mut host, &name, &owner.alias())?;
    }
    for network in networks.iter().filter(|n| n.kind == NetworkKind::Veth) {
        let link = network.link.as_deref().unwrap_or_default();
        if let Some(managed) = managed::of_link(owner.state, link)? {
            let port = managed::port_of(owner, network, &managed);
            let what = || format!("remove the rules of {}", port.interface);
            port.remove().tried(what)?;
        }
    }
    Ok(())
}

/// Removes an interface if it is of an earlier life of the container; answers whether the name is
/// free now.
fn remove_if_ours(host: &mut Netlink, name: &str, alias: &str) -> Result<bool> {
    let what = || format!("remove the old interface {name}");
    let Some(old) = link::find(host, name).tried(what)? else {
        return Ok(true);
    };
    if old.alias.as_deref() != Some(alias) {
        return Ok(false);
    }
    link::delete(host, old.index).tried(what)?;
    Ok(true)
}

/// The addresses that a process sees, IPv4 first, without loopback and link-local ones.
pub(crate) fn addresses_of(pid: i32) -> Result<Vec<IpAddr>> {
    let namespace = namespace_of(pid)?;
    let mut inside = Netlink::inside(namespace.as_fd())
        .tried(|| "open a netlink socket in the container".to_owned())?;
    let found = address::list(&mut inside).tried(|| "list the container's addresses".to_owned())?;
    Ok(found.into_iter().map(|(_, address)| address).collect())
}

fn namespace_of(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/net");
    Ok(File::open(&path).tried(|| format!("open {path}"))?.into())
}
