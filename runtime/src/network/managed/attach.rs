//! One network more, or less, for a container that exists already; if it runs, at once.

use std::net::IpAddr;

use nix::fcntl::FlockArg;

use super::allocate::Used;
use super::members::is_in;
use super::{Definition, Networks, forwards_of, of_network};
use crate::config::{ConfigFile, Namespace, Network, NetworkKind, Settings, new_problems};
use crate::container::{Container, State, must_be_root};
use crate::editing::Replaced;
use crate::error::{Error, Reason, Result};
use crate::init::namespaces;

/// How to attach.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Its name in the container; by default the first of eth0, eth1, … that is free.
    pub interface: Option<String>,
}

/// What a container has got.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Attached {
    /// The N of its `lxc.net.N.*` lines.
    pub number: u32,
    /// Its name in the container.
    pub interface: String,
    /// The container's addresses there, as far as they are Sampan's to choose.
    pub addresses: Vec<IpAddr>,
    /// Whether the container runs, and has it already.
    pub running: bool,
}

/// What a container had.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Detached {
    /// Its name in the container.
    pub interface: String,
    /// Whether the container runs, and has lost it already.
    pub running: bool,
}

impl Networks {
    /// Puts a container into a network. `prepare` is called before the container has it, with what it
    /// is to have.
    ///
    /// # Errors
    /// It is in there, or has no networks of its own; the name of the interface is taken; the network
    /// cannot be made, or `prepare` fails. Nothing is changed then.
    pub fn attach<E: From<Error>>(
        &self,
        container: &Container,
        network: &str,
        options: &AttachOptions,
        prepare: impl FnOnce(&Attached) -> Result<(), E>,
    ) -> Result<Attached, E> {
        must_be_root("attach a network")?;
        let network = self.open_or_default(network)?;
        let lock = container.lock(FlockArg::LockExclusive)?;
        let before = container.config()?;
        let had = Settings::of(&before)?;
        must_have_its_own(container, &had)?;
        if had.networks.iter().any(|own| is_in(own, &network)) {
            return Err(Error::user(format!(
                "container \"{}\" is in the network {} already",
                container.name(),
                network.name
            ))
            .with_reason(Reason::AlreadyExists)
            .into());
        }
        let running = container.state()? != State::Stopped;
        let attached = {
            let _lock = self.lock()?;
            let (after, mut attached) =
                self.with_one_more(container, &before, &network, options)?;
            attached.running = running;
            if let Some(problem) = new_problems(&before, &after).0.into_iter().next() {
                return Err(problem.into());
            }
            // Before it is a member: else its port would be made here, for whoever fails to use it.
            if !self.is_up(&network)? {
                self.bring_up(&network)?;
            }
            must_be_possible(container.put(&lock, &before, &after)?)?;
            attached
        };
        let done =
            prepare(&attached).and_then(|()| Ok(tell_monitor(container, attached.number, true)?));
        match done {
            Ok(running) => {
                // It is in there, whoever finds it by its name.
                let _ = self.tell_services();
                Ok(Attached {
                    running,
                    ..attached
                })
            }
            Err(error) => {
                container.set_config(&before)?;
                Err(error)
            }
        }
    }

    /// Takes a container out of a network.
    ///
    /// # Errors
    /// [`Reason::NotFound`]: it is not in there. Ports of the host lead to it by this network.
    pub fn detach(&self, container: &Container, network: &str) -> Result<Detached> {
        must_be_root("detach a network")?;
        let network = self.open(network)?;
        let lock = container.lock(FlockArg::LockExclusive)?;
        let before = container.config()?;
        let had = Settings::of(&before)?;
        let name = container.name();
        let Some(own) = had.networks.iter().find(|own| is_in(own, &network)) else {
            return Err(Error::user(format!(
                "container \"{name}\" is not in the network {}",
                network.name
            ))
            .with_reason(Reason::NotFound)
            .with_hint(format!("see where it is: sampan config show {name}")));
        };
        self.must_lead_nowhere(container, &before, own)?;
        let mut after = before.clone();
        keep_names(&mut after, &had)?;
        after.remove_network(own.number);
        if had.networks.len() == 1 {
            // Without any line it would have the host's.
            after.push("lxc.net.0.type", "empty");
        }
        if Settings::of(&after)?
            .networks
            .iter()
            .any(|it| is_in(it, &network))
        {
            return Err(Error::user(format!(
                "container \"{name}\" has the network {} from a file that its config includes ({})",
                network.name, own.place
            ))
            .with_hint("remove the lines there"));
        }
        let running = tell_monitor(container, own.number, false)?;
        must_be_possible(container.put(&lock, &before, &after)?)?;
        let _ = self.tell_services();
        Ok(Detached {
            interface: interface_of(own),
            running,
        })
    }

