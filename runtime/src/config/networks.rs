//! What `lxc.net.*` lines say.

use std::net::{IpAddr, Ipv4Addr};

/// One network of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The N of its `lxc.net.N.*` lines.
    pub number: u32,
    /// `type`.
    pub kind: NetworkKind,
    /// `flags = up`.
    pub up: bool,
    /// `link`: the host's bridge or interface.
    pub link: Option<String>,
    /// `name`: inside.
    pub name: Option<String>,
    /// Its name inside if there is no `name`.
    pub usual_name: String,
    /// `hwaddr`.
    pub hardware: Option<HardwareAddress>,
    /// `mtu`.
    pub mtu: Option<u32>,
    /// `ipv4.address` and `ipv6.address`.
    pub addresses: Vec<NetworkAddress>,
    /// `ipv4.gateway`.
    pub gateway_4: Option<Gateway>,
    /// `ipv6.gateway`.
    pub gateway_6: Option<Gateway>,
    /// `l2proxy`: the link answers for its addresses.
    pub proxied: bool,
    /// `veth.pair`: the host's end.
    pub pair: Option<String>,
    /// `veth.mode`.
    pub veth: VethMode,
    /// `veth.ipv4.route` and `veth.ipv6.route`: networks that the host reaches by it.
    pub routes: Vec<NetworkAddress>,
    /// `macvlan.mode`.
    pub macvlan: MacvlanMode,
    /// `ipvlan.mode`.
    pub ipvlan: IpvlanMode,
    /// `vlan.id`.
    pub vlan: Option<u16>,
    /// `veth.vlan.id`: of the bridge's port.
    pub port_vlan: Option<PortVlan>,
    /// `veth.vlan.tagged.id`.
    pub tagged_vlans: Vec<u16>,
    /// `script.up`.
    pub up_script: Option<Script>,
    /// `script.down`.
    pub down_script: Option<Script>,
    /// Where its first line is.
    pub place: String,
}

/// `lxc.net.N.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of lxc.container.conf(5)")]
pub enum NetworkKind {
    Empty,
    None,
    Veth,
    Macvlan,
    Ipvlan,
    Vlan,
    Phys,
}

impl NetworkKind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            NetworkKind::Empty => "empty",
            NetworkKind::None => "none",
            NetworkKind::Veth => "veth",
            NetworkKind::Macvlan => "macvlan",
            NetworkKind::Ipvlan => "ipvlan",
            NetworkKind::Vlan => "vlan",
            NetworkKind::Phys => "phys",
        }
    }

    /// Whether the container gets an interface by it.
    pub fn is_interface(self) -> bool {
        !matches!(self, NetworkKind::Empty | NetworkKind::None)
    }
}

/// A program of the host's that takes part in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// A command, for a shell.
    pub command: String,
    /// `file:line` for messages.
    pub place: String,
}

/// `lxc.net.N.veth.vlan.id`: the VLAN of what comes without a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortVlan {
    /// `none`: it is dropped.
    None,
    /// This one.
    Id(u16),
}

/// `lxc.net.N.veth.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VethMode {
    /// The host's end is a port of the bridge that `link` names, if it names one.
    #[default]
    Bridge,
    /// The host routes the container's addresses to it.
    Router,
}

/// `lxc.net.N.macvlan.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of lxc.container.conf(5)")]
pub enum MacvlanMode {
    #[default]
    Private,
    Vepa,
    Bridge,
    Passthru,
}

/// `lxc.net.N.ipvlan.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of lxc.container.conf(5)")]
pub enum IpvlanMode {
    L2,
    #[default]
    L3,
    L3s,
}

/// An address with its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkAddress {
    /// The address.
    pub address: IpAddr,
    /// Of how many bits its network is.
    pub bits: u8,
    /// Said in the config; see [`NetworkAddress::broadcast`].
    pub said_broadcast: Option<Ipv4Addr>,
}

/// Where packets go that are for no neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// To this machine.
    Address(IpAddr),
    /// To the address that the link has on the host.
    Auto,
    /// Straight out of the interface.
    Device,
}

/// A hardware address of which some digits may be left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardwareAddress {
    digits: [Option<u8>; 12],
}

