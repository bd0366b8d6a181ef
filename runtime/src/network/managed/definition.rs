//! What a network is: STATE/.networks/NAME, `key = value` lines.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::kind::Kind;
use super::subnet;
use crate::config::NetworkAddress;
use crate::error::{Error, Reason, Result};
use crate::name::{ContainerName, nearest};
use crate::network::uplink::Uplink;

/// A network by its definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub kind: Kind,
    /// The bridge (nat, isolated, bridge) or the host's interface that it stands on.
    pub link: String,
    /// Of the kind bridge: the host's interface that becomes its first port, and whose addresses it
    /// takes over.
    pub uplink: Option<String>,
    /// The host's IPv4 address in it, which is the gateway.
    pub ipv4: Option<NetworkAddress>,
    /// The host's IPv6 address in it.
    pub ipv6: Option<NetworkAddress>,
    /// Whether the host answers for names.
    pub dns: bool,
    /// Whether the host tells addresses to guests that ask.
    pub dhcp: bool,
    /// Whether its containers reach the host's services.
    pub host_access: bool,
    /// The domain of its containers' names.
    pub domain: String,
    /// Of the kind vde: the directory of the switch's sockets, if it is not the usual one.
    pub socket: Option<PathBuf>,
    /// Of the kind vde: who may plug in beside root.
    pub group: Option<String>,
    /// Of the kind vlan: which.
    pub vlan: Option<u16>,
    /// Of the kinds macvlan and ipvlan: the mode, in lxc.container.conf(5)'s words.
    pub mode: Option<String>,
}

/// The keys of a definition.
const KEYS: [&str; 13] = [
    "kind",
    "link",
    "uplink",
    "ipv4",
    "ipv6",
    "dns",
    "dhcp",
    "host-access",
    "domain",
    "socket",
    "group",
    "vlan",
    "mode",
];

/// The sockets in it have names of their own, and 107 bytes in all (unix(7)).
const LONGEST_SOCKET: usize = 85;

/// The longest name of an interface.
const LONGEST: usize = 15;

impl Definition {
    /// A new one, without addresses.
    ///
    /// # Errors
    /// The name cannot be a network's.
    pub fn new(name: &str, kind: Kind) -> Result<Definition> {
        Ok(Definition {
            name: checked_name(name)?.to_owned(),
            kind,
            link: match kind {
                kind if kind.is_managed() => name.to_owned(),
                _ => String::new(),
            },
            uplink: None,
            ipv4: None,
            ipv6: None,
            dns: kind.is_managed(),
            dhcp: kind.is_managed(),
            host_access: false,
            domain: "sampan".to_owned(),
            socket: None,
            group: None,
            vlan: None,
            mode: None,
        })
    }

