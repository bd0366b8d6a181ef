//! A bridge in the words of what configures a host's network at boot.

use std::fmt::Write;
use std::net::IpAddr;
use std::str::FromStr;

use super::Uplink;
use super::moved::Facts;
use crate::error::Error;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// interfaces(5), of Debian's ifupdown with bridge-utils.
    Ifupdown,
    /// systemd.netdev(5) and systemd.network(5).
    Networkd,
    /// netplan(5).
    Netplan,
}

impl FromStr for Form {
    type Err = Error;

    fn from_str(name: &str) -> Result<Form, Error> {
        match name {
            "ifupdown" => Ok(Form::Ifupdown),
            "networkd" => Ok(Form::Networkd),
            "netplan" => Ok(Form::Netplan),
            _ => Err(Error::user(format!("\"{name}\" is not known here"))
                .with_hint("one of ifupdown, networkd, netplan")),
        }
    }
}

impl Form {
    pub(super) fn write(self, uplink: &Uplink, facts: &Facts) -> String {
        match self {
            Form::Ifupdown => ifupdown(uplink, facts),
            Form::Networkd => networkd(uplink, facts),
            Form::Netplan => netplan(uplink, facts),
        }
    }
}

impl Facts {
    /// Without any address somebody has to be asked for one.
    fn asks(&self) -> bool {
        self.leased || !self.addresses.iter().any(|(address, _)| address.is_ipv4())
    }

    fn gateway(&self, v6: bool) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|it| it.is_ipv6() == v6)
    }

    fn of(&self, v6: bool) -> impl Iterator<Item = &(IpAddr, u8)> {
        self.addresses
            .iter()
            .filter(move |(it, _)| it.is_ipv6() == v6)
    }
}

// Writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($words:tt)*) => { let _ = writeln!($text, $($words)*); };
}

fn ifupdown(uplink: &Uplink, facts: &Facts) -> String {
    let Uplink { interface, bridge } = uplink;
    let mut text = String::new();
    line!(
        text,
        "# In /etc/network/interfaces, in place of what is there for {interface}; needs bridge-utils."
    );
    line!(text, "iface {interface} inet manual\n");
    line!(text, "auto {bridge}");
    let mut stanzas = 0;
    let mut begin = |text: &mut String, family: &str, method: &str| {
        line!(text, "iface {bridge} {family} {method}");
        if stanzas == 0 {
            line!(text, "    bridge_ports {interface}");
            line!(text, "    bridge_stp off");
            line!(text, "    bridge_fd 0");
        }
        stanzas += 1;
    };
    if facts.asks() {
        begin(&mut text, "inet", "dhcp");
    }
    for (v6, family) in [(false, "inet"), (true, "inet6")] {
        let mut gateway = facts.gateway(v6);
        for (address, bits) in facts.of(v6) {
            begin(&mut text, family, "static");
            line!(text, "    address {address}/{bits}");
            if let Some(gateway) = gateway.take() {
                line!(text, "    gateway {gateway}");
            }
        }
    }
    text
}

fn networkd(uplink: &Uplink, facts: &Facts) -> String {
    let Uplink { interface, bridge } = uplink;
    let mut text = String::new();
    line!(text, "# /etc/systemd/network/10-{bridge}.netdev");
    line!(
        text,
        "[NetDev]\nName={bridge}\nKind=bridge\nMACAddress=none\n"
    );
    line!(text, "# /etc/systemd/network/10-{bridge}.link");
    line!(
        text,
        "[Match]\nOriginalName={bridge}\n\n[Link]\nMACAddressPolicy=none\n"
    );
    line!(
        text,
        "# /etc/systemd/network/10-{bridge}-port.network, in place of what is there for {interface}"
    );
    line!(
        text,
        "[Match]\nName={interface}\n\n[Network]\nBridge={bridge}\n"
    );
    line!(text, "# /etc/systemd/network/10-{bridge}.network");
    line!(text, "[Match]\nName={bridge}\n\n[Network]");
    if facts.asks() {
        line!(text, "DHCP=ipv4");
    }
    for (address, bits) in &facts.addresses {
        line!(text, "Address={address}/{bits}");
    }
    for gateway in &facts.gateways {
        if !(facts.leased && gateway.is_ipv4()) {
            line!(text, "Gateway={gateway}");
        }
    }
    text
}

