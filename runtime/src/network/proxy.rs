//! A link of the host's that answers for a container's addresses: `lxc.net.N.l2proxy`.

use std::net::IpAddr;

use super::netlink::Netlink;
use super::{address, link, neighbour, sysctl};
use crate::config::{IpvlanMode, Network, NetworkKind};
use crate::error::{Error, Result, Tried};

/// The addresses that a link answers for. They have to be taken back: the link stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    link: String,
    addresses: Vec<IpAddr>,
    /// An ipvlan is below no interface of the host: a route to loopback has the link answer.
    loopback: bool,
}

/// The index of `lo` in every namespace (net/core/dev.c).
const LOOPBACK: u32 = 1;

impl Proxy {
    /// What a network asks for, if it does.
    ///
    /// # Errors
    /// The kernel is not set to pass on what comes there, or this kind of network cannot.
    pub(super) fn of(network: &Network) -> Result<Option<Proxy>> {
        let Some(proxy) = Proxy::left_by(network) else {
            return Ok(None);
        };
        if proxy.loopback && network.ipvlan != IpvlanMode::L3s {
            return Err(
                Error::user("l2proxy of an ipvlan needs its mode l3s".to_owned())
                    .with_hint(format!("add lxc.net.{}.ipvlan.mode = l3s", network.number)),
            );
        }
        let link = &proxy.link;
        for (family, setting, v6) in [
            ("ipv4", "forwarding", false),
            ("ipv6", "forwarding", true),
            ("ipv6", "proxy_ndp", true),
        ] {
            let needed = proxy.addresses.iter().any(|own| own.is_ipv6() == v6);
            if needed {
                sysctl::must_be_on(&format!("{family}/conf/{link}/{setting}"), "l2proxy")?;
            }
        }
        Ok(Some(proxy))
    }

    /// What a network has asked for when it was made, whatever has changed since.
    pub(super) fn left_by(network: &Network) -> Option<Proxy> {
        let link = network.link.clone().filter(|_| network.proxied)?;
        Some(Proxy {
            link,
            addresses: network.addresses.iter().map(|own| own.address).collect(),
            loopback: network.kind == NetworkKind::Ipvlan,
        })
    }

    /// Has the link answer.
    pub(super) fn make(&self, host: &mut Netlink) -> Result<()> {
        let link = &self.link;
        let what = || format!("find the interface {link}");
        let Some(found) = link::find(host, link).tried(what)? else {
            return Err(Error::environment(format!(
                "there is no interface {link} on this host"
            )));
        };
        for own in &self.addresses {
            neighbour::proxy(host, found.index, *own)
                .tried(|| format!("answer for {own} on {link}"))?;
            if self.loopback {
                address::add_host_route(host, LOOPBACK, *own)
                    .tried(|| format!("route {own} to the host itself"))?;
            }
        }
        Ok(())
    }

    /// Has it answer no more. What is gone is fine.
    pub(super) fn remove(&self, host: &mut Netlink) -> Result<()> {
        let link = &self.link;
        let what = || format!("answer no more on {link}");
        let found = link::find(host, link).tried(what)?;
        for own in &self.addresses {
            if let Some(found) = &found {
                neighbour::unproxy(host, found.index, *own).tried(what)?;
            }
            if self.loopback {
                address::delete_host_route(host, LOOPBACK, *own).tried(what)?;
            }
        }
        Ok(())
    }
}
