//! Other people's filters.
//!
//! An `accept` in a table of ours does not undo a `drop` in another: a packet passes when nobody
//! refuses it. Where iptables (docker, ufw) keeps chains with a closed end, packets of our bridges
//! therefore get rules at their head, marked by a comment, and these are removed by it. What they
//! let pass is decided in our own tables, which see the same packets.
//!
//! Only the chains of iptables-nft are known by name and place; what a person wrote by hand for
//! nft(8), or the rules of the old iptables, are left alone.

use std::io;

use super::rules::table_name;
use crate::network::nft::{self, Batch, Family, Is, Rule, Table};

const CHAINS: [&str; 2] = ["INPUT", "FORWARD"];

fn filters() -> [Table<'static>; 2] {
    [Family::Ip, Family::Ip6].map(|family| Table {
        family,
        name: "filter",
    })
}

/// Whether a chain of others lacks our rules.
pub(super) fn are_missing(network: &str) -> io::Result<bool> {
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
