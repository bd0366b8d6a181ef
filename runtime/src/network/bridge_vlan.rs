//! VLANs of a bridge's port: which one what comes without a tag is of, and which come with one.

use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridge, InfoData, LinkAttribute,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::link;
use super::netlink::Netlink;
use crate::config::{Network, PortVlan};
use crate::error::{Error, Result, Tried};

/// Makes the host's end of a veth, which is a port already, one of the VLANs that the config names.
pub(super) fn set_up(host: &mut Netlink, port: &str, network: &Network) -> Result<()> {
    if network.port_vlan.is_none() && network.tagged_vlans.is_empty() {
        return Ok(());
    }
    let number = network.number;
    // The settings were checked.
    let bridge = network.link.as_deref().unwrap_or_default();
    let (filters, usual) = of_bridge(host, bridge)?;
    if !filters {
        return Err(Error::user(format!(
            "lxc.net.{number}.veth.vlan.* need a bridge that filters VLANs, which {bridge} does not"
        ))
        .with_hint(format!("ip link set {bridge} type bridge vlan_filtering 1")));
    }
    let what = || format!("find the interface {port}");
    let found = link::find(host, port).tried(what)?;
    let Some(found) = found else {
        return Err(nix::errno::Errno::ENODEV).tried(what);
    };
    let mut vlan = Vlan {
        host,
        index: found.index,
    };
    if let Some(own) = network.port_vlan {
        let own = match own {
            PortVlan::None => 0,
            PortVlan::Id(id) => id,
        };
        if usual != own && usual != 0 {
            vlan.leave(usual)
                .tried(|| format!("take {port} out of VLAN {usual}"))?;
        }
        if own != 0 {
            let flags = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
            vlan.join(own, flags)
                .tried(|| format!("make {port} a port of VLAN {own}"))?;
        }
    }
    for id in &network.tagged_vlans {
        vlan.join(*id, BridgeVlanInfoFlags::empty())
            .tried(|| format!("make {port} a tagged port of VLAN {id}"))?;
    }
    Ok(())
}

/// Whether a bridge filters VLANs, and which one new ports are of; 0 is none.
fn of_bridge(host: &mut Netlink, bridge: &str) -> Result<(bool, u16)> {
    let mut question = LinkMessage::default();
    let name = LinkAttribute::IfName(bridge.to_owned());
    question.attributes.push(name);
    let answers = host.get(RouteNetlinkMessage::GetLink(question));
    let answers = answers.tried(|| format!("look at the bridge {bridge}"))?;
    let (mut filters, mut usual) = (false, 0);
    let attributes = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(&link.attributes),
        _ => None,
    });
    let infos = attributes
        .flatten()
        .filter_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        });
    for info in infos.flatten() {
        let LinkInfo::Data(InfoData::Bridge(settings)) = info else {
            continue;
        };
        for setting in settings {
            match setting {
                InfoBridge::VlanFiltering(value) => filters = *value,
                InfoBridge::VlanDefaultPvid(vid) => usual = *vid,
                _ => {}
            }
        }
    }
    Ok((filters, usual))
}

struct Vlan<'a> {
    host: &'a mut Netlink,
    index: u32,
}

impl Vlan<'_> {
    fn join(&mut self, vid: u16, flags: BridgeVlanInfoFlags) -> std::io::Result<()> {
        let message = self.message(vid, flags);
        self.host.change(RouteNetlinkMessage::SetLink(message))
    }

    fn leave(&mut self, vid: u16) -> std::io::Result<()> {
        let message = self.message(vid, BridgeVlanInfoFlags::empty());
        self.host.change(RouteNetlinkMessage::DelLink(message))
    }

    fn message(&self, vid: u16, flags: BridgeVlanInfoFlags) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.header.index = self.index;
        let vlan = AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
        message.attributes = vec![LinkAttribute::AfSpecBridge(vec![vlan])];
        message
    }
}
