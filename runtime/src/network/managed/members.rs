//! Who is in a network: the containers whose configs say so.

use super::port::Port;
use super::{Definition, Networks, forwards_of, service};
use crate::config::{Network, NetworkKind, VethMode};
use crate::container::Container;
use crate::error::Result;
use crate::network::Owner;

impl Networks {
    /// The names of the containers in it.
    pub(super) fn users(&self, network: &Definition) -> Result<Vec<String>> {
        let members = self.members(network)?;
        let mut names: Vec<String> = members
            .into_iter()
            .map(|(c, _)| c.name().to_string())
            .collect();
        names.dedup();
        Ok(names)
    }

    /// The networks that a container is in, in the order of its config. One that is in none of ours
    /// has none here.
    pub fn of_container(&self, container: &Container) -> Result<Vec<Definition>> {
        let all = self.list()?;
        let settings = container.settings()?;
        Ok(settings
            .networks
            .iter()
            .filter_map(|own| all.iter().find(|network| is_in(own, network)).cloned())
            .collect())
    }

    /// The containers in it, with the network of their config that it is. One whose config cannot
    /// be understood is in none.
    fn members(&self, network: &Definition) -> Result<Vec<(Container, Network)>> {
        let mut found = Vec::new();
        for name in self.containers.names()? {
            let container = self.containers.handle(name);
            let Ok(settings) = container.settings() else {
                continue;
            };
            for own in settings.networks {
                if is_in(&own, network) {
                    found.push((container.clone(), own));
                }
            }
        }
        Ok(found)
    }

    /// The ports of those that run.
    pub(super) fn running_ports(&self, network: &Definition) -> Result<Vec<Port>> {
        let mut ports = Vec::new();
        for (container, own) in self.members(network)? {
            if container.run_directory().is_locked()? {
                let mut port = port_of(container.owner(), &own, network);
                port.forwards = forwards_of(&container.config()?).unwrap_or_default();
                ports.push(port);
            }
        }
        Ok(ports)
    }

    /// What the network's service answers from.
    pub(super) fn table(&self, network: &Definition) -> Result<service::Table> {
        let hosts = self.members(network)?.into_iter().map(|(container, own)| {
            let mut host = service::Host {
                name: container.name().to_string(),
                mac: hardware(container.owner(), &own),
                ipv4: None,
                ipv6: None,
            };
            for own in &own.addresses {
                match own.address {
                    std::net::IpAddr::V4(address) => host.ipv4 = host.ipv4.or(Some(address)),
                    std::net::IpAddr::V6(address) => host.ipv6 = host.ipv6.or(Some(address)),
                }
            }
            host
        });
        Ok(service::Table {
            network: network.name.clone(),
            domain: network.domain.clone(),
            gateway4: network.gateway_4(),
            gateway6: network.gateway_6(),
            dns: network.dns,
            dhcp: network.dhcp,
            pool: network.pool(),
            hosts: hosts.collect(),
            ..service::Table::default()
        })
    }
}

impl Definition {
    /// Whether ports of the host can lead to a container by this network of its config.
    pub(crate) fn leads_to(&self, own: &Network) -> bool {
        self.kind.leads_out() && !own.addresses.is_empty()
    }
}

/// What a network of a config is on the host.
pub(crate) fn port_of(owner: Owner<'_>, own: &Network, network: &Definition) -> Port {
    let mac = hardware(owner, own);
    Port::new(&network.name, &owner.veth(own), mac, &own.addresses)
}

/// The hardware address of a container on a bridge of Sampan's: one always, so that it can be held
/// to it.
pub(crate) fn hardware(owner: Owner<'_>, own: &Network) -> [u8; 6] {
    let number = owner.number(own.number);
    match own.hardware {
        Some(address) => address.filled(number),
        None => {
            let bytes = number.to_be_bytes();
            [0x00, 0x16, 0x3e, bytes[5], bytes[6], bytes[7]]
        }
    }
}

/// Whether a network of a config is this one.
pub(super) fn is_in(own: &Network, network: &Definition) -> bool {
    let veth = own.kind == NetworkKind::Veth && own.veth == VethMode::Bridge;
    veth == network.kind.has_bridge()
        && own.kind.is_interface()
        && own.link.as_deref() == Some(&network.link)
}
