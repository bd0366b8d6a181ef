//! Bringing networks up and down.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;

use super::{Definition, Kind, Networks, firewalld, foreign, rules, service};
use crate::config::{NetworkKind, Settings};
use crate::container::must_be_root;
use crate::error::{Error, Result, Tried};
use crate::idmap;
use crate::network::netlink::Netlink;
use crate::network::nft::{self, Batch};
use crate::network::switch::{self, Switch};
use crate::network::{address, link, sysctl};

impl Networks {
    /// Brings a network up, also one of which something is missing.
    pub fn up(&self, name: &str) -> Result<()> {
        must_be_root("bring a network up")?;
        let network = self.open_or_default(name)?;
        let _lock = self.lock()?;
        self.bring_up(&network)
    }

    /// Takes a network down.
    ///
    /// # Errors
    /// Containers that run are in it.
    pub fn down(&self, name: &str) -> Result<()> {
        must_be_root("take a network down")?;
        let network = self.open(name)?;
        if !network.is_made() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let running = self.running_ports(&network)?;
        if !running.is_empty() {
            return Err(Error::user(format!(
                "the network {name} cannot be taken down: {} of its containers {}",
                running.len(),
                if running.len() == 1 { "runs" } else { "run" },
            ))
            .with_hint("stop them first"));
        }
        self.take_down(&network)
    }

    /// Sees to it that the networks of a container are up. Cheap if they are.
    pub(crate) fn ensure(&self, settings: &Settings) -> Result<()> {
        for own in &settings.networks {
            let Some(name) = own.link.as_deref() else {
                continue;
            };
            if own.kind != NetworkKind::Veth {
                continue;
            }
            let Some(network) = super::made_for(&self.directories().state, name)? else {
                continue;
            };
            if !self.is_up(&network)? {
                let _lock = self.lock()?;
                self.bring_up(&network)?;
            }
        }
        Ok(())
    }

    /// Whether its bridge is there.
    pub(super) fn has_bridge(&self, network: &Definition) -> Result<bool> {
        let what = || format!("look at the network {}", network.name);
        let mut netlink = Netlink::here().tried(what)?;
        let found = link::find(&mut netlink, &network.link).tried(what)?;
        Ok(found.is_some_and(|link| link.alias == Some(self.alias(network))))
    }

    /// Whether nothing of it is missing.
    pub(super) fn is_up(&self, network: &Definition) -> Result<bool> {
        let what = || format!("look at the network {}", network.name);
        let mut netlink = Netlink::here().tried(what)?;
        if let Some(uplink) = network.uplink() {
            return uplink.is_up(&mut netlink);
        }
        let found = link::find(&mut netlink, &network.link).tried(what)?;
        if !network.kind.is_managed() {
            return Ok(found.is_some());
        }
        let alias = self.alias(network);
        if !found.is_some_and(|link| link.up && link.alias.as_deref() == Some(&alias)) {
            return Ok(false);
        }
        let name = rules::table_name(&network.name);
        for table in rules::tables(&name) {
            if !nft::has_table(table).tried(what)? {
                return Ok(false);
            }
        }
        if foreign::are_missing(&network.name, &network.link).tried(what)? {
            return Ok(false);
        }
        let directory = self.run_directory(&network.name);
        if let Some(switch) = self.switch(network)
            && !switch::is_running(&directory, &switch)?
        {
            return Ok(false);
        }
        let served = network.dns || network.dhcp;
        Ok(!served || service::is_running(&directory)?)
    }