    /// Reads a definition.
    ///
    /// # Errors
    /// The line that cannot be understood.
    pub fn parse(name: &str, text: &str) -> Result<Definition> {
        let mut kind = None;
        let mut pairs = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let pair = line.split_once('=').ok_or_else(|| {
                Error::user(format!("line {number} of the network {name}: no \"=\""))
            })?;
            let (key, value) = (pair.0.trim(), pair.1.trim());
            if key == "kind" {
                kind = Some(value.parse()?);
            } else {
                pairs.push((key, value));
            }
        }
        let kind = kind.ok_or_else(|| Error::user(format!("the network {name} has no kind")))?;
        let mut definition = Definition::new(name, kind)?;
        for (key, value) in pairs {
            definition.set(key, value)?;
        }
        definition.check()?;
        Ok(definition)
    }

    /// Gives a key a value; an empty one resets it.
    ///
    /// # Errors
    /// There is no such key, or the value does not fit.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let wrong = |what: &str| Error::user(format!("{key} = {value}: {what}"));
        match key {
            "link" if self.kind.is_managed() => {
                return Err(wrong("its bridge has the network's name"));
            }
            "uplink" if self.kind != Kind::Bridge => {
                return Err(wrong("only a network of the kind bridge has an uplink"));
            }
            "link" | "uplink" => {
                let bad = |c: char| "/:%".contains(c) || c.is_whitespace() || c.is_control();
                if value.is_empty()
                    || value.len() > LONGEST
                    || matches!(value, "." | "..")
                    || value.contains(bad)
                {
                    return Err(wrong("not the name of an interface"));
                }
                match key {
                    "link" => self.link = value.to_owned(),
                    _ => {
                        self.uplink = Some(value.to_owned());
                        // It has to be found by the bridge's name.
                        self.link.clone_from(&self.name);
                    }
                }
            }
            "ipv4" | "ipv6" => {
                let v6 = key == "ipv6";
                let address = match value {
                    "" | "none" => None,
                    text => Some(gateway(text, v6).map_err(|what| wrong(&what))?),
                };
                match v6 {
                    true => self.ipv6 = address,
                    false => self.ipv4 = address,
                }
            }
            "dns" => self.dns = yes(value).ok_or_else(|| wrong("yes or no"))?,
            "dhcp" => self.dhcp = yes(value).ok_or_else(|| wrong("yes or no"))?,
            "host-access" => self.host_access = yes(value).ok_or_else(|| wrong("yes or no"))?,
            "domain" => {
                let label = |label: &str| {
                    !label.is_empty()
                        && label.len() < 64
                        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                };
                if value.len() > 200 || !value.split('.').all(label) {
                    return Err(wrong("not the name of a domain"));
                }
                self.domain = value.to_ascii_lowercase();
            }
            "socket" | "group" if self.kind != Kind::Vde => {
                return Err(wrong("only a network of the kind vde has one"));
            }
            "socket" => {
                let fits = value.starts_with('/') && value.len() <= LONGEST_SOCKET;
                if !value.is_empty() && !fits {
                    return Err(wrong(&format!(
                        "not the absolute path of a directory, of {LONGEST_SOCKET} characters at most"
                    )));
                }
                self.socket = (!value.is_empty()).then(|| value.into());
            }
            "group" => {
                let bad = |c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c);
                if value.starts_with('-') || value.contains(bad) {
                    return Err(wrong("not the name of a group"));
                }
                self.group = (!value.is_empty()).then(|| value.to_owned());
            }
            "vlan" => {
                self.vlan = match value {
                    "" => None,
                    text => Some(
                        text.parse()
                            .ok()
                            .filter(|id| (1..=4094).contains(id))
                            .ok_or_else(|| wrong("a VLAN is 1 to 4094"))?,
                    ),
                }
            }
            "mode" => {
                let modes: &[&str] = match self.kind {
                    Kind::Macvlan => &["private", "vepa", "bridge", "passthru"],
                    Kind::Ipvlan => &["l2", "l3", "l3s"],
                    _ => return Err(wrong("only macvlan and ipvlan have a mode")),
                };
                if !modes.contains(&value) {
                    return Err(wrong(&format!("choose {}", modes.join(", "))));
                }
                self.mode = Some(value.to_owned());
            }
            _ => {
                let error = Error::user(format!("\"{key}\" is not an option of a network"));
                let near = nearest(key, KEYS.into_iter());
                return Err(match near.is_empty() {
                    true => error.with_hint(format!("the options are {}", KEYS[1..].join(", "))),
                    false => error.with_hint(format!("did you mean {}?", near.join(" or "))),
                });
            }
        }
        Ok(())
    }

    /// Whether it says all that its kind needs.
    pub(super) fn check(&self) -> Result<()> {
        let lacks = |what: &str| {
            Err(Error::user(format!(
                "the network {} ({}) needs {what}",
                self.name, self.kind
            )))
        };
        match self.kind {
            kind if kind.is_managed() && self.ipv4.is_none() => lacks("ipv4"),
            Kind::Vde if self.group.is_some() && self.socket.is_none() => {
                lacks("a socket where its group can reach it: socket=/run/vde2/NAME.ctl")
            }
            Kind::Vlan if self.vlan.is_none() => lacks("vlan"),
            _ if self.link.is_empty() => lacks("link"),
            Kind::Bridge if self.uplink.is_some() && self.link != self.name => {
                lacks("its own name as link, since it has an uplink")
            }
            _ => Ok(()),
        }
    }

    /// The uplink with its bridge.
    pub(crate) fn uplink(&self) -> Option<Uplink> {
        self.uplink.clone().map(|interface| Uplink {
            interface,
            bridge: self.link.clone(),
        })
    }

    /// Whether something has to be made before a container can be in it.
    pub(crate) fn is_made(&self) -> bool {
        self.kind.is_managed() || self.uplink.is_some()
    }

    /// The IPv4 addresses of machines that no config names, if there may be any.
    pub(crate) fn pool(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        subnet::pool(self.gateway_4().filter(|_| self.kind == Kind::Vde)?)
    }

    /// The host's addresses in it, IPv4 first.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = NetworkAddress> {
        self.ipv4.into_iter().chain(self.ipv6)
    }

    pub(crate) fn gateway_4(&self) -> Option<(Ipv4Addr, u8)> {
        match self.ipv4 {
            Some(NetworkAddress {
                address: IpAddr::V4(address),
                bits,
                ..
            }) => Some((address, bits)),
            _ => None,
        }
    }

    pub(crate) fn gateway_6(&self) -> Option<(Ipv6Addr, u8)> {
        match self.ipv6 {
            Some(NetworkAddress {
                address: IpAddr::V6(address),
                bits,
                ..
            }) => Some((address, bits)),
            _ => None,
        }
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kind = {}", self.kind)?;
        if !self.kind.is_managed() {
            writeln!(f, "link = {}", self.link)?;
        }
        if let Some(uplink) = &self.uplink {
            writeln!(f, "uplink = {uplink}")?;
        }
        let address = |a: NetworkAddress| format!("{}/{}", a.address, a.bits);
        if let Some(ipv4) = self.ipv4 {
            writeln!(f, "ipv4 = {}", address(ipv4))?;
        }
        if let Some(ipv6) = self.ipv6 {
            writeln!(f, "ipv6 = {}", address(ipv6))?;
        }
        let word = |yes| if yes { "yes" } else { "no" };
        if self.kind.is_managed() {
            writeln!(f, "dns = {}", word(self.dns))?;
            writeln!(f, "dhcp = {}", word(self.dhcp))?;
            writeln!(f, "host-access = {}", word(self.host_access))?;
            writeln!(f, "domain = {}", self.domain)?;
        }
        if let Some(socket) = &self.socket {
            writeln!(f, "socket = {}", socket.display())?;
        }
        if let Some(group) = &self.group {
            writeln!(f, "group = {group}")?;
        }
        if let Some(vlan) = self.vlan {
            writeln!(f, "vlan = {vlan}")?;
        }
        if let Some(mode) = &self.mode {
            writeln!(f, "mode = {mode}")?;
        }
        Ok(())
    }
}

