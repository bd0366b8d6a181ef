//! Networks that come and go while the container runs.

use super::protocol::Answer;
use super::requests::refused;
use super::{Monitor, hooking};
use crate::config::{Namespace, Network};
use crate::container::Container;
use crate::error::{Error, Result};
use crate::init::namespaces;
use crate::network::{self, managed};

impl Monitor {
    /// Connects a network that its config has by now.
    pub(super) fn connect(&mut self, number: u32) -> Answer {
        self.as_asked(|monitor| {
            let today = monitor.container.settings()?;
            let new = today.networks.into_iter().find(|it| it.number == number);
            let Some(new) = new else {
                return Err(Error::user(format!("its config has no lxc.net.{number}")));
            };
            let own = &mut monitor.settings.networks;
            if own
                .iter()
                .any(|old| old.number == number && old.kind.is_interface())
            {
                let error = Error::user(format!("it has had an lxc.net.{number} since its start"));
                return Err(error.with_hint("stop and start it: sampan restart"));
            }
            // Between two starts it is enough that the next one knows of it.
            if let Some(init) = &monitor.init {
                // Ports of the host lead to the first network that they can lead by.
                let forwards = match leads(&monitor.container, own)? {
                    true => Vec::new(),
                    false => managed::forwards_of(&monitor.container.config()?)?,
                };
                let owner = monitor.container.owner();
                let only = std::slice::from_ref(&new);
                let connected = network::connect(owner, only, &forwards, init.pid)?;
                monitor.network.join(connected);
            }
            own.retain(|old| old.kind.is_interface());
            own.push(new);
            own.sort_by_key(|network| network.number);
            Ok(())
        })
    }

    /// Takes a network away that it has.
    pub(super) fn disconnect(&mut self, number: u32) -> Answer {
        self.as_asked(|monitor| {
            let own = &monitor.settings.networks;
            let Some(place) = own.iter().position(|it| it.number == number) else {
                return Ok(());
            };
            if let Some(init) = &monitor.init {
                let gone = std::slice::from_ref(&own[place]);
                hooking::networks_down(
                    &monitor.container,
                    (&monitor.settings, gone),
                    "stop",
                    Some(init),
                );
                monitor.network.disconnect(number, init.pid)?;
            }
            monitor.settings.networks.remove(place);
            Ok(())
        })
    }

    /// Removes what the host has of networks that its config has by now and the container never had:
    /// of an attaching that was killed.
    pub(super) fn forget_strangers(&self) {
        let Ok(mut today) = self.container.settings() else {
            return;
        };
        let own = &self.settings.networks;
        today
            .networks
            .retain(|it| own.iter().all(|own| own.number != it.number));
        if let Err(error) = network::sweep(self.container.owner(), &today.networks) {
            eprintln!("{}", error.chain());
        }
    }

    fn as_asked(&mut self, work: impl FnOnce(&mut Monitor) -> Result<()>) -> Answer {
        if self.stopping {
            return refused("it is being stopped", "try again when it has stopped");
        }
        if !namespaces::is_own(&self.settings, Namespace::Network) {
            return refused(
                "it runs without a network of its own",
                "stop and start it: sampan restart",
            );
        }
        match work(self) {
            Ok(()) => Answer::Connected,
            Err(error) => Answer::Refused {
                message: error.chain(),
                hint: error.hint().map(str::to_owned),
            },
        }
    }
}

/// Whether ports of the host lead to a container by one of these.
fn leads(container: &Container, networks: &[Network]) -> Result<bool> {
    for own in networks {
        let network = managed::of_network(container.owner().state, own)?;
        if network.is_some_and(|network| network.leads_to(own)) {
            return Ok(true);
        }
    }
    Ok(false)
}
