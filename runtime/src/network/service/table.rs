//! What a network's service answers from.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::containers::{Durability, replace_file};
use crate::error::{Error, Result, Tried};

/// A table for 65,534 hosts, all that a /16 can hold, has half of this.
const LARGEST: u64 = 16 << 20;

/// A network, and who is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The network's name, for its log.
    pub network: String,
    /// Hosts are NAME and NAME.DOMAIN.
    pub domain: String,
    /// The bridge's address and the length of its prefix.
    pub gateway4: Option<(Ipv4Addr, u8)>,
    /// The same of IPv6.
    pub gateway6: Option<(Ipv6Addr, u8)>,
    /// Whether names are answered, on the bridge's addresses.
    pub dns: bool,
    /// Whether guests that ask are told their addresses.
    pub dhcp: bool,
    /// The first and the last address for guests that are not in the table.
    #[serde(default)]
    pub pool: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Who is asked about the names of others. Empty: whom the host asks (resolv.conf(5)).
    pub upstream: Vec<IpAddr>,
    /// Who is in the network.
    pub hosts: Vec<Host>,
}

/// One container's place in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The container's name.
    pub name: String,
    /// Of its interface, by which DHCP knows it.
    pub mac: [u8; 6],
    /// Its recorded address.
    pub ipv4: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            network: String::new(),
            domain: "sampan".to_owned(),
            gateway4: None,
            gateway6: None,
            dns: true,
            dhcp: true,
            pool: None,
            upstream: Vec::new(),
            hosts: Vec::new(),
        }
    }
}

impl Table {
    /// Writes it as a whole or not at all. It describes what runs: it need not survive the host.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self)
            .map_err(std::io::Error::from)
            .tried(|| format!("write {}", path.display()))?;
        replace_file(path, &text, Durability::ProcessCrash)
    }

    /// Reads one.
    pub(super) fn read(path: &Path) -> Result<Table> {
        let what = || format!("read {}", path.display());
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
            .tried(what)?;
        if text.len() as u64 > LARGEST {
            return Err(Error::environment(format!(
                "could not read {}: it is larger than {LARGEST} bytes",
                path.display()
            )));
        }
        serde_json::from_str(&text)
            .map_err(std::io::Error::from)
            .tried(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_written_is_read_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table");
        let table = Table {
            network: "lan".to_owned(),
            gateway4: Some(([10, 9, 0, 1].into(), 24)),
            upstream: vec!["fd00::1".parse().unwrap()],
            hosts: vec![Host {
                name: "web".to_owned(),
                mac: [2, 0, 0, 0, 0, 1],
                ipv4: Some([10, 9, 0, 2].into()),
                ipv6: None,
            }],
            ..Table::default()
        };
        table.write(&path).unwrap();
        assert_eq!(Table::read(&path).unwrap(), table);
    }

    #[test]
    fn a_table_that_is_too_large_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table");
        File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        let error = Table::read(&path).unwrap_err().chain();
        assert!(error.contains("larger than"), "{error}");
    }
}
