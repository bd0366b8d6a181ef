//! What one network of a running container has outside of it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::link::{self, Guest};
use super::managed::Port;
use super::netlink::Netlink;
use super::proxy::Proxy;
use crate::error::{Error, Result, Tried};

/// Its ends. They go when this is dropped, since then its container has ended.
#[derive(Debug)]
pub(super) struct Ends {
    /// The N of its `lxc.net.N.*` lines.
    pub(super) number: u32,
    /// What is known of it in a network of Sampan's own.
    pub(super) port: Option<Port>,
    /// The host's end of a veth.
    pub(super) veth: Option<String>,
    /// A link of the host's that answers for its addresses.
    pub(super) proxy: Option<Proxy>,
    /// What the host has given away.
    pub(super) given: Option<Given>,
    /// The index of its interface in the container.
    pub(super) inside: Option<u32>,
}

/// An interface of the host that the container has for a while.
#[derive(Debug)]
pub(super) struct Given {
    /// Keeps it: the kernel would give it another name when the namespace ends.
    pub(super) namespace: OwnedFd,
    /// Its index there.
    pub(super) index: u32,
    /// Its name on the host.
    pub(super) name: String,
}

impl Ends {
    pub(super) fn new(number: u32) -> Ends {
        Ends {
            number,
            port: None,
            veth: None,
            proxy: None,
            given: None,
            inside: None,
        }
    }

    /// Removes it from a container that goes on running.
    pub(super) fn remove(mut self, container: &mut Netlink) -> Result<()> {
        // The index is its interface's as long as that is there, whatever the guest calls it by now.
        let made_inside = self.veth.is_none() && self.given.is_none();
        if let Some(index) = self.inside.filter(|_| made_inside) {
            link::delete(container, index)
                .tried(|| "remove the interface in the container".to_owned())?;
        }
        match self.clear().into_iter().next() {
            Some(failure) => Err(Error::environment(format!("could not {failure}"))),
            None => Ok(()),
        }
    }

    /// Takes back what the host gave, and removes what stands on its side. Goes on past failures,
    /// which it returns as sentences.
    fn clear(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        if let Some(port) = self.port.take()
            && let Err(error) = port.remove()
        {
            failures.push(format!("remove the rules of {}: {error}", port.interface));
        }
        if let Some(name) = self.veth.take()
            && let Err(error) = remove_link(&name)
        {
            failures.push(format!("remove the interface {name}: {error}"));
        }
        if let Some(proxy) = self.proxy.take() {
            let host = Netlink::here().tried(|| "open a netlink socket".to_owned());
            if let Err(error) = host.and_then(|mut host| proxy.remove(&mut host)) {
                failures.push(format!("tidy up: {}", error.chain()));
            }
        }
        if let Some(given) = self.given.take()
            && let Err(error) = given.take_back()
        {
            failures.push(format!("take back the interface {}: {error}", given.name));
        }
        failures
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        for failure in self.clear() {
            eprintln!("could not {failure}");
        }
    }
}

impl Given {
    fn take_back(&self) -> io::Result<()> {
        let home = File::open("/proc/thread-self/ns/net")?;
        let mut guest = Netlink::inside(self.namespace.as_fd())?;
        let back = Guest {
            name: &self.name,
            namespace: home.as_fd(),
            address: None,
            mtu: None,
        };
        match link::give(&mut guest, self.index, &back) {
            // Unplugged meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other,
        }
    }
}

fn remove_link(name: &str) -> io::Result<()> {
    let mut host = Netlink::here()?;
    match link::find(&mut host, name)? {
        Some(link) => link::delete(&mut host, link.index),
        None => Ok(()),
    }
}
