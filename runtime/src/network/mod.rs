//! The networks of a container, from its `lxc.net.*` lines.
//!
//! The monitor makes them while the container's first process still waits: interfaces are born in
//! (or given to) its network namespace, and get their addresses and routes there, through a socket
//! that was opened inside. So they are complete before init runs, and nothing of the guest takes
//! part. With the namespace they end; the host's end of a veth is removed by name as well, because
//! the kernel takes its time.

mod address;
mod bridge_vlan;
mod ends;
mod interface;
pub(crate) mod link;
pub(crate) mod managed;
mod neighbour;
pub(crate) mod netlink;
mod nft;
mod proxy;
mod routed;
pub mod service;
mod switch;
mod sysctl;
pub mod uplink;

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use self::ends::Ends;
use self::interface::One;
use self::managed::Forward;
use self::netlink::Netlink;
use self::proxy::Proxy;
use crate::config::{Network, NetworkKind};
use crate::error::{Result, Tried};
use crate::idmap;

/// What the host's end of a veth says about itself (`ip link`).
const ALIAS: &str = "sampan container";

/// The networks of a container that runs. What they have on the host's side goes with this.
#[derive(Debug, Default)]
pub(crate) struct Connected {
    ends: Vec<Ends>,
    /// Its network namespace, if scripts want to find it when its processes have ended.
    _namespace: Option<OwnedFd>,
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

/// Connects the process `pid`, which has a network namespace of its own; `forwards` lead to its first
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
    for network in networks.iter().filter(|n| n.kind.is_interface()) {
        let managed = managed::of_network(owner.state, network)?;
        let behind = managed.as_ref().is_some_and(|own| own.leads_to(network));
        let one = One {
            owner,
            network,
            forwards: match behind {
                true => forwards.take().unwrap_or_default(),
                false => &[],
            },
            managed,
            namespace: &namespace,
        };
        let mut ends = Ends::new(network.number);
        let made = one.connect(&mut host, &mut inside, &mut ends);
        connected.ends.push(ends);
        made.map_err(|error| {
            error.wrap(format!(
                "could not set up the network lxc.net.{} ({})",
                network.number, network.place
            ))
        })?;
    }
    // The last scripts find what the first ones found, as with LXC.
    if networks.iter().any(|n| n.down_script.is_some()) {
        connected._namespace = Some(namespace);
    }
    Ok(connected)
}

impl Connected {
    /// Takes over what is connected beside this.
    pub(crate) fn join(&mut self, other: Connected) {
        self.ends.extend(other.ends);
    }

    /// Takes a network from the process `pid`, which goes on running. One that it does not have is
    /// fine.
    ///
    /// # Errors
    /// Something of it is still there.
    pub(crate) fn disconnect(&mut self, number: u32, pid: i32) -> Result<()> {
        let Some(place) = self.ends.iter().position(|ends| ends.number == number) else {
            return Ok(());
        };
        let namespace = namespace_of(pid)?;
        let mut inside = Netlink::inside(namespace.as_fd())
            .tried(|| "open a netlink socket in the container".to_owned())?;
        self.ends.remove(place).remove(&mut inside)
    }
}

/// Removes what a container has left whose monitor was killed; its processes are gone.
pub(crate) fn sweep(owner: Owner<'_>, networks: &[Network]) -> Result<()> {
    let veths = networks.iter().filter(|n| n.kind == NetworkKind::Veth);
    let names: Vec<String> = veths.map(|network| owner.veth(network)).collect();
    let proxies: Vec<Proxy> = networks.iter().filter_map(Proxy::left_by).collect();
    if names.is_empty() && proxies.is_empty() {
        return Ok(());
    }
    let mut host = Netlink::here().tried(|| "open a netlink socket".to_owned())?;
    for proxy in proxies {
        proxy.remove(&mut host)?;
    }
    for name in names {
        remove_if_ours(&mut host, &name, &owner.alias())?;
    }
    for network in networks.iter().filter(|n| n.kind == NetworkKind::Veth) {
        if let Some(managed) = managed::of_network(owner.state, network)? {
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
