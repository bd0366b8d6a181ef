//! Networks.

use super::Key;
use super::value::{number, text};
use crate::config::effective::Assignment;
use crate::config::networks::{
    Gateway, HardwareAddress, IpvlanMode, MacvlanMode, Network, NetworkAddress, NetworkKind,
    PortVlan, Script, VethMode,
};
use crate::config::settings::Draft;

/// An interface's name holds less than IFNAMSIZ bytes.
const LONGEST_NAME: usize = 15;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.net",
        "(empty)",
        "forgets all networks before this line",
        |draft, line| {
            if !line.value.is_empty() {
                return Err(line.wrong("is not empty"));
            }
            draft.settings.networks.clear();
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.type",
        "empty, none, veth, macvlan, ipvlan, vlan or phys",
        "the kind of network; a container has a network namespace with loopback of its own, but with `none` alone it is in the host's, with all that this means (docs/hooks.md)",
        |draft, line| {
            let kind = match line.value.as_str() {
                "empty" | "" => NetworkKind::Empty,
                "veth" => NetworkKind::Veth,
                "macvlan" => NetworkKind::Macvlan,
                "ipvlan" => NetworkKind::Ipvlan,
                "vlan" => NetworkKind::Vlan,
                "phys" => NetworkKind::Phys,
                "none" => NetworkKind::None,
                _ => return Err(line.wrong("is not a kind of network")),
            };
            network(draft, line)?.kind = kind;
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.flags",
        "up",
        "`up`: the interface is up before init runs",
        |draft, line| {
            network(draft, line)?.up = match line.value.as_str() {
                "up" => true,
                "" => false,
                _ => return Err(line.wrong("is not \"up\"")),
            };
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.link",
        "INTERFACE",
        "the host's bridge (veth) or interface (macvlan, ipvlan, vlan, phys)",
        |draft, line| {
            network(draft, line)?.link = interface(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.name",
        "INTERFACE",
        "the interface's name inside; without it the first ethN that is free, and the host's for phys",
        |draft, line| {
            network(draft, line)?.name = interface(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.hwaddr",
        "XX:XX:XX:XX:XX:XX",
        "its hardware address; an x is a digit that depends on the container alone",
        |draft, line| {
            let address =
                match line.value.as_str() {
                    "" => None,
                    value => Some(HardwareAddress::parse(value).ok_or_else(|| {
                        line.wrong("is not the hardware address of one interface")
                    })?),
                };
            network(draft, line)?.hardware = address;
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.mtu",
        "BYTES",
        "its largest packet; that of the link without it",
        |draft, line| {
            let mtu = number(line, 0)?;
            network(draft, line)?.mtu = (mtu > 0).then_some(mtu);
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.l2proxy",
        "0 or 1",
        "1: the link answers for the guest's addresses (proxy ARP and NDP), which takes net.ipv4.conf.LINK.forwarding and net.ipv6.conf.LINK.forwarding and proxy_ndp to be 1; of an ipvlan, the mode l3s",
        |draft, line| {
            network(draft, line)?.proxied = match line.value.as_str() {
                "0" | "" => false,
                "1" => true,
                _ => return Err(line.wrong("is neither 0 nor 1")),
            };
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.ipv4.address",
        "ADDRESS[/BITS] [BROADCAST]",
        "an address",
        |draft, line| address(draft, line, false),
    )
    .list(),
    Key::new(
        "lxc.net.N.ipv4.gateway",
        "ADDRESS, auto or dev",
        "the default route: through that address, the link's own (auto), or straight out (dev)",
        |draft, line| {
            network(draft, line)?.gateway_4 = gateway(line, false)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.ipv6.address",
        "ADDRESS[/BITS]",
        "an address",
        |draft, line| address(draft, line, true),
    )
    .list(),
    Key::new(
        "lxc.net.N.ipv6.gateway",
        "ADDRESS, auto or dev",
        "the default route, as for IPv4",
        |draft, line| {
            network(draft, line)?.gateway_6 = gateway(line, true)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.script.up",
        "COMMAND",
        "run on the host when the network is made; if it fails, the start does (docs/hooks.md)",
        |draft, line| {
            network(draft, line)?.up_script = script(line);
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.script.down",
        "COMMAND",
        "run on the host before the network goes, at a stop and a reboot",
        |draft, line| {
            network(draft, line)?.down_script = script(line);
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.veth.pair",
        "INTERFACE",
        "the name of the host's end; without it one that tells the container",
        |draft, line| {
            network(draft, line)?.pair = interface(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.veth.mode",
        "bridge or router",
        "the host's end is a port of the bridge `link`; or the host routes the guest's addresses to it, and answers there for its gateways",
        |draft, line| {
            network(draft, line)?.veth = match line.value.as_str() {
                "bridge" | "" => VethMode::Bridge,
                "router" => VethMode::Router,
                _ => return Err(line.wrong("is neither bridge nor router")),
            };
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.veth.ipv4.route",
        "NETWORK/BITS",
        "a network that the host reaches by its end",
        |draft, line| route(draft, line, false),
    )
    .list(),
    Key::new(
        "lxc.net.N.veth.ipv6.route",
        "NETWORK/BITS",
        "the same of IPv6",
        |draft, line| route(draft, line, true),
    )
    .list(),
    Key::new(
        "lxc.net.N.veth.vlan.id",
        "NUMBER or none",
        "of the bridge's port: the VLAN of what has no tag, in place of the bridge's own; the bridge must filter VLANs",
        |draft, line| {
            network(draft, line)?.port_vlan = match line.value.as_str() {
                "" => None,
                "none" => Some(PortVlan::None),
                _ => Some(PortVlan::Id(port_vlan(line)?)),
            };
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.veth.vlan.tagged.id",
        "NUMBER",
        "of the bridge's port: a VLAN that it is in, with a tag",
        |draft, line| {
            let vlans = &mut network(draft, line)?.tagged_vlans;
            if line.value.is_empty() {
                vlans.clear();
                return Ok(());
            }
            let id = port_vlan(line)?;
            if vlans.contains(&id) {
                return Err(line.wrong("is there twice"));
            }
            vlans.push(id);
            Ok(())
        },
    )
    .list(),
    unsupported("lxc.net.N.veth.*", "(as LXC)", "queues of a veth"),
    Key::new(
        "lxc.net.N.vlan.id",
        "NUMBER",
        "the VLAN, 0 to 4094",
        |draft, line| {
            let id: u16 = number(line, 0)?;
            if id > 4094 {
                return Err(line.wrong("is not a VLAN from 0 to 4094"));
            }
            network(draft, line)?.vlan = (!line.value.is_empty()).then_some(id);
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.macvlan.mode",
        "private, vepa, bridge or passthru",
        "whom a macvlan reaches over its link; private without it",
        |draft, line| {
            network(draft, line)?.macvlan = match line.value.as_str() {
                "private" | "" => MacvlanMode::Private,
                "vepa" => MacvlanMode::Vepa,
                "bridge" => MacvlanMode::Bridge,
                "passthru" => MacvlanMode::Passthru,
                _ => return Err(line.wrong("is not a mode of macvlan")),
            };
            Ok(())
        },
    ),
    Key::new(
        "lxc.net.N.ipvlan.mode",
        "l2, l3 or l3s",
        "how an ipvlan is reached; l3 without it",
        |draft, line| {
            network(draft, line)?.ipvlan = match line.value.as_str() {
                "l2" => IpvlanMode::L2,
                "l3" | "" => IpvlanMode::L3,
                "l3s" => IpvlanMode::L3s,
                _ => return Err(line.wrong("is not a mode of ipvlan")),
            };
            Ok(())
        },
    ),
    unsupported("lxc.net.N.ipvlan.*", "(as LXC)", "isolation of an ipvlan"),
];

const fn unsupported(name: &'static str, syntax: &'static str, meaning: &'static str) -> Key {
    Key::new(name, syntax, meaning, |_, _| {
        Err("is not supported".to_owned())
    })
    .refused()
}

/// The network that a line is about; its first line makes it.
fn network<'d>(draft: &'d mut Draft, line: &Assignment) -> Result<&'d mut Network, String> {
    let number: u32 = line
        .key
        .split('.')
        .nth(2)
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| "does not begin with lxc.net. and a number".to_owned())?;
    let networks = &mut draft.settings.networks;
    let at = match networks.binary_search_by_key(&number, |network| network.number) {
        Ok(at) => at,
        Err(at) => {
            networks.insert(at, Network::new(number, line.place()));
            at
        }
    };
    Ok(&mut networks[at])
}

fn script(line: &Assignment) -> Option<Script> {
    Some(Script {
        command: text(line)?,
        place: line.place(),
    })
}

fn port_vlan(line: &Assignment) -> Result<u16, String> {
    match number(line, 0)? {
        id @ 1..=4094 => Ok(id),
        _ => Err(line.wrong("is not a VLAN from 1 to 4094")),
    }
}

fn interface(line: &Assignment) -> Result<Option<String>, String> {
    let Some(name) = text(line) else {
        return Ok(None);
    };
    let bad = |c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace() || c.is_control();
    if name.len() > LONGEST_NAME || name == "." || name == ".." || name.contains(bad) {
        return Err(line.wrong("cannot be the name of an interface (15 bytes at most)"));
    }
    Ok(Some(name))
}

fn address(draft: &mut Draft, line: &Assignment, v6: bool) -> Result<(), String> {
    let addresses = &mut network(draft, line)?.addresses;
    if line.value.is_empty() {
        addresses.retain(|address| address.address.is_ipv6() != v6);
        return Ok(());
    }
    let address = NetworkAddress::parse(&line.value)
        .filter(|address| address.address.is_ipv6() == v6)
        .ok_or_else(|| line.wrong("is not an address with the number of its network's bits"))?;
    addresses.push(address);
    Ok(())
}

fn route(draft: &mut Draft, line: &Assignment, v6: bool) -> Result<(), String> {
    let routes = &mut network(draft, line)?.routes;
    if line.value.is_empty() {
        routes.retain(|route| route.address.is_ipv6() != v6);
        return Ok(());
    }
    let route = NetworkAddress::parse(&line.value)
        .filter(|route| route.address.is_ipv6() == v6 && route.said_broadcast.is_none())
        .filter(|_| line.value.contains('/'))
        .ok_or_else(|| line.wrong("is not a network with the number of its bits"))?;
    routes.push(route);
    Ok(())
}

fn gateway(line: &Assignment, v6: bool) -> Result<Option<Gateway>, String> {
    Ok(match line.value.as_str() {
        "" => None,
        "auto" => Some(Gateway::Auto),
        "dev" => Some(Gateway::Device),
        address => {
            let address: std::net::IpAddr = address
                .parse()
                .map_err(|_| line.wrong("is neither an address nor auto nor dev"))?;
            if address.is_ipv6() != v6 {
                return Err(line.wrong("is an address of the other kind"));
            }
            Some(Gateway::Address(address))
        }
    })
}
