//! One interface of a container in the making.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use netlink_packet_route::link::{IpVlanMode, MacVlanMode};
use nix::errno::Errno;

use super::ends::{Ends, Given};
use super::link::{self, Above, Guest, Veth};
use super::managed::{self, Definition, Forward};
use super::netlink::Netlink;
use super::proxy::Proxy;
use super::{Owner, address, bridge_vlan, remove_if_ours, routed};
use crate::config::{Gateway, IpvlanMode, MacvlanMode, Network, NetworkKind, VethMode};
use crate::error::{Error, Result, Tried};

/// One network in the making.
pub(super) struct One<'a> {
    pub(super) owner: Owner<'a>,
    pub(super) network: &'a Network,
    /// The network of Sampan's own that it is.
    pub(super) managed: Option<Definition>,
    pub(super) forwards: &'a [Forward],
    pub(super) namespace: &'a OwnedFd,
}

impl One<'_> {
    pub(super) fn connect(
        &self,
        host: &mut Netlink,
        inside: &mut Netlink,
        ends: &mut Ends,
    ) -> Result<()> {
        let network = self.network;
        let below = network
            .link
            .as_deref()
            .map(|name| self.link(host, name))
            .transpose()?;
        let guest = Guest {
            name: network.name.as_deref().unwrap_or(&network.usual_name),
            namespace: self.namespace.as_fd(),
            address: match &self.managed {
                Some(_) => Some(managed::hardware(self.owner, network)),
                None => network
                    .hardware
                    .map(|address| address.filled(self.owner.number(network.number))),
            },
            mtu: network.mtu,
        };
        let name = guest.name;
        if let Some(proxy) = Proxy::of(network)? {
            ends.proxy.insert(proxy).make(host)?;
        }
        match (network.kind, &below) {
            (NetworkKind::Veth, link) => {
                self.port(ends)?;
                self.veth(host, link.as_ref(), guest, ends)?;
            }
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
                let copy = self.namespace.try_clone();
                ends.given = Some(Given {
                    namespace: copy.tried(|| "copy a descriptor".to_owned())?,
                    index: self.inside(inside, name)?.index,
                    name: outside,
                });
            }
            // The settings were checked: the others have a link.
            _ => return Err(Error::internal("a network without its link")),
        }
        let link = self.inside(inside, name)?;
        ends.inside = Some(link.index);
        self.address(host, inside, (name, link.index))
    }

    /// Its interface in the container.
    fn inside(&self, inside: &mut Netlink, name: &str) -> Result<link::Link> {
        let what = || format!("find the interface {name} in the container");
        let found = link::find(inside, name).tried(what)?;
        found.ok_or(Errno::ENODEV).tried(what)
    }

    /// Holds it to its own addresses, before its end of the bridge is there.
    fn port(&self, ends: &mut Ends) -> Result<()> {
        let Some(managed) = &self.managed else {
            return Ok(());
        };
        let _held = managed::hold(self.owner.state)?;
        let mut port = managed::port_of(self.owner, self.network, managed);
        port.forwards = self.forwards.to_vec();
        port.make()?;
        ends.port = Some(port);
        Ok(())
    }

    fn link(&self, host: &mut Netlink, name: &str) -> Result<link::Link> {
        let found = link::find(host, name).tried(|| format!("look for the interface {name}"))?;
        let bridge =
            self.network.kind == NetworkKind::Veth && self.network.veth == VethMode::Bridge;
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
        link: Option<&link::Link>,
        mut guest: Guest<'_>,
        ends: &mut Ends,
    ) -> Result<()> {
        guest.mtu = guest.mtu.or(link.map(|link| link.mtu));
        let bridge = link.filter(|_| self.network.veth == VethMode::Bridge);
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
        ends.veth = Some(name.clone());
        if self.network.veth == VethMode::Router || !self.network.routes.is_empty() {
            let what = || format!("find the interface {name}");
            let found = link::find(host, &name).tried(what)?;
            let index = found.ok_or(Errno::ENODEV).tried(what)?.index;
            routed::set_up(host, (&name, index), self.network)?;
        }
        bridge_vlan::set_up(host, &name, self.network)
    }

    fn address(
        &self,
        host: &mut Netlink,
        inside: &mut Netlink,
        (name, index): (&str, u32),
    ) -> Result<()> {
        for address in &self.network.addresses {
            address::add(inside, index, address)
                .tried(|| format!("give {name} the address {}", address.address))?;
        }
        // The kernel takes routes only through interfaces that are up.
        if self.network.up {
            link::set_up(inside, index).tried(|| format!("bring {name} up"))?;
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
                    address::add_default_device(inside, index, v6)
                        .tried(|| format!("route through {name}"))?;
                    continue;
                }
            };
            let near = self.network.addresses.iter().any(|a| a.reaches(address));
            if !near {
                address::add_host_route(inside, index, address)
                    .tried(|| format!("route to the gateway {address}"))?;
            }
            address::add_gateway(inside, index, address)
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
