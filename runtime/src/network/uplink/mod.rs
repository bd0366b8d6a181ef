//! The simple case of a bridge: an interface of the host becomes a port of it, and the bridge takes
//! over what the host is known by: hardware address, addresses, routes.
//!
//! A host that loses its network here may be out of reach for good. So everything is read before
//! anything changes, what can fail is done first, the signals of a dying terminal wait, and where a
//! gateway that answered before does not answer afterwards, all of it is taken back.

mod form;
mod gateway;
mod moved;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

pub use self::form::Form;
use self::gateway::answers;
use self::moved::{Moved, read};
use super::link;
use super::netlink::Netlink;
use crate::error::{Error, Result, Tried};

/// How long a gateway may take to answer: an ARP request is repeated each second.
const PATIENCE: Duration = Duration::from_secs(5);

/// An interface of the host, and the bridge it is to be a port of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// `eth0`.
    pub interface: String,
    /// `br0`.
    pub bridge: String,
}

impl Uplink {
    /// Makes the bridge, and moves what the interface has to it. A bridge that has the interface
    /// already is left as it is.
    ///
    /// # Errors
    /// The interface is missing, wireless, part of something else, or has an address that a DHCP
    /// client holds; the bridge exists for something else; a gateway does not answer any more. In
    /// every case the host's network is what it was.
    pub fn put_up(&self) -> Result<()> {
        self.put_up_and(|| {})
    }

    /// `when_moved` is called before the gateways are asked again.
    fn put_up_and(&self, when_moved: impl FnOnce()) -> Result<()> {
        let mut netlink = Netlink::here().tried(|| "open a netlink socket".to_owned())?;
        if self.is_up(&mut netlink)? {
            return Ok(());
        }
        let port = self.port(&mut netlink)?;
        let moved = read(&mut netlink, port.index)
            .tried(|| format!("read addresses and routes of {}", self.interface))?;
        self.refuse_leases(&moved)?;
        let gateways = moved.gateways();
        let alive = gateways
            .into_iter()
            .filter(|gateway| answers(&mut netlink, port.index, *gateway, PATIENCE))
            .collect::<Vec<_>>();
        let bridge = self.make_bridge(&mut netlink, &port)?;
        let undisturbed = Undisturbed::new();
        let outcome = moved
            .shift(&mut netlink, port.index, bridge, Some(bridge))
            .map_err(|e| {
                Error::os(
                    format!(
                        "could not move what {} has to {}",
                        self.interface, self.bridge
                    ),
                    e,
                )
            })
            .and_then(|()| {
                when_moved();
                let silent = alive
                    .iter()
                    .find(|gateway| !answers(&mut netlink, bridge, **gateway, PATIENCE));
                silent.map_or(Ok(()), |gateway| {
                    Err(Error::environment(format!(
                        "the gateway {gateway} does not answer through {}",
                        self.bridge
                    ))
                    .with_hint(
                        "a switch may allow one hardware address per port; `nat` needs none of it",
                    ))
                })
            });
        let Err(error) = outcome else {
            return Ok(());
        };
        let back = moved.shift(&mut netlink, bridge, port.index, None);
        let gone = link::delete(&mut netlink, bridge);
        drop(undisturbed);
        match back.and(gone) {
            Ok(()) => Err(error.wrap(format!(
                "could not make {} a port of {} (everything is as it was)",
                self.interface, self.bridge
            ))),
            Err(failed) => Err(error.wrap(format!(
                "could not make {} a port of {}, and taking it back failed too ({failed})",
                self.interface, self.bridge
            ))),
        }
    }

    /// Gives the interface back what the bridge has, and removes the bridge.
    ///
    /// # Errors
    /// Containers are ports of it; the kernel refused.
    pub fn take_down(&self) -> Result<()> {
        let mut netlink = Netlink::here().tried(|| "open a netlink socket".to_owned())?;
        let what = || format!("look for {} and {}", self.interface, self.bridge);
        let Some(bridge) = link::find(&mut netlink, &self.bridge).tried(what)? else {
            return Ok(());
        };
        let others: Vec<String> = ports(&self.bridge)
            .into_iter()
            .filter(|port| *port != self.interface)
            .collect();
        if !others.is_empty() {
            return Err(Error::user(format!(
                "{} is in use by {}",
                self.bridge,
                others.join(", ")
            ))
            .with_hint("stop these containers first"));
        }
        let what = || format!("move what {} has to {}", self.bridge, self.interface);
        let moved = read(&mut netlink, bridge.index).tried(what)?;
        let _undisturbed = Undisturbed::new();
        if let Some(port) = link::find(&mut netlink, &self.interface).tried(what)? {
            moved
                .shift(&mut netlink, bridge.index, port.index, None)
                .tried(what)?;
        }
        link::delete(&mut netlink, bridge.index).tried(|| format!("remove {}", self.bridge))
    }

