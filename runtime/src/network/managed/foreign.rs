//! Other people's filters.
//!
//! An `accept` in a table of ours does not undo a `drop` in another: a packet passes when nobody
//! refuses it. Where iptables (docker, ufw) keeps chains with a closed end, packets of our bridges
//! therefore get rules at their head, marked by a comment, and these are removed by it. What they
//! let pass is decided in our own tables, which see the same packets.
//!
//! Only the chains of iptables-nft are known by name and place, and firewalld is asked to open itself
//! ([`super::firewalld`]); what a person wrote by hand for nft(8), or the rules of the old iptables, are
//! left alone.

use std::io;

use super::firewalld;
use super::rules::table_name;
use crate::network::nft::{self, Batch, Family, Is, Rule, Table};

const CHAINS: [&str; 2] = ["INPUT", "FORWARD"];

fn filters() -> [Table<'static>; 2] {
    [Family::Ip, Family::Ip6].map(|family| Table {
        family,
        name: "filter",
    })
}

/// A packet filter of somebody else's, which a network's packets pass too.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Firewall {
    /// Whose: `iptables` (docker and ufw use it) or `firewalld`.
    pub name: String,
    /// Whether it lets the network's packets through; ours then decide.
    pub open: bool,
    /// What was done for that, or (not open) the command to do it.
    pub how: String,
}

/// What of others is in the way of a network that is up, and what was done about it.
pub(super) fn found(network: &str, bridge: &str) -> io::Result<Vec<Firewall>> {
    let mut found = Vec::new();
    let mark = table_name(network);
    let (mut there, mut open) = (Vec::new(), true);
    for chain in CHAINS {
        for table in filters() {
            if nft::has_chain(table, chain)? {
                open &= !ours(table, chain, &mark)?.is_empty();
                if !there.contains(&chain) {
                    there.push(chain);
                }
            }
        }
    }
    if !there.is_empty() {
        found.push(Firewall {
            name: "iptables".to_owned(),
            open,
            how: match open {
                true => format!("rules marked {mark} in {}", there.join(" and ")),
                false => format!("sampan network up {network}"),
            },
        });
    }
    if firewalld::filters()? {
        let open = firewalld::knows(bridge)?;
        found.push(Firewall {
            name: "firewalld".to_owned(),
            open,
            how: match open {
                true => format!("it was told of {bridge}"),
                false => firewalld::command(bridge),
            },
        });
    }
    Ok(found)
}

/// Whether a filter of others lacks what would open it.
pub(super) fn are_missing(network: &str, bridge: &str) -> io::Result<bool> {
    if firewalld::lacks(bridge)? {
        return Ok(true);
    }
    let mark = table_name(network);
    for table in filters() {
        for chain in CHAINS {
            if nft::has_chain(table, chain)? && ours(table, chain, &mark)?.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Adds our rules where they lack.
pub(super) fn open(batch: &mut Batch, network: &str, bridge: &str) -> io::Result<()> {
    let mark = table_name(network);
    for table in filters() {
        for chain in CHAINS {
            if !nft::has_chain(table, chain)? || !ours(table, chain, &mark)?.is_empty() {
                continue;
            }
            let finish = |rule: Rule| rule.counted().accept().comment(&mark);
            let from = finish(Rule::new().from(Is::Equal, bridge));
            batch.insert_rule(table, chain, from);
            if chain == "FORWARD" {
                let to = finish(Rule::new().to(Is::Equal, bridge));
                batch.insert_rule(table, chain, to);
            }
        }
    }
    Ok(())
}

/// Removes our rules.
pub(super) fn close(batch: &mut Batch, network: &str) -> io::Result<()> {
    let mark = table_name(network);
    for table in filters() {
        for chain in CHAINS {
            if !nft::has_chain(table, chain)? {
                continue;
            }
            for handle in ours(table, chain, &mark)? {
                batch.delete_rule(table, chain, handle);
            }
        }
    }
    Ok(())
}

fn ours(table: Table<'_>, chain: &str, mark: &str) -> io::Result<Vec<u64>> {
    let rules = nft::rules(table, chain)?;
    let ours = rules
        .into_iter()
        .filter(|(_, comment)| comment.as_deref() == Some(mark));
    Ok(ours.map(|(handle, _)| handle).collect())
}
