//! The host's part of the containers' networks: forwarding, and the bridges they are ports of.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Network, NetworkKind};
use crate::network::netlink::Netlink;
use crate::network::{link, managed};

use super::{Finding, Host};

pub(super) fn forwarding(host: &Host<'_>) -> Vec<Finding> {
    let routed = |v6: bool| {
        veths(host).any(|network| match v6 {
            true => network.gateway_6.is_some(),
            false => network.gateway_4.is_some(),
        })
    };
    let v4 = forwards(
        ("network.forwarding.ipv4", "IPv4"),
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        // Most bridges of IPv4 are behind the host.
        routed(false) || !bridges_used(host).is_empty(),
    );
    let v6 = forwards(
        ("network.forwarding.ipv6", "IPv6"),
        (
            "net.ipv6.conf.all.forwarding",
            "/proc/sys/net/ipv6/conf/all/forwarding",
        ),
        routed(true),
    );
    vec![v4, v6]
}

fn forwards(
    (name, family): (&'static str, &str),
    (key, file): (&str, &str),
    needed: bool,
) -> Finding {
    match std::fs::read_to_string(file) {
        Err(error) => Finding::unknown(name, format!("{family}: {file}: {error}")),
        Ok(text) if text.trim() != "0" => Finding::ok(name, format!("{family} is forwarded")),
        Ok(_) if !needed => Finding::ok(
            name,
            format!("{family} is not forwarded, and no container has a route through this host"),
        ),
        Ok(_) => Finding::warning(
            name,
            format!("{family} is not forwarded: containers reach this host and each other only"),
            format!("sysctl -w {key}=1"),
        ),
    }
}

/// The bridges and other interfaces that containers' configs name as a link.
pub(super) fn bridges(host: &Host<'_>) -> Vec<Finding> {
    let name = "network.bridges";
    let mut links = BTreeMap::new();
    for (container, settings) in host.settings() {
        for network in &settings.networks {
            if let Some(link) = &network.link {
                let users: &mut Vec<(&str, NetworkKind)> = links.entry(link.as_str()).or_default();
                users.push((container, network.kind));
            }
        }
    }
    if links.is_empty() {
        return vec![Finding::ok(name, "no container needs one")];
    }
    let mut netlink = match Netlink::here() {
        Ok(netlink) => netlink,
        Err(error) => return vec![Finding::unknown(name, error.to_string())],
    };
    links
        .into_iter()
        .map(|(link, users)| {
            let names: BTreeSet<&str> = users.iter().map(|(name, _)| *name).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let bridge = users.iter().any(|(_, kind)| *kind == NetworkKind::Veth);
            let given = users.iter().any(|(_, kind)| *kind == NetworkKind::Phys);
            let found = link::find(&mut netlink, link);
            let first = names[0];
            match found {
                Err(error) => Finding::unknown(name, format!("{link}: {error}")),
                // A container that runs has it.
                Ok(None) if given => Finding::ok(
                    name,
                    format!("{link} is not here: given to {}", names.join(", ")),
                ),
                Ok(None) if is_brought_up(host, link) => {
                    Finding::ok(name, format!("{link} is made when it is needed"))
                }
                Ok(None) => Finding::problem(
                    name,
                    format!(
                        "there is no interface {link}, which {} need",
                        names.join(", ")
                    ),
                    match bridge {
                        true => format!("ip link add {link} type bridge && ip link set {link} up"),
                        false => format!("sampan config set {first} lxc.net.0.link INTERFACE"),
                    },
                ),
                Ok(Some(found)) if bridge && found.kind != "bridge" => Finding::problem(
                    name,
                    format!(
                        "{link} is no bridge, and {} would be ports of it",
                        names.join(", ")
                    ),
                    format!("sampan config set {first} lxc.net.0.type macvlan"),
                ),
                Ok(Some(found)) if !found.up => Finding::warning(
                    name,
                    format!("{link} is down: {} reach nobody", names.join(", ")),
                    format!("ip link set {link} up"),
                ),
                Ok(Some(_)) => {
                    Finding::ok(name, format!("{link} is there for {}", names.join(", ")))
                }
            }
        })
        .collect()
}

/// The bridges that containers are ports of, but for those of networks that Sampan brings up: to
/// them it opens other firewalls itself, and forwards.
pub(super) fn bridges_used(host: &Host<'_>) -> BTreeSet<String> {
    veths(host)
        .filter_map(|network| network.link.clone())
        .collect()
}

fn veths<'a>(host: &'a Host<'_>) -> impl Iterator<Item = &'a Network> {
    let networks = host.settings().flat_map(|(_, settings)| &settings.networks);
    networks.filter(move |network| {
        let link = network.link.as_deref().unwrap_or_default();
        network.kind == NetworkKind::Veth && !is_brought_up(host, link)
    })
}

/// Whether a start makes this bridge.
fn is_brought_up(host: &Host<'_>, link: &str) -> bool {
    let state = &host.subject.containers.directories().state;
    managed::of_link(state, link).is_ok_and(|network| network.is_some())
}

pub(super) fn has_interface(name: &str) -> bool {
    let found = Netlink::here().and_then(|mut netlink| link::find(&mut netlink, name));
    found.is_ok_and(|link| link.is_some())
}
