//! The arguments that choose a container's networks, and what its guest has to know of them.

use sampan_core::{Rootfs, rootfs::RootfsError};
use sampan_runtime::{
    Attached, Container, NetworkDefinition, NewContainer, State, StorageKind,
    config::Settings as Config,
};

use crate::{
    commands::path_of,
    context::Context,
    failure::{Failure, Outcome},
    settings::Settings,
};

/// Which networks a new container is in.
#[derive(Debug, clap::Args)]
pub struct NetworkArgs {
    /// A network that it is in, as eth0, eth1, …, or `none` [default: `network` of
    /// /etc/sampan.conf, or else sampan0]
    #[arg(long = "network", value_name = "NAME")]
    networks: Vec<String>,
}

impl NetworkArgs {
    /// Their names: those that were typed, or the host's.
    ///
    /// # Errors
    /// There is no such network. Better said now than after a download.
    pub fn names(&self, context: &Context) -> Outcome<Vec<String>> {
        let names = match self.networks.as_slice() {
            [] => Settings::of(&context.directories.etc)?.networks,
            typed => typed.to_vec(),
        };
        for name in &names {
            if !matches!(
                name.as_str(),
                "none" | "empty" | sampan_runtime::DEFAULT_NETWORK
            ) {
                context.networks().open(name)?;
            }
        }
        Ok(names)
    }
}

/// Puts a new container into networks: the `lxc.net.*` lines of its config.
pub fn join(
    context: &Context,
    new: &NewContainer,
    names: &[String],
) -> Outcome<Vec<(String, String)>> {
    let networks = context.networks();
    let lines = networks.join(new, names)?;
    let mut definitions = Vec::new();
    for name in names {
        if !matches!(name.as_str(), "none" | "empty") {
            definitions.push(networks.open(name)?);
        }
    }
    if !definitions.is_empty() {
        let tree = new.root().open()?;
        Rootfs::open(&path_of(&tree))
            .and_then(|rootfs| tell_guest(&rootfs, &definitions))
            .map_err(|error| {
                Failure::new(format!(
                    "cannot tell {} of its network: {error}",
                    new.name()
                ))
            })?;
    }
    Ok(lines)
}

/// Names the name servers, and lets whatever configures networks in the guest leave alone the
/// interfaces that have their addresses, and ask for those of the others.
fn tell_guest(rootfs: &Rootfs, networks: &[NetworkDefinition]) -> Result<(), RootfsError> {
    name_servers(rootfs, networks)?;
    for (number, network) in networks.iter().enumerate() {
        configure(rootfs, &format!("eth{number}"), network)?;
    }
    Ok(())
}

fn configure(
    rootfs: &Rootfs,
    interface: &str,
    network: &NetworkDefinition,
) -> Result<(), RootfsError> {
    let ready = network.kind.is_managed();
    if rootfs.is_dir("etc/systemd") {
        let rest = match ready {
            true => "[Link]\nUnmanaged=yes\n",
            false => "[Network]\nDHCP=yes\n",
        };
        rootfs.write(
            networkd_file(interface),
            format!("[Match]\nName={interface}\n\n{rest}"),
            0o644,
        )?;
    }
    if rootfs.is_dir(INTERFACES) {
        let text = match ready {
            true => format!("iface {interface} inet manual\n"),
            false => format!("auto {interface}\niface {interface} inet dhcp\n"),
        };
        rootfs.write(ifupdown_file(interface), text, 0o644)?;
    } else if !ready && rootfs.exists("lib/systemd/system/systemd-networkd.service") {
        rootfs.symlink(
            "/lib/systemd/system/systemd-networkd.service",
            "etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
        )?;
    }
    Ok(())
}

/// What ifupdown reads beside its own file.
const INTERFACES: &str = "etc/network/interfaces.d";

fn networkd_file(interface: &str) -> String {
    format!("etc/systemd/network/10-sampan-{interface}.network")
}

fn ifupdown_file(interface: &str) -> String {
    format!("{INTERFACES}/sampan-{interface}")
}

/// Tells the guest of a container of a network that it is about to have, and of name servers if it
/// has known of none. `false`: its files are out of reach while it runs.
pub fn tell_of_attached(
    context: &Context,
    container: &Container,
    network: &NetworkDefinition,
    attached: &Attached,
) -> Outcome<bool> {
    in_guest(context, container, |rootfs, networks| {
        configure(rootfs, &attached.interface, network)?;
        name_servers_if_ours(rootfs, networks)
    })
}

