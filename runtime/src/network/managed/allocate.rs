//! Addresses for a new container.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::{Definition, Kind, Networks, subnet};
use crate::config::{ConfigFile, NetworkAddress, today};
use crate::containers::{Durability, replace_file};
use crate::error::{Error, Result, Tried};
use crate::idmap;
use crate::name::ContainerName;
use crate::new_container::NewContainer;

/// Lines of a config.
pub(super) type Lines = Vec<(String, String)>;

/// The words for having no network.
const NOTHING: [&str; 2] = ["none", "empty"];

impl Networks {
    /// The `lxc.net.*` lines that put a new container into these networks, with addresses that are
    /// its own from now on.
    ///
    /// # Errors
    /// [`Reason::NotFound`](crate::Reason::NotFound); a network has no address left.
    pub fn join(&self, new: &NewContainer, names: &[String]) -> Result<Lines> {
        let networks = self.chosen(names)?;
        let mut lines = Lines::new();
        if networks.is_empty() {
            lines.push(("lxc.net.0.type".to_owned(), "empty".to_owned()));
            return Ok(lines);
        }
        // Until they stand in a config that others read.
        let _lock = self.lock()?;
        let mut used = Used::of(&self.directories().state)?;
        for (number, network) in (0..).zip(&networks) {
            // What is isolated leads nowhere; the first network leads everywhere.
            let leads = number == 0;
            lines.extend(self.lines(new.name(), (number, leads), network, &mut used)?);
        }
        reserve(new, &lines)?;
        Ok(lines)
    }

    /// The same networks as a container has, with other addresses: those of a copy.
    pub(crate) fn rejoin(&self, new: &NewContainer, config: &mut ConfigFile) -> Result<()> {
        config.remove(super::FORWARD_KEY);
        let settings = crate::config::Settings::of(config)?;
        let state = &self.directories().state;
        let mut changed = Vec::new();
        let mut held = None;
        for own in &settings.networks {
            let Some(network) = super::of_network(state, own)? else {
                continue;
            };
            if held.is_none() {
                held = Some((self.lock()?, Used::of(state)?));
            }
            let Some((_, used)) = &mut held else { continue };
            let number = own.number;
            let fresh = self.address(new.name(), &network, used)?;
            changed.push((format!("lxc.net.{number}.hwaddr"), mac_text(fresh.mac)));
            for (version, address, _) in fresh.lines(&network) {
                changed.push((format!("lxc.net.{number}.{version}.address"), address));
            }
        }
        for (key, value) in &changed {
            config.assign(key, std::slice::from_ref(value))?;
        }
        if !changed.is_empty() {
            reserve(new, &changed)?;
        }
        Ok(())
    }

    /// The lines that put the container of this name into a network, as its `number`; with a default
    /// route if it `leads` out. The caller holds the lock.
    pub(super) fn lines(
        &self,
        name: &ContainerName,
        (number, leads): (u32, bool),
        network: &Definition,
        used: &mut Used,
    ) -> Result<Lines> {
        let mut lines = Lines::new();
        let mut push = |key: &str, value: String| {
            lines.push((format!("lxc.net.{number}.{key}"), value));
        };
        for (key, value) in kind_lines(network) {
            push(key, value);
        }
        push("flags", "up".to_owned());
        if !network.kind.is_managed() {
            if network.kind != Kind::Phys && network.kind != Kind::Ipvlan {
                let mac = used.mac(rand::random::<u64>);
                push("hwaddr", mac_text(mac));
            }
            return Ok(lines);
        }
        let own = self.address(name, network, used)?;
        push("hwaddr", mac_text(own.mac));
        for (version, address, gateway) in own.lines(network) {
            push(&format!("{version}.address"), address);
            if network.kind.leads_out() && leads {
                push(&format!("{version}.gateway"), gateway);
            }
        }
        Ok(lines)
    }

    /// The networks of these names. None at all for the words that say so.
    fn chosen(&self, names: &[String]) -> Result<Vec<Definition>> {
        let nothing = |name: &String| NOTHING.contains(&name.as_str());
        if names.iter().any(nothing) {
            return match names.len() {
                1 => Ok(Vec::new()),
                _ => Err(Error::user(format!(
                    "\"{}\" means having no network, and cannot be one of several",
                    names
                        .iter()
                        .find(|name| nothing(name))
                        .map_or("", |name| name)
                ))),
            };
        }
        names
            .iter()
            .map(|name| self.open_or_default(name))
            .collect()
    }

    fn address(&self, name: &ContainerName, network: &Definition, used: &mut Used) -> Result<Own> {
        let Some(gateway) = network.gateway_4() else {
            return Err(Error::internal("a network without its subnet"));
        };
        let state = &self.directories().state;
        let place = idmap::hash(state, &format!("{}/{name}", network.name));
        // Those are for machines that no config names.
        if let Some((first, last)) = network.pool() {
            let pool = u32::from(first)..=u32::from(last);
            used.addresses.extend(pool.map(Ipv4Addr::from));
        }
        let free = subnet::free_address(gateway, &used.addresses, place).ok_or_else(|| {
            let (address, bits) = gateway;
            Error::environment(format!(
                "the network {} ({address}/{bits}) has no address left",
                network.name
            ))
            .with_hint("destroy containers that are not needed, or make another network")
        })?;
        used.addresses.insert(free);
        // The same address, the same hardware address: who has talked to the former owner need not
        // learn anew. Others only if that is taken.
        let mut number = idmap::hash(state, &format!("{}/{free}", network.name));
        let mac = used.mac(|| {
            number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            number >> 20
        });
        let ipv6 = network.gateway_6().map(|(own, _)| {
            let mask = u32::MAX.checked_shr(u32::from(gateway.1)).unwrap_or(0);
            let host = u128::from(u32::from(free) & mask);
            let prefix = u128::from(own) >> 64 << 64;
            // The gateway's own is of the same form only where the person said so.
            let address = Ipv6Addr::from(prefix | host);
            match address == own {
                true => Ipv6Addr::from(prefix | host | 1 << 32),
                false => address,
            }
        });
        Ok(Own {
            mac,
            ipv4: free,
            ipv6,
        })
    }
}

