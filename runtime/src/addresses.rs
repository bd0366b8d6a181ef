//! The addresses of a container, without entering its network namespace: `/proc/PID/net` shows it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses in a process's network namespace that others could reach it by, IPv4 first. What
/// cannot be read, of a process that has just ended, is none.
pub(crate) fn of_process(pid: i32) -> Vec<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/net/{file}"));
    let mut found: Vec<IpAddr> = Vec::new();
    let version_4 = version_4(&read("fib_trie").unwrap_or_default());
    found.extend(version_4.into_iter().map(IpAddr::V4));
    let version_6 = version_6(&read("if_inet6").unwrap_or_default());
    found.extend(version_6.into_iter().map(IpAddr::V6));
    found.iter().map(IpAddr::to_string).collect()
}

/// Of the routing tables' trie: a leaf, then its routes; its own addresses are `/32 host LOCAL`.
fn version_4(trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf
            && !address.is_loopback()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// `ADDRESS INDEX LENGTH SCOPE FLAGS NAME`, in hexadecimal. Scope 0 is everywhere.
fn version_6(table: &str) -> Vec<Ipv6Addr> {
    table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [address, _, _, "00", ..] = words[..] else {
                return None;
            };
            let address = u128::from_str_radix(address, 16).ok()?;
            Some(Ipv6Addr::from_bits(address))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     |-- 10.0.3.7
        /32 host LOCAL
     |-- 10.0.3.255
        /32 link BROADCAST
Local:
     |-- 10.0.3.7
        /32 host LOCAL
";

    #[test]
    fn addresses_are_told_once_and_loopback_and_links_are_left_out() {
        assert_eq!(version_4(TRIE), [Ipv4Addr::new(10, 0, 3, 7)]);
        let table = "\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000001 02 40 20 80     eth0
fd000000000000000000000000000002 02 40 00 80     eth0
";
        assert_eq!(version_6(table), ["fd00::2".parse::<Ipv6Addr>().unwrap()]);
    }

    proptest::proptest! {
        #[test]
        fn no_table_makes_a_parser_panic(text in ".*") {
            version_4(&text);
            version_6(&text);
        }
    }
}