/// A name that is also a file's and an interface's.
pub(super) fn checked_name(name: &str) -> Result<&str> {
    name.parse::<ContainerName>().map_err(|_| {
        Error::user(format!("\"{name}\" is not a network's name")).with_hint(format!(
            "a name is 1 to {LONGEST} letters, digits, \".\", \"_\" and \"-\""
        ))
    })?;
    if name.len() > LONGEST {
        return Err(Error::user(format!(
            "\"{name}\" is too long for a network: its name is an interface's, {LONGEST} characters at most"
        )));
    }
    if matches!(name, "none" | "empty") {
        return Err(
            Error::user(format!("\"{name}\" means having no network")).with_reason(Reason::Other)
        );
    }
    Ok(name)
}

fn yes(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" | "1" | "on" => Some(true),
        "no" | "false" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// The host's address in a network: the one that is said, or the first of a subnet.
fn gateway(text: &str, v6: bool) -> Result<NetworkAddress, String> {
    if !text.contains('/') {
        return Err("write the number of bits, as 10.5.0.1/24".to_owned());
    }
    let address = NetworkAddress::parse(text)
        .filter(|address| address.address.is_ipv6() == v6)
        .ok_or("not an address with the bits of its network")?;
    match address.address {
        IpAddr::V4(own) => {
            if !(8..=29).contains(&address.bits) {
                return Err("a network of 8 to 29 bits has room for containers".to_owned());
            }
            let mask = u32::MAX << (32 - address.bits);
            let number = u32::from(own);
            let host = number & !mask;
            if host == !mask {
                return Err("that is the network's broadcast address".to_owned());
            }
            let private =
                own.is_private() || (own.octets()[0] == 100 && own.octets()[1] & 0xc0 == 64);
            if !private {
                return Err("take one of the private networks: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10".to_owned());
            }
            let own = if host == 0 { number + 1 } else { number };
            Ok(NetworkAddress {
                address: IpAddr::V4(own.into()),
                ..address
            })
        }
        IpAddr::V6(own) => {
            if own.octets()[0] & 0xfe != 0xfc || address.bits != 64 {
                return Err("take a /64 of unique local addresses, fd…::/64".to_owned());
            }
            let number = u128::from(own);
            let own = if number as u64 == 0 {
                number + 1
            } else {
                number
            };
            Ok(NetworkAddress {
                address: IpAddr::V6(own.into()),
                ..address
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_read_back_as_it_was_written() {
        let text =
            "# mine\nkind = nat\nipv4 = 10.7.0.0/24\nipv6=fd01::/64\ndns = no\nhost-access = yes\n";
        let definition = Definition::parse("lan", text).unwrap();
        assert_eq!(
            definition.gateway_4(),
            Some((Ipv4Addr::new(10, 7, 0, 1), 24))
        );
        assert_eq!(definition.gateway_6().unwrap().0.to_string(), "fd01::1");
        assert!(!definition.dns && definition.dhcp && definition.host_access);
        let again = Definition::parse("lan", &definition.to_string()).unwrap();
        assert_eq!(again, definition);
    }

    #[test]
    fn what_a_network_cannot_be_is_refused() {
        for text in [
            "",
            "kind = nat",
            "kind = wormhole",
            "kind = nat\nipv4 = 8.8.8.0/24",
            "kind = nat\nipv4 = 10.0.0.255/24",
            "kind = nat\nipv4 = 10.0.0.1/31",
            "kind = nat\nipv4 = 10.0.0.1/24\nipv6 = 2001:db8::1/64",
            "kind = nat\nipv4 = 10.0.0.1/24\nhost-acces = yes",
            "kind = bridge",
            "kind = vlan\nlink = eth0",
            "kind = macvlan\nlink = eth0\nmode = l2",
        ] {
            assert!(Definition::parse("lan", text).is_err(), "{text}");
        }
        for name in ["", "none", "a/b", "sixteen-letters-", "-x"] {
            assert!(Definition::new(name, Kind::Nat).is_err(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "([a-z0-9-]{0,12} ?= ?[ -~]{0,20}\n?){0,8}") {
            let _ = Definition::parse("lan", &text);
            let _ = Definition::parse("lan", &format!("kind = nat\n{text}"));
        }
    }
}
