//! The kinds of networks.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// What a network is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// A bridge of its own, behind the host's address.
    Nat,
    /// A bridge of its own, and nothing beyond.
    Isolated,
    /// The same as `Nat`, with a switch of VDE for virtual machines.
    Vde,
    /// A bridge that is there.
    Bridge,
    /// Interfaces with addresses of their own on one of the host's.
    Macvlan,
    /// Interfaces that share the hardware address of one of the host's.
    Ipvlan,
    /// A VLAN of one of the host's.
    Vlan,
    /// One of the host's interfaces, given away.
    Phys,
}

/// The kinds and their words.
const KINDS: [(Kind, &str); 8] = [
    (Kind::Nat, "nat"),
    (Kind::Isolated, "isolated"),
    (Kind::Vde, "vde"),
    (Kind::Bridge, "bridge"),
    (Kind::Macvlan, "macvlan"),
    (Kind::Ipvlan, "ipvlan"),
    (Kind::Vlan, "vlan"),
    (Kind::Phys, "phys"),
];

impl Kind {
    /// Whether Sampan makes its bridge and gives out its addresses.
    pub fn is_managed(self) -> bool {
        matches!(self, Kind::Nat | Kind::Isolated | Kind::Vde)
    }

    /// Whether its containers are behind the host's address.
    pub fn leads_out(self) -> bool {
        matches!(self, Kind::Nat | Kind::Vde)
    }

    /// Whether its containers are ports of a bridge.
    pub fn has_bridge(self) -> bool {
        self.is_managed() || self == Kind::Bridge
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KINDS.iter().find(|(kind, _)| kind == self);
        f.write_str(word.map_or("", |(_, word)| word))
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Kind> {
        let found = KINDS.iter().find(|(_, word)| *word == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| {
            Error::user(format!("\"{text}\" is not a kind of network"))
                .with_hint(format!("choose {}", KINDS.map(|(_, word)| word).join(", ")))
        })
    }
}