    /// What makes it so at every boot, in the words of what configures the host's network. Touches
    /// nothing.
    ///
    /// # Errors
    /// As [`Uplink::put_up`], but for leases: the bridge then asks for one.
    pub fn persistent(&self, form: Form) -> Result<String> {
        let mut netlink = Netlink::here().tried(|| "open a netlink socket".to_owned())?;
        let mut index = self.named(&mut netlink, &self.interface)?.index;
        if self.is_up(&mut netlink)? {
            index = self.named(&mut netlink, &self.bridge)?.index;
        }
        let moved = read(&mut netlink, index)
            .tried(|| format!("read addresses and routes of {}", self.interface))?;
        Ok(form.write(self, &moved.facts()))
    }

    /// Whether the bridge is there, with the interface as its port.
    pub(crate) fn is_up(&self, netlink: &mut Netlink) -> Result<bool> {
        let Some(found) = link::find(netlink, &self.bridge)
            .tried(|| format!("look for the interface {}", self.bridge))?
        else {
            return Ok(false);
        };
        if found.kind == "bridge" && ports(&self.bridge).contains(&self.interface) {
            return Ok(true);
        }
        Err(Error::user(format!(
            "there is an interface {} already, and {} is no port of it",
            self.bridge, self.interface
        ))
        .with_hint("choose another name for the bridge, or use that one as it is: --existing"))
    }

    fn named(&self, netlink: &mut Netlink, name: &str) -> Result<link::Link> {
        link::find(netlink, name)
            .tried(|| format!("look for the interface {name}"))?
            .ok_or_else(|| {
                Error::user(format!("there is no interface {name} on this host"))
                    .with_hint("see /sys/class/net for those there are")
            })
    }

    fn port(&self, netlink: &mut Netlink) -> Result<link::Link> {
        let found = self.named(netlink, &self.interface)?;
        let about = Path::new("/sys/class/net").join(&self.interface);
        // Of the namespace in which sysfs was mounted, which may be another one: then it is absent.
        if about.join("phy80211").exists() {
            return Err(Error::user(format!(
                "{} is wireless: access points take no other hardware address than its own",
                self.interface
            ))
            .with_hint("use a `nat` network"));
        }
        if found.kind == "bridge" {
            return Err(
                Error::user(format!("{} is a bridge itself", self.interface))
                    .with_hint("use it as it is: --existing"),
            );
        }
        if found.controller.is_some() {
            return Err(Error::user(format!(
                "{} is a port of another interface already",
                self.interface
            ))
            .with_hint("if that is a bridge, use it as it is: --existing"));
        }
        Ok(found)
    }

    fn refuse_leases(&self, moved: &Moved) -> Result<()> {
        if !moved.facts().leased {
            return Ok(());
        }
        Err(Error::user(format!(
            "{} has its address from DHCP, whose client would go on to work on {0} and lose it",
            self.interface
        ))
        .with_hint("have the host's own configuration make the bridge: --print ifupdown, networkd or netplan"))
    }

    fn make_bridge(&self, netlink: &mut Netlink, port: &link::Link) -> Result<u32> {
        link::create_bridge_over(netlink, &self.bridge, port.address, port.mtu)
            .tried(|| format!("make the bridge {}", self.bridge))
    }
}

impl fmt::Display for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} above {}", self.bridge, self.interface)
    }
}

/// The ports of a bridge.
fn ports(bridge: &str) -> Vec<String> {
    // Of this thread's namespace: sysfs shows that of whoever mounted it.
    let mut netlink = match Netlink::here() {
        Ok(netlink) => netlink,
        Err(_) => return Vec::new(),
    };
    link::ports(&mut netlink, bridge).unwrap_or_default()
}

/// While this lives, a terminal that goes away with the network ends nothing half way.
struct Undisturbed(Option<SigSet>);

impl Undisturbed {
    fn new() -> Undisturbed {
        let mut signals = SigSet::empty();
        for signal in [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGPIPE,
        ] {
            signals.add(signal);
        }
        Undisturbed(signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok())
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        if let Some(old) = &self.0 {
            let _ = old.thread_set_mask();
        }
    }
}

#[cfg(test)]
mod tests;