fn netplan(uplink: &Uplink, facts: &Facts) -> String {
    let Uplink { interface, bridge } = uplink;
    let mut text = String::new();
    line!(
        text,
        "# /etc/netplan/60-{bridge}.yaml, in place of what is there for {interface}"
    );
    line!(
        text,
        "network:\n  version: 2\n  ethernets:\n    {interface}:\n      dhcp4: false\n      dhcp6: false"
    );
    line!(
        text,
        "  bridges:\n    {bridge}:\n      interfaces: [{interface}]"
    );
    line!(
        text,
        "      parameters:\n        stp: false\n        forward-delay: 0"
    );
    line!(text, "      dhcp4: {}", facts.asks());
    if !facts.addresses.is_empty() {
        line!(text, "      addresses:");
        for (address, bits) in &facts.addresses {
            line!(text, "        - \"{address}/{bits}\"");
        }
    }
    let routes: Vec<_> = facts
        .gateways
        .iter()
        .filter(|gateway| !(facts.leased && gateway.is_ipv4()))
        .collect();
    if !routes.is_empty() {
        line!(text, "      routes:");
        for gateway in routes {
            line!(text, "        - to: default\n          via: \"{gateway}\"");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uplink() -> Uplink {
        Uplink {
            interface: "eth0".to_owned(),
            bridge: "br0".to_owned(),
        }
    }

    fn fixed() -> Facts {
        Facts {
            addresses: vec![
                ("192.0.2.5".parse().unwrap(), 24),
                ("192.0.2.6".parse().unwrap(), 24),
                ("2001:db8::5".parse().unwrap(), 64),
            ],
            gateways: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            leased: false,
        }
    }

    #[test]
    fn ifupdown_names_the_ports_once_and_each_gateway_once() {
        let text = Form::Ifupdown.write(&uplink(), &fixed());
        assert_eq!(text.matches("bridge_ports eth0").count(), 1, "{text}");
        assert_eq!(text.matches("gateway 192.0.2.1").count(), 1, "{text}");
        assert_eq!(text.matches("iface br0 inet static").count(), 2, "{text}");
        assert!(text.contains(
            "iface br0 inet6 static\n    address 2001:db8::5/64\n    gateway 2001:db8::1\n"
        ));
    }

    #[test]
    fn a_leased_address_is_asked_for_again_by_the_bridge() {
        let facts = Facts {
            gateways: vec!["192.0.2.1".parse().unwrap()],
            leased: true,
            ..Facts::default()
        };
        let text = Form::Ifupdown.write(&uplink(), &facts);
        assert!(text.contains("iface br0 inet dhcp"), "{text}");
        assert!(!text.contains("gateway"), "{text}");
        let text = Form::Networkd.write(&uplink(), &facts);
        assert!(
            text.contains("DHCP=ipv4") && !text.contains("Gateway="),
            "{text}"
        );
        let text = Form::Netplan.write(&uplink(), &facts);
        assert!(
            text.contains("dhcp4: true") && !text.contains("via:"),
            "{text}"
        );
    }

    #[test]
    fn networkd_gives_the_bridge_addresses_and_the_port_none() {
        let text = Form::Networkd.write(&uplink(), &fixed());
        let port = text
            .split("# ")
            .find(|part| part.contains("-port"))
            .unwrap();
        assert!(!port.contains("Address="), "{text}");
        assert!(text.contains("Address=192.0.2.5/24\n"), "{text}");
        assert!(text.contains("Gateway=2001:db8::1\n"), "{text}");
    }
}
