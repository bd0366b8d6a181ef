//! Whom the host asks about names, as long as that changes.

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::table::Table;
use crate::error::{Result, Tried};

const FILE: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// What the C library reads of it (resolv.conf(5), MAXNS).
const MOST: usize = 3;
const LARGEST: u64 = 64 << 10;

/// The host's resolvers.
pub(super) struct Resolvers {
    watch: Inotify,
}

impl Resolvers {
    pub(super) fn watch() -> Result<Resolvers> {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .tried(|| format!("watch {FILE}"))?;
        Ok(Resolvers { watch })
    }

    /// Becomes readable when they may have changed.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Whom to ask for a network. Looks at the file, and from before on for its changes.
    pub(super) fn of(&self, table: &Table) -> Vec<SocketAddr> {
        while self
            .watch
            .read_events()
            .is_ok_and(|events| !events.is_empty())
        {}
        self.look_at_changes();
        let found = match &table.upstream[..] {
            [] => {
                let mut text = String::new();
                // Without it there is one on the host itself (resolv.conf(5)).
                let _ =
                    File::open(FILE).and_then(|file| file.take(LARGEST).read_to_string(&mut text));
                parse(&text)
            }
            upstream => upstream
                .iter()
                .map(|ip| SocketAddr::new(*ip, PORT))
                .collect(),
        };
        let own = |ip: IpAddr| {
            table.gateway4.is_some_and(|(own, _)| ip == own)
                || table.gateway6.is_some_and(|(own, _)| ip == own)
        };
        // Asking itself would never end.
        found.into_iter().filter(|at| !own(at.ip())).collect()
    }

    /// The file itself, and the directories in which it, or what it is a link to, is replaced. Done
    /// again after each change: it may be another file then. What is not there is not watched.
    fn look_at_changes(&self) {
        let in_file = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB;
        let in_directory =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        let _ = self.watch.add_watch(FILE, in_file);
        let target = fs::canonicalize(FILE).ok();
        let directories = [
            Path::new(FILE).parent(),
            target.as_deref().and_then(Path::parent),
        ];
        for directory in directories.into_iter().flatten() {
            let _ = self.watch.add_watch(directory, in_directory);
        }
    }
}

/// The servers of a resolv.conf(5).
fn parse(text: &str) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next())?
        })
        .filter_map(address)
        .take(MOST)
        .collect();
    if found.is_empty() {
        found.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
    }
    found
}

fn address(word: &str) -> Option<SocketAddr> {
    match word.split_once('%') {
        None => Some(SocketAddr::new(word.parse().ok()?, PORT)),
        Some((ip, scope)) => {
            let scope = match scope.parse() {
                Ok(number) => number,
                Err(_) => nix::net::if_::if_nametoindex(scope).ok()?,
            };
            Some(SocketAddrV6::new(ip.parse().ok()?, PORT, 0, scope).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_is_read_as_the_c_library_reads_it() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver\t10.0.0.1 # x\n\
                    nameserver fd00::1\n nameserver 10.0.0.3\nnameserver 10.0.0.4\n";
        let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1:53", "[fd00::1]:53", "10.0.0.3:53"]);
        assert_eq!(
            parse("nameserver fe80::1%lo\n")[0].to_string(),
            "[fe80::1%1]:53"
        );
        assert_eq!(parse("nameserver x\n")[0].to_string(), "127.0.0.1:53");
    }

    #[test]
    fn nobody_is_asked_at_the_networks_own_addresses() {
        let table = Table {
            gateway4: Some(([10, 9, 0, 1].into(), 24)),
            upstream: vec![[10, 9, 0, 1].into(), [10, 9, 0, 2].into()],
            ..Table::default()
        };
        let found = Resolvers::watch().unwrap().of(&table);
        assert_eq!(found, ["10.9.0.2:53".parse().unwrap()]);
    }
}
