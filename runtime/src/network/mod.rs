//! The networks of a container, from its `lxc.net.*` lines.
//!
//! The monitor makes them while the container's first process still waits: interfaces are born in
//! (or given to) its network namespace, and get their addresses and routes there, through a socket
//! that was opened inside. So they are complete before init runs, and nothing of the guest takes
//! part. With the namespace they end; the host's end of a veth is removed by name as well, because
//! the kernel takes its time.

mod address;
mod bridge_vlan;
pub(crate) mod link;
pub(crate) mod netlink;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use netlink_packet_route::link::{IpVlanMode, MacVlanMode};
use nix::errno::Errno;

use self::link::{Above, Guest, Veth};
use self::netlink::Netlink;
use crate::config::{Gateway, IpvlanMode, MacvlanMode, Network, NetworkKind};
use crate::error::{Error, Result, Tried};
use crate::idmap;

/// What the host's end of a veth says about itself (`ip link`).
const ALIAS: &str = "sampan container";

/// The networks that a container has on the host's side.
#[derive(Debug, Default)]
pub(crate) struct Connected {
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

/// Connects the process `pid`, which has a fresh network namespace.
///
/// # Errors
/// The network, by its number, and what of it failed. Nothing is left then.
pub(crate) fn connect(owner: Owner<'_>, networks: &[Network], pid: i32) -> Result<Connected> {
    let mut connected = Connected::default();
    if !networks.iter().any(|n| n.kind.is_interface()) {
        return Ok(connected);
    }
    let namespace = namespace_of(pid)?;
    let what = || "open a netlink socket".to_owned();
    let mut host = Netlink::here().tried(what)?;
    let mut inside = Netlink::inside(namespace.as_fd()).tried(what)?;
    for network in networks {
        let one = One {
            owner,
            network,
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

/// One network in the making.
struct One<'a> {
    owner: Owner<'a>,
    network: &'a Network,
    namespace: &'a OwnedFd,
}

impl One<'_> {
    fn connect(
        &self,
        host: &mut Netlink,
        inside: &mut Netlink,
        connected: &mut Connected,
    ) -> Result<()> {
        let network = self.network;
        if !network.kind.is_interface() {
            return Ok(());
        }
        let below = network
            .link
            .as_deref()
            .map(|name| self.link(host, name))
            .transpose()?;
        let guest = Guest {
            name: network.name.as_deref().unwrap_or(&network.usual_name),
            namespace: self.namespace.as_fd(),
            address: network
                .hardware
                .map(|address| address.filled(self.owner.number(network.number))),
            mtu: network.mtu,
        };
        let name = guest.name;
        match (network.kind, &below) {
            (NetworkKind::Veth, bridge) => self.veth(host, bridge.as_ref(), guest, connected)?,
            (NetworkKind::Macvlan, Some(link)) => {
                let kind = Above::Macvlan(match network.macvlan {
                    MacvlanMode::Private => MacVlanMode::Private,
                    MacvlanMode::Vepa => MacVlanMode::Vepa,
                    MacvlanMode::Bridge => MacVlanMode::Bridge,
                    MacvlanMode::Passthru => MacVlanMode::Passthrough,
                });
                lacking(
                    link::create_above(host, link.index, kind, &guest),
                    name,
                    "macvlan",
                )?;
            }
            (NetworkKind::Ipvlan, Some(link)) => {
                let kind = Above::Ipvlan(match network.ipvlan {
                    IpvlanMode::L2 => IpVlanMode::L2,
                    IpvlanMode::L3 => IpVlanMode::L3,
                    IpvlanMode::L3s => IpVlanMode::L3S,
                });
                lacking(
                    link::create_above(host, link.index, kind, &guest),
                    name,
                    "ipvlan",
                )?;
            }
            (NetworkKind::Vlan, Some(link)) => {
                let kind = Above::Vlan(network.vlan.unwrap_or(0));
                lacking(
                    link::create_above(host, link.index, kind, &guest),
                    name,
                    "vlan",
                )?;
            }
            (NetworkKind::Phys, Some(link)) => {
                let outside = network.link.clone().unwrap_or_default();
                link::give(host, link.index, &guest)
                    .tried(|| format!("give the interface {outside} to the container"))?;
                connected.given.push((name.to_owned(), outside));
                if connected.namespace.is_none() {
                    let copy = self.namespace.try_clone();
                    connected.namespace = Some(copy.tried(|| "copy a descriptor".to_owned())?);
                }
            }
            // The settings were checked: the others have a link.
            _ => return Err(Error::internal("a network without its link")),
        }
        self.address(host, inside, name)
    }

    fn link(&self, host: &mut Netlink, name: &str) -> Result<link::Link> {
        let found = link::find(host, name).tried(|| format!("look for the interface {name}"))?;
        let bridge = self.network.kind == NetworkKind::Veth;
        let kind = if bridge { "bridge" } else { "interface" };
        match found {
            Some(link) if bridge && link.kind != "bridge" => Err(Error::user(format!(
                "the link {name} is no bridge"
            ))
            .with_hint("a veth needs the name of a bridge; to share another interface use the type macvlan")),
            Some(link) => Ok(link),
            None => Err(
                Error::environment(format!("there is no {kind} {name} on this host")).with_hint(
                    format!("make it, or name another one in lxc.net.{}.link", self.network.number),
                ),
            ),
        }
    }

    fn veth(
        &self,
        host: &mut Netlink,
        bridge: Option<&link::Link>,
        mut guest: Guest<'_>,
        connected: &mut Connected,
    ) -> Result<()> {
        guest.mtu = guest.mtu.or(bridge.map(|bridge| bridge.mtu));
        let number = self.network.number;
        let name = self.owner.veth(self.network);
        let alias = self.owner.alias();
        // A bridge has the lowest address of its ports, unless told otherwise: one that begins with
        // fe is never that, so the bridge keeps its own.
        let mut host_address = [0xfe; 6];
        host_address[1..].copy_from_slice(&self.owner.number(!number).to_be_bytes()[3..]);
        let veth = Veth {
            host: &name,
            host_address,
            alias: &alias,
            bridge: bridge.map(|bridge| bridge.index),
            guest,
        };
        let what = || format!("make the pair of interfaces {name} and {}", guest.name);
        let mut made = link::create_veth(host, &veth);
        if is_taken(&made) && remove_if_ours(host, &name, &alias)? {
            made = link::create_veth(host, &veth);
        }
        let taken = is_taken(&made);
        made.tried(what).map_err(|error| match taken {
            true => error.with_hint(format!(
                "an interface {name} or {} is there already; lxc.net.{number}.veth.pair and \
                 lxc.net.{number}.name may name others",
                guest.name
            )),
            false => error,
        })?;
        connected.veths.push(name.clone());
        bridge_vlan::set_up(host, &name, self.network)
    }

    fn address(&self, host: &mut Netlink, inside: &mut Netlink, name: &str) -> Result<()> {
        let what = || format!("find the interface {name} in the container");
        let Some(link) = link::find(inside, name).tried(what)? else {
            return Err(Errno::ENODEV).tried(what);
        };
        for address in &self.network.addresses {
            address::add(inside, link.index, address)
                .tried(|| format!("give {name} the address {}", address.address))?;
        }
        // The kernel takes routes only through interfaces that are up.
        if self.network.up {
            link::set_up(inside, link.index).tried(|| format!("bring {name} up"))?;
        }
        for (gateway, v6) in [
            (self.network.gateway_4, false),
            (self.network.gateway_6, true),
        ] {
            let Some(gateway) = gateway else { continue };
            if !self.network.up {
                return Err(
                    Error::user(format!("a gateway needs the interface {name} up"))
                        .with_hint(format!("add lxc.net.{}.flags = up", self.network.number)),
                );
            }
            let address = match gateway {
                Gateway::Address(address) => address,
                Gateway::Auto => self.links_own(host, v6)?,
                Gateway::Device => {
                    address::add_default_device(inside, link.index, v6)
                        .tried(|| format!("route through {name}"))?;
                    continue;
                }
            };
            let near = self.network.addresses.iter().any(|a| a.reaches(address));
            if !near {
                address::add_host_route(inside, link.index, address)
                    .tried(|| format!("route to the gateway {address}"))?;
            }
            address::add_gateway(inside, link.index, address)
                .tried(|| format!("route through the gateway {address}"))?;
        }
        Ok(())
    }

    /// The address that the link has on the host.
    fn links_own(&self, host: &mut Netlink, v6: bool) -> Result<IpAddr> {
        let missing = |link: &str| {
            let family = if v6 { "IPv6" } else { "IPv4" };
            Error::user(format!(
                "the link {link} has no {family} address for the gateway \"auto\""
            ))
            .with_hint("give it one, or write the gateway's address")
        };
        let Some(name) = self.network.link.as_deref() else {
            return Err(missing("(none)"));
        };
        let link = self.link(host, name)?;
        let all = address::list(host).tried(|| format!("list the addresses of {name}"))?;
        all.into_iter()
            .find(|(index, address)| *index == link.index && address.is_ipv6() == v6)
            .map(|(_, address)| address)
            .ok_or_else(|| missing(name))
    }
}

/// A kind of interface that the kernel was built without.
fn lacking(made: io::Result<()>, name: &str, kind: &str) -> Result<()> {
    let lacks = made
        .as_ref()
        .is_err_and(|error| error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32));
    made.tried(|| format!("make the interface {name}"))
        .map_err(|error| match lacks {
            true => error.with_hint(format!("this kernel has no interfaces of the type {kind}")),
            false => error,
        })
}

fn is_taken(made: &io::Result<()>) -> bool {
    made.as_ref()
        .is_err_and(|error| error.raw_os_error() == Some(Errno::EEXIST as i32))
}
