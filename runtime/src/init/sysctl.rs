//! `lxc.sysctl.*`: kernel parameters of the guest's namespaces.

use super::namespaces::is_own;
use crate::config::{Namespace, Settings};
use crate::error::{Error, Result};

/// Parameters that belong to a namespace, by the beginning of their names; all others are the
/// host's, also for a guest whose root is the host's.
const OF_NAMESPACES: [(&str, Namespace); 8] = [
    ("net.", Namespace::Network),
    ("kernel.shm", Namespace::Ipc),
    ("kernel.msg", Namespace::Ipc),
    ("kernel.sem", Namespace::Ipc),
    ("kernel.auto_msgmni", Namespace::Ipc),
    ("fs.mqueue.", Namespace::Ipc),
    ("kernel.hostname", Namespace::Uts),
    ("kernel.domainname", Namespace::Uts),
];

/// The file below /proc/sys.
///
/// # Errors
/// The parameter is not of the container's own namespaces.
pub(super) fn file(settings: &Settings, name: &str) -> Result<String> {
    // As sysctl(8): the first separator says which one is meant, for names as eth0.10.
    let slashes = match name.find(['.', '/']).map(|at| &name[at..=at]) {
        Some("/") => name.to_owned(),
        _ => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
    };
    let dots = slashes.replace('.', "\0").replace('/', ".");
    let user = dots.starts_with("user.max_") && is_own(settings, Namespace::User);
    let own = OF_NAMESPACES
        .iter()
        .any(|(start, kind)| dots.starts_with(start) && is_own(settings, *kind));
    if own || user {
        return Ok(format!("sys/{slashes}"));
    }
    Err(Error::user(format!(
        "lxc.sysctl.{name} is refused: the parameter is not of a namespace that this container has to itself, and would be changed for the host"
    ))
    .with_hint("set it on the host: sysctl -w"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigFile;
    use std::path::Path;

    #[test]
    fn only_parameters_of_its_own_namespaces_are_set() {
        let read = |lines: &str| {
            let text = format!("lxc.rootfs.path = dir:/srv/rootfs\n{lines}");
            Settings::of(&ConfigFile::parse(Path::new("/x/config"), &text)).unwrap()
        };
        let own = read("");
        assert_eq!(
            file(&own, "net.ipv4.ip_forward").unwrap(),
            "sys/net/ipv4/ip_forward"
        );
        assert_eq!(
            file(&own, "net/ipv4/conf/eth0.10/forwarding").unwrap(),
            "sys/net/ipv4/conf/eth0.10/forwarding"
        );
        assert_eq!(file(&own, "kernel.shmmax").unwrap(), "sys/kernel/shmmax");
        for of_host in [
            "kernel.core_pattern",
            "vm.swappiness",
            "fs.file-max",
            "user.max_mnt_namespaces",
        ] {
            assert!(file(&own, of_host).is_err(), "{of_host}");
        }
        let shared = read("lxc.namespace.keep = net\n");
        assert!(file(&shared, "net.ipv4.ip_forward").is_err());
    }
}