/// What one container has in one network.
struct Own {
    mac: [u8; 6],
    ipv4: Ipv4Addr,
    ipv6: Option<Ipv6Addr>,
}

impl Own {
    /// Version, address, gateway.
    fn lines(&self, network: &Definition) -> Vec<(&'static str, String, String)> {
        let mut lines = Vec::new();
        if let Some(NetworkAddress { address, bits, .. }) = network.ipv4 {
            lines.push(("ipv4", format!("{}/{bits}", self.ipv4), address.to_string()));
        }
        if let (Some(NetworkAddress { address, bits, .. }), Some(own)) = (network.ipv6, self.ipv6) {
            lines.push(("ipv6", format!("{own}/{bits}"), address.to_string()));
        }
        lines
    }
}

/// What is taken by the containers of a state directory, those in the making too.
#[derive(Default)]
pub(super) struct Used {
    addresses: HashSet<Ipv4Addr>,
    macs: HashSet<[u8; 6]>,
}

impl Used {
    pub(super) fn of(state: &Path) -> Result<Used> {
        let mut used = Used::default();
        let entries = std::fs::read_dir(state).tried(|| format!("list {}", state.display()))?;
        for entry in entries.flatten() {
            let path = entry.path().join("config");
            // One that is just going away takes nothing.
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            used.read(&ConfigFile::parse(&path, &text));
        }
        Ok(used)
    }

    fn read(&mut self, config: &ConfigFile) {
        for line in config.lines() {
            let key = today(&line.key);
            if !key.starts_with("lxc.net.") {
                continue;
            }
            if key.ends_with(".ipv4.address") {
                let address = NetworkAddress::parse(&line.value).map(|a| a.address);
                if let Some(IpAddr::V4(address)) = address {
                    self.addresses.insert(address);
                }
            } else if key.ends_with(".hwaddr") {
                self.macs.extend(mac_of(&line.value));
            }
        }
    }

    /// A hardware address that nobody has, of the numbers that `next` yields.
    fn mac(&mut self, mut next: impl FnMut() -> u64) -> [u8; 6] {
        loop {
            let bytes = next().to_be_bytes();
            let mac = [0x00, 0x16, 0x3e, bytes[5], bytes[6], bytes[7]];
            if self.macs.insert(mac) {
                return mac;
            }
        }
    }
}

/// The lines that depend on the kind alone.
fn kind_lines(network: &Definition) -> Vec<(&'static str, String)> {
    let kind = match network.kind {
        Kind::Nat | Kind::Isolated | Kind::Vde | Kind::Bridge => "veth",
        Kind::Macvlan => "macvlan",
        Kind::Ipvlan => "ipvlan",
        Kind::Vlan => "vlan",
        Kind::Phys => "phys",
    };
    let mut lines = vec![("type", kind.to_owned()), ("link", network.link.clone())];
    match (network.kind, &network.mode) {
        (Kind::Macvlan, mode) => {
            let mode = mode.clone().unwrap_or_else(|| "bridge".to_owned());
            lines.push(("macvlan.mode", mode));
        }
        (Kind::Ipvlan, mode) => {
            let mode = mode.clone().unwrap_or_else(|| "l2".to_owned());
            lines.push(("ipvlan.mode", mode));
        }
        _ => {}
    }
    lines.extend(network.vlan.map(|id| ("vlan.id", id.to_string())));
    lines
}

/// Others see them from now on.
fn reserve(new: &NewContainer, lines: &[(String, String)]) -> Result<()> {
    let path = new.dir().join("config");
    let mut config = ConfigFile::read(&path)?;
    for (key, value) in lines {
        config.push(key, value);
    }
    replace_file(&path, &config.to_string(), Durability::ProcessCrash)
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn mac_of(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut groups = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(groups.next()?, 16).ok()?;
    }
    groups.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_config_says_is_taken() {
        let text = "lxc.network.type = veth\nlxc.network.ipv4 = 10.5.0.2/24\n\
                    lxc.net.1.hwaddr = 00:16:3e:00:00:01\nlxc.net.1.ipv4.address = 10.5.0.3/24 10.5.0.255\n";
        let mut used = Used::default();
        used.read(&ConfigFile::parse(Path::new("config"), text));
        for last in [2, 3] {
            assert!(
                used.addresses.contains(&Ipv4Addr::new(10, 5, 0, last)),
                "{last}"
            );
        }
        let mut numbers = [1, 1, 2].into_iter();
        let mac = used.mac(|| numbers.next().unwrap());
        assert_eq!(mac, [0, 0x16, 0x3e, 0, 0, 2]);
    }
}
