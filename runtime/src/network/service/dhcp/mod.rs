//! Addresses for guests that ask: each gets the one that is recorded for its interface, and a
//! stranger one of the network's pool, or no answer.

mod message;
mod strangers;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use self::message::{Answer, Kind, Query, code};
use self::strangers::Strangers;
use super::table::Table;

/// A client's port.
const CLIENT: u16 = 68;
/// A recorded address does not change while a container runs; what may is who answers names.
const LEASE: u32 = 3600;

/// Who gets which address, and what else they are told.
#[derive(Default)]
pub(crate) struct Leases {
    hosts: HashMap<[u8; 6], (Ipv4Addr, String)>,
    /// Who is not in the table.
    strangers: Strangers,
    gateway: Option<(Ipv4Addr, u8)>,
    name_servers: Vec<Ipv4Addr>,
    domain: String,
}

impl Leases {
    pub(crate) fn new(table: &Table, upstream: &[std::net::IpAddr]) -> Leases {
        let hosts = table.hosts.iter().filter_map(|host| {
            let name: String = host.name.clone();
            Some((host.mac, (host.ipv4?, name)))
        });
        let gateway = table.gateway4.map(|(ip, _)| ip);
        let mut strangers = Strangers::default();
        strangers.set_range(table.pool);
        Leases {
            hosts: hosts.collect(),
            strangers,
            gateway: table.gateway4,
            name_servers: if table.dns {
                gateway.into_iter().collect()
            } else {
                // Those of the host itself nobody else can reach.
                let usable = |ip: &std::net::IpAddr| match ip {
                    std::net::IpAddr::V4(ip) if !ip.is_loopback() => Some(*ip),
                    _ => None,
                };
                upstream.iter().filter_map(usable).take(3).collect()
            },
            domain: table.domain.clone(),
        }
    }

    /// Lets whoever is not in the table keep what it got before the table changed.
    pub(crate) fn keep_strangers_of(mut self, before: Leases, table: &Table) -> Leases {
        self.strangers = before.strangers;
        self.strangers.set_range(table.pool);
        self
    }

    /// Answers a message into the buffer; returns where the answer goes.
    pub(crate) fn answer(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<SocketAddrV4> {
        let query = Query::parse(bytes)?;
        let (address, name) = match self.hosts.get(&query.mac) {
            Some((address, name)) => (*address, name.as_str()),
            None => {
                let wanted = query.requested.unwrap_or(query.has);
                let own = match query.kind {
                    Kind::Discover | Kind::Request => self.strangers.give(query.mac, wanted),
                    _ => self.strangers.of(query.mac),
                };
                (own?, "")
            }
        };
        let (gateway, length) = self.gateway?;
        if query.server.is_some_and(|server| server != gateway) {
            return None;
        }
        let kind = match query.kind {
            Kind::Discover => Kind::Offer,
            Kind::Request => {
                // Which one it asks for stands here or there, according to its state.
                let wanted = query.requested.unwrap_or(query.has);
                if wanted == address {
                    Kind::Ack
                } else {
                    Kind::Nak
                }
            }
            Kind::Inform if query.has == address => Kind::Ack,
            _ => return None,
        };
        let has = match query.kind {
            Kind::Discover => Ipv4Addr::UNSPECIFIED,
            _ => query.has,
        };
        let mut answer = Answer::begin(&query, kind, out);
        answer.option(code::SERVER, &gateway.octets());
        if kind != Kind::Nak {
            let leased = query.kind != Kind::Inform;
            let gets = if leased {
                address
            } else {
                Ipv4Addr::UNSPECIFIED
            };
            answer.addresses(has, gets);
            if leased {
                answer.option(code::LEASE, &LEASE.to_be_bytes());
                answer.option(code::RENEWAL, &(LEASE / 2).to_be_bytes());
                answer.option(code::REBINDING, &(LEASE / 8 * 7).to_be_bytes());
            }
            let mask = u32::MAX
                .checked_shl(32 - u32::from(length.min(32)))
                .unwrap_or(0);
            answer.option(code::MASK, &mask.to_be_bytes());
            let broadcast = Ipv4Addr::from(u32::from(gateway) | !mask);
            answer.option(code::BROADCAST, &broadcast.octets());
            answer.option(code::ROUTER, &gateway.octets());
            if !self.name_servers.is_empty() {
                let octets: Vec<u8> = self
                    .name_servers
                    .iter()
                    .flat_map(Ipv4Addr::octets)
                    .collect();
                answer.option(code::NAME_SERVER, &octets);
            }
            if !name.is_empty() {
                answer.option(code::HOST_NAME, name.as_bytes());
            }
            answer.option(code::DOMAIN, self.domain.as_bytes());
        }
        if let Some(id) = query.client_id {
            // RFC 6842
            answer.option(code::CLIENT, id);
        }
        answer.end();
        // Who has no address yet cannot be asked who has it (ARP), and nobody's broadcast flag is
        // against a broadcast.
        let to = if kind == Kind::Ack && has == address {
            has
        } else {
            Ipv4Addr::BROADCAST
        };
        Some(SocketAddrV4::new(to, CLIENT))
    }
}

#[cfg(test)]
mod tests;