    /// The config with the lines of one more network. The caller holds the lock.
    fn with_one_more(
        &self,
        container: &Container,
        before: &ConfigFile,
        network: &Definition,
        options: &AttachOptions,
    ) -> Result<(ConfigFile, Attached)> {
        let had = Settings::of(before)?;
        let mut after = before.clone();
        keep_names(&mut after, &had)?;
        let empty = had.networks.iter().filter(|own| !own.kind.is_interface());
        for own in empty {
            after.remove_network(own.number);
        }
        let real = || had.networks.iter().filter(|own| own.kind.is_interface());
        // There is always one that is free.
        let number = (0..)
            .find(|n| real().all(|own| own.number != *n))
            .unwrap_or(0);
        let leads = real().all(|own| own.gateway_4.is_none() && own.gateway_6.is_none());
        let mut used = Used::of(&self.directories().state)?;
        for (key, value) in self.lines(container.name(), (number, leads), network, &mut used)? {
            after.push(&key, &value);
        }
        let taken: Vec<String> = real().map(interface_of).collect();
        let interface = match &options.interface {
            Some(name) if taken.contains(name) => {
                return Err(Error::user(format!(
                    "container \"{}\" has an interface {name} already",
                    container.name()
                )));
            }
            Some(name) => name.clone(),
            None => (0..)
                .map(|number| format!("eth{number}"))
                .find(|name| !taken.contains(name))
                .unwrap_or_default(),
        };
        after.push(&format!("lxc.net.{number}.name"), &interface);
        let own = Settings::of(&after)?
            .networks
            .into_iter()
            .find(|own| own.number == number);
        let addresses = own.map_or(Vec::new(), |own| own.addresses);
        Ok((
            after,
            Attached {
                number,
                interface,
                addresses: addresses.into_iter().map(|own| own.address).collect(),
                running: false,
            },
        ))
    }

    /// Ports of the host would lead to nobody.
    fn must_lead_nowhere(
        &self,
        container: &Container,
        config: &ConfigFile,
        own: &Network,
    ) -> Result<()> {
        let state = &self.directories().state;
        let forwards = forwards_of(config)?;
        let Some(first) = forwards.first() else {
            return Ok(());
        };
        // By the first that leads there.
        for other in &Settings::of(config)?.networks {
            if of_network(state, other)?.is_some_and(|network| network.leads_to(other)) {
                return match other.number == own.number {
                    false => Ok(()),
                    true => Err(Error::user(format!(
                        "port {}/{} of this host leads to container \"{}\" by this network",
                        first.host,
                        first.protocol,
                        container.name()
                    ))
                    .with_hint(format!(
                        "end that first: sampan forward rm {} {}/{}",
                        container.name(),
                        first.host,
                        first.protocol
                    ))),
                };
            }
        }
        Ok(())
    }
}

/// Numbers its networks, and writes down how their interfaces are called: a network more or less
/// before them would change that.
fn keep_names(config: &mut ConfigFile, had: &Settings) -> Result<()> {
    config.number_networks();
    // Those of an included file are counted too, and not renumbered.
    if Settings::of(config)?.networks != had.networks {
        return Err(Error::user(format!(
            "{} has networks in the words of LXC 2, and so has a file that it includes",
            config.path().display()
        ))
        .with_hint("give them numbers: lxc.net.0.type in place of lxc.network.type, and so on"));
    }
    for own in &had.networks {
        if own.kind.is_interface() && own.name.is_none() {
            let key = format!("lxc.net.{}.name", own.number);
            config.assign(&key, std::slice::from_ref(&own.usual_name))?;
        }
    }
    Ok(())
}

fn interface_of(own: &Network) -> String {
    own.name.as_ref().unwrap_or(&own.usual_name).clone()
}

fn must_have_its_own(container: &Container, settings: &Settings) -> Result<()> {
    let hosts = |own: &Network| own.kind == NetworkKind::None;
    if namespaces::is_own(settings, Namespace::Network) && !settings.networks.iter().any(hosts) {
        return Ok(());
    }
    Err(Error::user(format!(
        "container \"{}\" has no network of its own: it shares the host's, or another container's",
        container.name()
    ))
    .with_hint(format!(
        "give it one, which counts from its next start: sampan config set {} lxc.net.0.type empty",
        container.name()
    )))
}

fn must_be_possible(replaced: Replaced) -> Result<()> {
    match replaced {
        Replaced::Done(_) => Ok(()),
        Replaced::Refused(problems) => Err(problems
            .into_iter()
            .next()
            .unwrap_or_else(|| Error::internal("a config without problems was refused"))),
    }
}

/// Has its monitor connect a network of its config, or take it away; answers whether it runs.
fn tell_monitor(container: &Container, network: u32, there: bool) -> Result<bool> {
    let asked = container
        .client()
        .and_then(|client| client.connect(network, there));
    match asked {
        Ok(()) => Ok(true),
        Err(error) if error.reason() == Reason::NotRunning => Ok(false),
        // It has just ended.
        Err(_) if !container.run_directory().is_locked()? => Ok(false),
        Err(error) => Err(error),
    }
}