    /// The caller holds the lock.
    pub(super) fn bring_up(&self, network: &Definition) -> Result<()> {
        let failed =
            |error: Error| error.wrap(format!("could not bring up the network {}", network.name));
        if let Some(uplink) = network.uplink() {
            return uplink.put_up().map_err(failed);
        }
        if !network.kind.is_managed() {
            let what = || format!("look for the interface {}", network.link);
            let mut netlink = Netlink::here().tried(what).map_err(failed)?;
            return match link::find(&mut netlink, &network.link).tried(what)? {
                Some(_) => Ok(()),
                None => Err(failed(Error::environment(format!(
                    "there is no interface {} on this host",
                    network.link
                )))),
            };
        }
        self.make_bridge(network).map_err(failed)?;
        self.make_rules(network).map_err(failed)?;
        kernel_settings(network).map_err(failed)?;
        if firewalld::lacks(&network.link).tried(|| "look for firewalld".to_owned())? {
            // Without it the network is up, if of little use: `network up`, `show` and the doctor say so.
            let _ = firewalld::open(&network.link);
        }
        let directory = self.run_directory(&network.name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .tried(|| format!("create {}", directory.display()))?;
        if let Some(switch) = self.switch(network) {
            switch::ensure(&directory, &switch).map_err(failed)?;
        }
        self.serve(network).map_err(failed)
    }

    /// What its switch is to be, if it has one.
    pub(super) fn switch(&self, network: &Definition) -> Option<Switch> {
        let hash = idmap::hash(&self.directories().state, &network.name);
        let usual = || self.run_directory(&network.name).join("vde.ctl");
        (network.kind == Kind::Vde).then(|| Switch {
            bridge: network.link.clone(),
            tap: format!("vde-{:06x}", hash & 0x00ff_ffff),
            socket: network.socket.clone().unwrap_or_else(usual),
            group: network.group.clone(),
        })
    }

    fn make_bridge(&self, network: &Definition) -> Result<()> {
        let name = network.link.as_str();
        let what = || format!("make the bridge {name}");
        let mut netlink = Netlink::here().tried(what)?;
        let mut found = link::find(&mut netlink, name).tried(what)?;
        if found.is_none() {
            let address = self.bridge_address(network);
            link::create_bridge(&mut netlink, name, address, rules::GROUP)
                .tried(what)
                .map_err(|error| {
                    error.with_hint("networks need the right to make bridges: CAP_NET_ADMIN")
                })?;
            found = link::find(&mut netlink, name).tried(what)?;
        }
        let Some(bridge) = found else {
            return Err(Error::environment(format!(
                "the bridge {name} has vanished"
            )));
        };
        let alias = self.alias(network);
        match &bridge.alias {
            Some(found) if *found == alias => {}
            // Of somebody who was killed between the two steps.
            None if bridge.kind == "bridge" && bridge.group == rules::GROUP => {
                link::describe(&mut netlink, bridge.index, &alias).tried(what)?;
            }
            other => {
                let whose = other.as_deref().unwrap_or("somebody else's");
                return Err(Error::user(format!(
                    "there is an interface {name} already ({whose})"
                ))
                .with_hint(format!(
                    "give the network another name, or use that bridge: sampan network create NAME --kind bridge --existing {name}"
                )));
            }
        }
        // Before it is up: else it might listen to whoever calls himself a router.
        if network.ipv6.is_some() {
            sysctl::write(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
        }
        let wanted: Vec<_> = network.gateways().collect();
        let there = address::of_link(&mut netlink, bridge.index).tried(what)?;
        for (old, bits) in &there {
            if !wanted
                .iter()
                .any(|own| (own.address, own.bits) == (*old, *bits))
            {
                address::delete(&mut netlink, bridge.index, *old, *bits)
                    .tried(|| format!("take the address {old} from {name}"))?;
            }
        }
        for own in wanted {
            if !there.contains(&(own.address, own.bits)) {
                address::add(&mut netlink, bridge.index, &own)
                    .tried(|| format!("give {name} the address {}", own.address))?;
            }
        }
        link::set_up(&mut netlink, bridge.index).tried(|| format!("bring {name} up"))
    }

    fn make_rules(&self, network: &Definition) -> Result<()> {
        let what = || format!("make the packet filter of the network {}", network.name);
        let mut batch = Batch::new();
        rules::make(&mut batch, network);
        for port in self.running_ports(network)? {
            port.add(&mut batch);
        }
        foreign::open(&mut batch, &network.name, &network.link).tried(what)?;
        batch.commit().tried(what).map_err(|error| {
            error.with_hint("networks need nf_tables in the kernel (nf_tables, nft_chain_nat, nft_masq, nf_tables_bridge) and CAP_NET_ADMIN")
        })
    }

    /// Lets its service answer, or ends it.
    fn serve(&self, network: &Definition) -> Result<()> {
        let directory = self.run_directory(&network.name);
        if !network.dns && !network.dhcp {
            return service::stop(&directory);
        }
        service::ensure(&directory, &network.link, &self.table(network)?)
    }

    /// Tells the services of all networks who is in them, after something has changed. The caller
    /// has changed it already: that its names are not known yet is no failure of that.
    pub fn tell_services(&self) -> Result<()> {
        for network in self.list()? {
            let directory = self.run_directory(&network.name);
            if network.kind.is_managed() && service::is_running(&directory)? {
                let _lock = self.lock()?;
                service::update(&directory, &self.table(&network)?)?;
            }
        }
        Ok(())
    }

    /// The caller holds the lock. Goes on past failures, and tells the first one.
    pub(super) fn take_down(&self, network: &Definition) -> Result<()> {
        if let Some(uplink) = network.uplink() {
            return uplink.take_down();
        }
        if !network.kind.is_managed() {
            return Ok(());
        }
        let directory = self.run_directory(&network.name);
        let stopped = service::stop(&directory).and(switch::stop(&directory));
        if stopped.is_ok() {
            // What is left of it is removed when it is made again.
            let _ = fs::remove_dir_all(&directory);
            let _ = fs::remove_dir(self.directories().run.join(".networks"));
        }
        let what = || format!("remove the packet filter of the network {}", network.name);
        let mut batch = Batch::new();
        rules::remove(&mut batch, &network.name);
        let filtered = foreign::close(&mut batch, &network.name)
            .and_then(|()| batch.commit())
            .tried(what);
        let untold = firewalld::close(&network.link);
        let removed = self.remove_bridge(network);
        stopped.and(filtered).and(untold).and(removed)
    }

    fn remove_bridge(&self, network: &Definition) -> Result<()> {
        let what = || format!("remove the bridge {}", network.link);
        let mut netlink = Netlink::here().tried(what)?;
        let alias = self.alias(network);
        match link::find(&mut netlink, &network.link).tried(what)? {
            Some(link) if link.alias.as_deref() == Some(&alias) => {
                link::delete(&mut netlink, link.index).tried(what)
            }
            _ => Ok(()),
        }
    }
}

/// Lets the host pass packets on.
fn kernel_settings(network: &Definition) -> Result<()> {
    if !network.kind.leads_out() {
        return Ok(());
    }
    let bridge = &network.link;
    // So that the host's own 127.0.0.1 can lead to a container; the filter closes the other way.
    sysctl::write(&format!("ipv4/conf/{bridge}/route_localnet"), "1")?;
    sysctl::write("ipv4/ip_forward", "1")?;
    if network.ipv6.is_none() || sysctl::read("ipv6/conf/all/forwarding")? == "1" {
        return Ok(());
    }
    // A host that passes packets on does not listen to routers any more, unless it is told to go on:
    // it would lose its own default route.
    let interfaces = fs::read_dir("/proc/sys/net/ipv6/conf");
    for interface in interfaces.into_iter().flatten().flatten() {
        let Ok(interface) = interface.file_name().into_string() else {
            continue;
        };
        let key = format!("ipv6/conf/{interface}/accept_ra");
        // It may vanish at any time.
        if interface != "all" && sysctl::read(&key).is_ok_and(|value| value == "1") {
            let _ = sysctl::write(&key, "2");
        }
    }
    sysctl::write("ipv6/conf/all/forwarding", "1")
}
