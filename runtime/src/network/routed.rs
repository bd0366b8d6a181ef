//! A veth that is no port of a bridge: the host routes its container's addresses to it
//! (`lxc.net.N.veth.mode = router`, `veth.ipv4.route`).

use std::net::IpAddr;

use super::netlink::Netlink;
use super::{address, neighbour, sysctl};
use crate::config::{Gateway, Network, VethMode};
use crate::error::{Result, Tried};

/// Sets up the host's end, which is up. All of it goes with that interface.
pub(super) fn set_up(
    host: &mut Netlink,
    (name, index): (&str, u32),
    network: &Network,
) -> Result<()> {
    for route in &network.routes {
        address::add_route(host, index, route.address, route.bits)
            .tried(|| format!("route {}/{} to {name}", route.address, route.bits))?;
    }
    if network.veth != VethMode::Router {
        return Ok(());
    }
    for gateway in [network.gateway_4, network.gateway_6] {
        // `auto` is an address of the host's, and it answers for that on any of its interfaces.
        if let Some(Gateway::Address(gateway)) = gateway {
            let family = if gateway.is_ipv4() { "ipv4" } else { "ipv6" };
            if gateway.is_ipv6() {
                // For interfaces one by one there is no such thing in IPv6.
                sysctl::must_be_on("ipv6/conf/all/forwarding", "a routed veth")?;
            }
            sysctl::write(&format!("{family}/conf/{name}/forwarding"), "1")?;
            if gateway.is_ipv6() {
                sysctl::write(&format!("ipv6/conf/{name}/proxy_ndp"), "1")?;
            }
            answer(host, index, name, gateway)?;
        }
    }
    for own in &network.addresses {
        address::add_host_route(host, index, own.address)
            .tried(|| format!("route {} to {name}", own.address))?;
    }
    Ok(())
}

/// The container asks for its gateway there, which need not be anybody's.
fn answer(host: &mut Netlink, index: u32, name: &str, gateway: IpAddr) -> Result<()> {
    neighbour::proxy(host, index, gateway).tried(|| format!("answer for {gateway} on {name}"))
}
