//! Forwarded ports of containers: adding, listing and removing them.

use std::net::TcpListener;

use nix::fcntl::FlockArg;

use super::forward::{FORWARD_KEY, Forward, Protocol, forwards_of};
use super::members::port_of;
use super::rules::{table_name, tables};
use super::{Networks, Port};
use crate::container::{Container, must_be_root};
use crate::error::{Error, Reason, Result, Tried};
use crate::network::nft::Batch;

/// A forwarded port, and whose.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Forwarded {
    /// The container's name.
    pub container: String,
    /// The host's port.
    pub host: u16,
    /// The container's port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl Networks {
    /// All forwarded ports, by container.
    pub fn forwards(&self) -> Result<Vec<Forwarded>> {
        let mut found = Vec::new();
        for name in self.containers.names()? {
            let container = self.containers.handle(name);
            // One that cannot be understood must not hide the others'.
            let forwards = container.config().and_then(|config| forwards_of(&config));
            for forward in forwards.unwrap_or_default() {
                found.push(Forwarded {
                    container: container.name().to_string(),
                    host: forward.host,
                    port: forward.guest,
                    protocol: forward.protocol,
                });
            }
        }
        Ok(found)
    }

    /// Leads a port of the host to a container, for as long as it exists.
    ///
    /// # Errors
    /// The port is taken, or the container is in no network from which it could be reached.
    pub fn forward(&self, container: &Container, forward: Forward) -> Result<()> {
        must_be_root("forward a port")?;
        let _container = container.lock(FlockArg::LockExclusive)?;
        let Some(mut port) = self.port_behind_nat(container)? else {
            return Err(Error::user(format!(
                "container \"{}\" is in no network of the kind nat with an address of its own",
                container.name()
            ))
            .with_hint("in others it is reached by its own address, or not at all"));
        };
        let _lock = self.lock()?;
        for other in self.forwards()? {
            let taken = Forward {
                host: other.host,
                guest: other.port,
                protocol: other.protocol,
            };
            if taken.collides(forward) {
                return Err(Error::user(format!(
                    "port {}/{} leads to container \"{}\" already",
                    forward.host, forward.protocol, other.container
                ))
                .with_reason(Reason::AlreadyExists));
            }
        }
        must_be_unused(forward)?;
        let mut config = container.config()?;
        config.push(FORWARD_KEY, &forward.to_string());
        if container.run_directory().is_locked()? {
            port.forwards = vec![forward];
            let name = table_name(&port.network);
            let mut batch = Batch::new();
            for (map, key, value) in port.forward_elements() {
                batch.add_value(tables(&name)[0], map, &key, &value);
            }
            batch
                .commit()
                .tried(|| format!("forward port {}", forward.host))?;
        }
        container.set_config(&config)
    }

    /// Leads it there no more.
    ///
    /// # Errors
    /// [`Reason::NotFound`]: it does not.
    pub fn unforward(&self, container: &Container, host: u16, protocol: Protocol) -> Result<()> {
        must_be_root("stop forwarding a port")?;
        let _container = container.lock(FlockArg::LockExclusive)?;
        let _lock = self.lock()?;
        let config = container.config()?;
        let all = forwards_of(&config)?;
        let is_it = |f: &&Forward| f.host == host && f.protocol == protocol;
        let Some(gone) = all.iter().find(is_it) else {
            return Err(Error::user(format!(
                "port {host}/{protocol} does not lead to container \"{}\"",
                container.name()
            ))
            .with_reason(Reason::NotFound));
        };
        let mut config = config;
        config.remove(FORWARD_KEY);
        for forward in all.iter().filter(|forward| *forward != gone) {
            config.push(FORWARD_KEY, &forward.to_string());
        }
        container.set_config(&config)?;
        let Some(mut port) = self.port_behind_nat(container)? else {
            return Ok(());
        };
        port.forwards = vec![*gone];
        let name = table_name(&port.network);
        for (map, key, _) in port.forward_elements() {
            let mut batch = Batch::new();
            batch.delete_element(tables(&name)[0], map, &key);
            match batch.commit() {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other.tried(|| format!("close port {host}"))?,
            }
        }
        Ok(())
    }

    /// The container's port of the first network that is behind the host's address.
    pub(super) fn port_behind_nat(&self, container: &Container) -> Result<Option<Port>> {
        let state = &self.directories().state;
        for own in &container.settings()?.networks {
            if let Some(network) = super::of_network(state, own)?
                && network.leads_to(own)
            {
                return Ok(Some(port_of(container.owner(), own, &network)));
            }
        }
        Ok(None)
    }
}

/// A program that listens there would not be reached any more.
fn must_be_unused(forward: Forward) -> Result<()> {
    let anywhere = ("0.0.0.0", forward.host);
    let bound = match forward.protocol {
        Protocol::Tcp => TcpListener::bind(anywhere).map(drop),
        Protocol::Udp => std::net::UdpSocket::bind(anywhere).map(drop),
    };
    match bound {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(Error::user(format!(
            "port {}/{} is used by a program of this host",
            forward.host, forward.protocol
        ))
        .with_hint("choose another port, or stop that program")),
        // What else may be wrong does not concern a port that nobody binds.
        _ => Ok(()),
    }
}
