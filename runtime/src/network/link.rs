//! Links: network interfaces.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, IpVlanMode, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use nix::errno::Errno;

use super::netlink::Netlink;

/// An interface as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) mtu: u32,
    /// `veth`, `bridge`, …; empty for hardware.
    pub(crate) kind: String,
    pub(crate) alias: Option<String>,
    /// Its hardware address, of six bytes.
    pub(crate) address: Option<[u8; 6]>,
    /// The index of what it is a port of.
    pub(crate) controller: Option<u32>,
    pub(crate) group: u32,
    pub(crate) up: bool,
}

/// What stands above another interface of the host and is given to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Above {
    Macvlan(MacVlanMode),
    Ipvlan(IpVlanMode),
    Vlan(u16),
}

/// The two ends of a new veth.
#[derive(Debug)]
pub(crate) struct Veth<'a> {
    /// The host's end: name, hardware address, description.
    pub(crate) host: &'a str,
    pub(crate) host_address: [u8; 6],
    pub(crate) alias: &'a str,
    /// The bridge it is a port of.
    pub(crate) bridge: Option<u32>,
    /// The container's end.
    pub(crate) guest: Guest<'a>,
}

/// How an interface is in its container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guest<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: BorrowedFd<'a>,
    pub(crate) address: Option<[u8; 6]>,
    pub(crate) mtu: Option<u32>,
}

impl Guest<'_> {
    fn attributes(&self) -> Vec<LinkAttribute> {
        let mut attributes = vec![
            LinkAttribute::IfName(self.name.to_owned()),
            LinkAttribute::NetNsFd(self.namespace.as_raw_fd()),
        ];
        attributes.extend(self.address.map(|a| LinkAttribute::Address(a.to_vec())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes
    }
}

/// The interface of this name, if there is one.
pub(crate) fn find(netlink: &mut Netlink, name: &str) -> io::Result<Option<Link>> {
    let mut question = LinkMessage::default();
    question
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    let answers = match netlink.get(RouteNetlinkMessage::GetLink(question)) {
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => return Ok(None),
        other => other?,
    };
    Ok(answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(message) => Some(read(&message)),
        _ => None,
    }))
}

/// Makes an interface that needs nothing but a name, in the namespace of the socket.
pub(crate) fn create(netlink: &mut Netlink, name: &str, kind: InfoKind) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]),
    ];
    netlink.create(RouteNetlinkMessage::NewLink(message))
}

/// Makes a veth whose second end begins its life in the container.
pub(crate) fn create_veth(netlink: &mut Netlink, veth: &Veth<'_>) -> io::Result<()> {
    let mut peer = LinkMessage::default();
    peer.attributes = veth.guest.attributes();
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(veth.host.to_owned()),
        LinkAttribute::Address(veth.host_address.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    message
        .attributes
        .extend(veth.guest.mtu.map(LinkAttribute::Mtu));
    netlink.create(RouteNetlinkMessage::NewLink(message))?;
    // The kernel takes neither of these for a new veth.
    let Some(link) = find(netlink, veth.host)? else {
        return Err(Errno::ENODEV.into());
    };
    let mut message = of(link.index);
    message
        .attributes
        .push(LinkAttribute::IfAlias(veth.alias.to_owned()));
    message
        .attributes
        .extend(veth.bridge.map(LinkAttribute::Controller));
    let ready = netlink.change(RouteNetlinkMessage::SetLink(up(message)));
    if ready.is_err() {
        let _ = delete(netlink, link.index);
    }
    ready
}

/// Makes a bridge and brings it up. Its hardware address does not change with its ports. It is of
/// the group from its first moment on, and says whose it is soon after.
pub(crate) fn create_bridge(
    netlink: &mut Netlink,
    name: &str,
    address: [u8; 6],
    group: u32,
) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(address.to_vec()),
        LinkAttribute::Group(group),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    netlink.create(RouteNetlinkMessage::NewLink(message))
}

/// Says whose an interface is.
pub(crate) fn describe(netlink: &mut Netlink, index: u32, alias: &str) -> io::Result<()> {
    let mut message = of(index);
    message
        .attributes
        .push(LinkAttribute::IfAlias(alias.to_owned()));
    netlink.change(RouteNetlinkMessage::SetLink(message))
}

/// Makes an interface above `lower`, in the container.
pub(crate) fn create_above(
    netlink: &mut Netlink,
    lower: u32,
    kind: Above,
    guest: &Guest<'_>,
) -> io::Result<()> {
    let (kind, data) = match kind {
        Above::Macvlan(mode) => (
            InfoKind::MacVlan,
            InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]),
        ),
        Above::Ipvlan(mode) => (
            InfoKind::IpVlan,
            InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)]),
        ),
        Above::Vlan(id) => (InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(id)])),
    };
    let mut message = LinkMessage::default();
    message.attributes = guest.attributes();
    message.attributes.push(LinkAttribute::Link(lower));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(kind),
        LinkInfo::Data(data),
    ]));
    netlink.create(RouteNetlinkMessage::NewLink(message))
}

/// Gives an interface away, under this name.
pub(crate) fn give(netlink: &mut Netlink, index: u32, guest: &Guest<'_>) -> io::Result<()> {
    let mut message = of(index);
    message.attributes = guest.attributes();
    // A running interface keeps its name.
    set_down(netlink, index)?;
    netlink.change(RouteNetlinkMessage::SetLink(message))
}

/// Makes a bridge that is up, with the address and MTU of its first port to be; returns its index.
pub(crate) fn create_bridge_over(
    netlink: &mut Netlink,
    name: &str,
    address: Option<[u8; 6]>,
    mtu: u32,
) -> io::Result<u32> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    message
        .attributes
        .extend(address.map(|a| LinkAttribute::Address(a.to_vec())));
    netlink.create(RouteNetlinkMessage::NewLink(up(message)))?;
    let made = find(netlink, name)?;
    made.map(|link| link.index)
        .ok_or_else(|| Errno::ENODEV.into())
}

/// Makes an interface a port of another; of 0: of none.
pub(crate) fn set_controller(netlink: &mut Netlink, index: u32, controller: u32) -> io::Result<()> {
    let mut message = of(index);
    message
        .attributes
        .push(LinkAttribute::Controller(controller));
    netlink.change(RouteNetlinkMessage::SetLink(message))
}

/// The names of what is a port of `name`.
pub(crate) fn ports(netlink: &mut Netlink, name: &str) -> io::Result<Vec<String>> {
    let Some(controller) = find(netlink, name)? else {
        return Ok(Vec::new());
    };
    let answers = netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let port = LinkAttribute::Controller(controller.index);
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Some(message),
            _ => None,
        })
        .filter(|message| message.attributes.contains(&port))
        .filter_map(|message| {
            message
                .attributes
                .into_iter()
                .find_map(|attribute| match attribute {
                    LinkAttribute::IfName(name) => Some(name),
                    _ => None,
                })
        })
        .collect())
}

/// Brings an interface up.
pub(crate) fn set_up(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    netlink.change(RouteNetlinkMessage::SetLink(up(of(index))))
}

/// Takes an interface down.
pub(crate) fn set_down(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    let mut down = of(index);
    down.header.change_mask = LinkFlags::Up;
    netlink.change(RouteNetlinkMessage::SetLink(down))
}

/// Removes an interface. One that is not there is fine.
pub(crate) fn delete(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    match netlink.change(RouteNetlinkMessage::DelLink(of(index))) {
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(()),
        other => other,
    }
}

fn of(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn up(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn read(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Address(bytes) => link.address = bytes.as_slice().try_into().ok(),
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
    link
}