impl Network {
    pub(super) fn new(number: u32, place: String) -> Network {
        Network {
            number,
            kind: NetworkKind::Empty,
            up: false,
            link: None,
            name: None,
            usual_name: format!("eth{number}"),
            hardware: None,
            mtu: None,
            addresses: Vec::new(),
            gateway_4: None,
            gateway_6: None,
            proxied: false,
            pair: None,
            veth: VethMode::default(),
            routes: Vec::new(),
            macvlan: MacvlanMode::default(),
            ipvlan: IpvlanMode::default(),
            vlan: None,
            port_vlan: None,
            tagged_vlans: Vec::new(),
            up_script: None,
            down_script: None,
            place,
        }
    }
}

/// Gives each network without a `name` the one that LXC gives it: an interface of the host keeps
/// its own, the others are ethN by the first number that is free when their turn comes.
pub(super) fn name_the_nameless(networks: &mut [Network]) {
    let mut taken = Vec::new();
    for network in networks.iter_mut().filter(|it| it.kind.is_interface()) {
        let first_free = || {
            let mut names = (0..).map(|number| format!("eth{number}"));
            names.find(|name| !taken.contains(name))
        };
        let usual = match (network.kind, &network.link) {
            (NetworkKind::Phys, Some(link)) => Some(link.clone()),
            _ => first_free(),
        };
        // There is always a number.
        network.usual_name = usual.unwrap_or_default();
        taken.push(network.name.as_ref().unwrap_or(&network.usual_name).clone());
    }
}

impl NetworkAddress {
    /// Reads `ADDRESS[/BITS] [BROADCAST]`. Without bits an IPv4 address has those of its class, an
    /// IPv6 address 64.
    pub(crate) fn parse(text: &str) -> Option<NetworkAddress> {
        let mut words = text.split_whitespace();
        let (address, bits) = match words.next()?.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse::<u8>().ok()?)),
            None => (text.split_whitespace().next()?.parse().ok()?, None),
        };
        let usual = match address {
            IpAddr::V4(address) => match address.octets()[0] {
                0..=127 => 8,
                128..=191 => 16,
                _ => 24,
            },
            IpAddr::V6(_) => 64,
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(usual);
        let said_broadcast = match words.next() {
            Some(word) if address.is_ipv4() => Some(word.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        (bits <= most && words.next().is_none()).then_some(NetworkAddress {
            address,
            bits,
            said_broadcast,
        })
    }

    /// The address of all neighbours; networks of one or two have none (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) if self.bits < 31 => Some(
                self.said_broadcast
                    .unwrap_or_else(|| Ipv4Addr::from(u32::from(address) | !(self.mask() as u32))),
            ),
            _ => None,
        }
    }

    /// Whether another address is of the same network.
    pub fn reaches(&self, other: IpAddr) -> bool {
        let number = |address| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        self.address.is_ipv4() == other.is_ipv4()
            && (number(self.address) ^ number(other)) & self.mask() == 0
    }

    fn mask(&self) -> u128 {
        let (width, all) = match self.address {
            IpAddr::V4(_) => (32, u128::from(u32::MAX)),
            IpAddr::V6(_) => (128, u128::MAX),
        };
        all.checked_shl(width - u32::from(self.bits)).unwrap_or(0) & all
    }
}

impl HardwareAddress {
    /// Reads `00:16:3e:xx:xx:xx`.
    pub(super) fn parse(text: &str) -> Option<HardwareAddress> {
        let mut digits = [None; 12];
        let groups: Vec<&str> = text.split(':').collect();
        if groups.len() != 6 {
            return None;
        }
        for (group, pair) in groups.iter().zip(digits.chunks_mut(2)) {
            if group.len() != 2 || !group.is_ascii() {
                return None;
            }
            for (letter, digit) in group.chars().zip(pair) {
                *digit = match letter {
                    'x' | 'X' => None,
                    other => Some(other.to_digit(16)? as u8),
                };
            }
        }
        let address = HardwareAddress { digits };
        // A group address is nobody's own.
        (address.filled(0)[0] & 1 == 0).then_some(address)
    }