/// Takes that back.
pub fn tell_of_detached(
    context: &Context,
    container: &Container,
    interface: &str,
) -> Outcome<bool> {
    in_guest(context, container, |rootfs, networks| {
        for file in [networkd_file(interface), ifupdown_file(interface)] {
            rootfs.remove(file)?;
        }
        name_servers_if_ours(rootfs, networks)
    })
}

fn in_guest(
    context: &Context,
    container: &Container,
    work: impl FnOnce(&Rootfs, &[NetworkDefinition]) -> Result<(), RootfsError>,
) -> Outcome<bool> {
    let root = Config::of(&container.config()?)?.root;
    // What is mounted for a guest that runs, nobody else may mount and write to.
    let shared = matches!(root.kind(), StorageKind::Dir | StorageKind::Btrfs);
    if !shared && container.state()? != State::Stopped {
        return Ok(false);
    }
    let networks = context.networks().of_container(container)?;
    let tree = root.open()?;
    Rootfs::open(&path_of(&tree))
        .and_then(|rootfs| work(&rootfs, &networks))
        .map_err(|error| {
            let name = container.name();
            Failure::new(format!("cannot tell {name} of its network: {error}"))
        })?;
    Ok(true)
}

/// Names the name servers unless somebody else has.
fn name_servers_if_ours(
    rootfs: &Rootfs,
    networks: &[NetworkDefinition],
) -> Result<(), RootfsError> {
    let text = rootfs.read_text(RESOLV_CONF).unwrap_or_default();
    let says_something = text.lines().any(|line| line.starts_with("nameserver"));
    if says_something && !text.starts_with(WRITTEN) {
        return Ok(());
    }
    name_servers(rootfs, networks)
}

const RESOLV_CONF: &str = "etc/resolv.conf";

/// How it begins if it is ours.
const WRITTEN: &str = "# Written by sampan";

fn name_servers(rootfs: &Rootfs, networks: &[NetworkDefinition]) -> Result<(), RootfsError> {
    let Some(network) = networks.iter().find(|n| n.kind.is_managed() && n.dns) else {
        return Ok(());
    };
    let servers = [network.ipv4, network.ipv6].into_iter().flatten();
    let servers: Vec<String> = servers.map(|own| own.address.to_string()).collect();
    match rootfs.read_link(RESOLV_CONF) {
        // systemd-resolved's own.
        Ok(target) if target.to_string_lossy().contains("systemd/resolve") => rootfs.write(
            "etc/systemd/resolved.conf.d/sampan.conf",
            format!(
                "[Resolve]\nDNS={}\nDomains={}\n",
                servers.join(" "),
                network.domain
            ),
            0o644,
        ),
        // Somebody else's.
        Ok(_) => Ok(()),
        Err(_) => {
            let mut text = format!("{WRITTEN} when this container was made.\n");
            for server in servers {
                text.push_str(&format!("nameserver {server}\n"));
            }
            text.push_str(&format!("search {}\n", network.domain));
            rootfs.write(RESOLV_CONF, text, 0o644)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nat() -> NetworkDefinition {
        let text = "kind = nat\nipv4 = 10.5.0.1/24\nipv6 = fd01::1/64\n";
        NetworkDefinition::parse("lan", text).unwrap()
    }

    #[test]
    fn a_guest_asks_the_gateway_and_leaves_its_interface_alone() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        rootfs.write("etc/systemd/system.conf", "", 0o644).unwrap();
        rootfs
            .write("etc/network/interfaces.d/x", "", 0o644)
            .unwrap();
        tell_guest(&rootfs, &[nat()]).unwrap();
        let servers = rootfs.read_text("etc/resolv.conf").unwrap();
        assert!(servers.contains("nameserver 10.5.0.1\nnameserver fd01::1\nsearch sampan\n"));
        let unit = rootfs.read_text("etc/systemd/network/10-sampan-eth0.network");
        assert!(unit.unwrap().contains("Unmanaged=yes"));
        let stanza = rootfs.read_text("etc/network/interfaces.d/sampan-eth0");
        assert_eq!(stanza.unwrap(), "iface eth0 inet manual\n");
    }

    #[test]
    fn a_resolver_of_the_guests_own_is_told_and_keeps_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        let stub = "../run/systemd/resolve/stub-resolv.conf";
        rootfs.symlink(stub, "etc/resolv.conf").unwrap();
        tell_guest(&rootfs, &[nat()]).unwrap();
        assert!(rootfs.read_link("etc/resolv.conf").is_ok());
        let told = rootfs.read_text("etc/systemd/resolved.conf.d/sampan.conf");
        assert!(told.unwrap().contains("DNS=10.5.0.1 fd01::1\n"));
    }
}