    /// The address with open digits taken from a number: the same number, the same address.
    pub fn filled(&self, mut number: u64) -> [u8; 6] {
        let mut bytes = [0; 6];
        for (at, digit) in self.digits.iter().enumerate() {
            let mut digit = digit.unwrap_or_else(|| {
                let taken = (number & 15) as u8;
                number >>= 4;
                // The bit of group addresses, in the second digit.
                if at == 1 { taken & !1 } else { taken }
            });
            if at % 2 == 0 {
                digit <<= 4;
            }
            bytes[at / 2] |= digit;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_network_that_lxc_gives_them() {
        let parse = |text| NetworkAddress::parse(text).unwrap();
        assert_eq!(
            parse("10.0.3.5/24").broadcast().unwrap().to_string(),
            "10.0.3.255"
        );
        assert_eq!(parse("10.0.3.5").bits, 8);
        assert_eq!(parse("192.168.1.9").bits, 24);
        assert_eq!(parse("fd00::1").bits, 64);
        assert_eq!(
            parse("10.0.0.1/24 10.0.0.7")
                .broadcast()
                .unwrap()
                .to_string(),
            "10.0.0.7"
        );
        assert!(parse("10.0.3.5/24").reaches("10.0.3.1".parse().unwrap()));
        assert!(!parse("10.0.3.5/24").reaches("10.0.4.1".parse().unwrap()));
        assert!(parse("10.0.3.5/0").reaches("1.2.3.4".parse().unwrap()));
        assert!(!parse("10.0.3.5/32").reaches("10.0.3.4".parse().unwrap()));
        for wrong in [
            "",
            "10.0.3/24",
            "10.0.0.1/33",
            "::1/129",
            "::1 10.0.0.1",
            "1.1.1.1/8 2 3",
        ] {
            assert!(NetworkAddress::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn networks_without_a_name_are_called_as_lxc_calls_them() {
        let network = |number, kind, name: Option<&str>| {
            let mut network = Network::new(number, String::new());
            (network.kind, network.name) = (kind, name.map(str::to_owned));
            network.link = Some("lan0".to_owned());
            network
        };
        let mut all = [
            network(2, NetworkKind::Veth, None),
            network(3, NetworkKind::Veth, Some("eth1")),
            network(4, NetworkKind::Empty, None),
            network(5, NetworkKind::Phys, None),
            network(6, NetworkKind::Macvlan, None),
        ];
        name_the_nameless(&mut all);
        let names = [0, 3, 4].map(|at| all[at].usual_name.as_str());
        assert_eq!(names, ["eth0", "lan0", "eth2"]);
    }

    #[test]
    fn open_digits_of_a_hardware_address_are_filled_and_others_kept() {
        let fixed = HardwareAddress::parse("4a:49:43:49:79:20").unwrap();
        assert_eq!(fixed.filled(77), [0x4a, 0x49, 0x43, 0x49, 0x79, 0x20]);
        let open = HardwareAddress::parse("00:16:3e:xx:xx:xx").unwrap();
        assert_eq!(open.filled(0xabcdef)[..3], [0, 0x16, 0x3e]);
        assert_ne!(open.filled(1), open.filled(2));
        let all = HardwareAddress::parse("xx:xx:xx:xx:xx:xx").unwrap();
        assert_eq!(all.filled(u64::MAX)[0] & 1, 0);
        for wrong in [
            "",
            "01:00:00:00:00:00",
            "00:16:3e",
            "00:16:3e:00:00:0g",
            "00:16:3e:0:00:00",
        ] {
            assert!(HardwareAddress::parse(wrong).is_none(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".*") {
            NetworkAddress::parse(&text);
            HardwareAddress::parse(&text);
        }

        #[test]
        fn an_address_reaches_itself_and_its_broadcast(bits in 0u8..=30, number: u32) {
            let address = NetworkAddress {
                address: IpAddr::V4(number.into()),
                bits,
                said_broadcast: None,
            };
            proptest::prop_assert!(address.reaches(address.address));
            proptest::prop_assert!(address.reaches(IpAddr::V4(address.broadcast().unwrap())));
        }
    }
}
