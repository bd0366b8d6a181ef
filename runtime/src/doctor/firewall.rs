//! Packet filters of others that keep containers from reaching anything.

use std::collections::BTreeSet;

use super::network::{bridges_used, has_interface};
use super::nf_tables::{Chain, chains};
use super::{Finding, Host};
use crate::network::managed::Firewall;

const NAME: &str = "network.firewall";

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    if !host.root {
        return vec![Finding::unknown(NAME, "needs root")];
    }
    let bridges = bridges_used(host);
    let mut findings = match chains() {
        Ok(chains) => judge(&chains, &bridges, has_interface("docker0")),
        Err(error) => vec![Finding::unknown(
            NAME,
            format!("the chains of nf_tables cannot be listed: {error}"),
        )],
    };
    let legacy = std::fs::read_to_string("/proc/self/net/ip_tables_names").unwrap_or_default();
    if legacy.lines().any(|table| table == "filter") {
        findings.push(Finding::unknown(
            NAME,
            "rules of the old iptables are in force, which nf_tables does not show: see iptables-legacy -S FORWARD",
        ));
    }
    findings.extend(own_networks(host));
    if findings.is_empty() {
        findings.push(Finding::ok(NAME, "no chain drops what is forwarded"));
    }
    findings
}

/// What others have in the way of networks that are up, and what was done about it.
fn own_networks(host: &Host<'_>) -> Vec<Finding> {
    let networks = host.subject.containers.networks();
    let mut findings = Vec::new();
    // One that cannot be understood is told of by whoever uses it.
    for network in networks.list().unwrap_or_default() {
        let info = networks.info(&network);
        for Firewall { name, open, how } in info.map_or(Vec::new(), |info| info.firewalls) {
            let network = &network.name;
            findings.push(match open {
                true => Finding::ok(NAME, format!("{name} lets {network} through: {how}")),
                false => Finding::warning(
                    NAME,
                    format!("{name} may keep the containers of {network} from reaching anything"),
                    how,
                ),
            });
        }
    }
    findings
}

fn judge(chains: &[Chain], bridges: &BTreeSet<String>, docker: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ufw = chains.iter().any(|chain| chain.name.starts_with("ufw-"));
    for chain in chains.iter().filter(|chain| chain.drops_forwarded()) {
        let place = format!("{} {} {}", chain.family, chain.table, chain.name);
        let whose = match (ufw, docker) {
            (true, _) => " (ufw)",
            (_, true) => " (docker)",
            _ => "",
        };
        let found = format!("the chain {place}{whose} drops what it does not know");
        if bridges.is_empty() {
            findings.push(Finding::ok(
                NAME,
                format!("{found}; no container is on a bridge yet"),
            ));
            continue;
        }
        let mend: Vec<String> = bridges
            .iter()
            .map(|bridge| match (ufw, docker && chain.family == "ip") {
                (true, _) => {
                    format!("ufw route allow in on {bridge} && ufw route allow out on {bridge}")
                }
                (_, true) => format!(
                    "iptables -I DOCKER-USER -i {bridge} -j ACCEPT && iptables -I DOCKER-USER -o {bridge} -j ACCEPT"
                ),
                _ => format!(
                    "nft insert rule {place} iifname {bridge} accept && nft insert rule {place} oifname {bridge} accept"
                ),
            })
            .collect();
        findings.push(Finding::warning(
            NAME,
            format!(
                "{found}: containers behind {} may reach nothing",
                names(bridges)
            ),
            mend.join(" && "),
        ));
    }
    if chains.iter().any(|chain| chain.table == "firewalld") && !bridges.is_empty() {
        let mend: Vec<String> = bridges
            .iter()
            .map(|bridge| {
                format!("firewall-cmd --permanent --zone=trusted --add-interface={bridge}")
            })
            .collect();
        findings.push(Finding::warning(
            NAME,
            format!(
                "firewalld refuses what is forwarded for interfaces that it was not told of ({})",
                names(bridges)
            ),
            format!("{} && firewall-cmd --reload", mend.join(" && ")),
        ));
    }
    findings
}

fn names(bridges: &BTreeSet<String>) -> String {
    let names: Vec<&str> = bridges.iter().map(String::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn chain(table: &str, name: &str, policy: u32) -> Chain {
        Chain {
            family: "ip",
            table: table.to_owned(),
            name: name.to_owned(),
            hook: Some(2),
            policy: Some(policy),
        }
    }

    #[test]
    fn who_drops_decides_how_it_is_mended() {
        let bridges = BTreeSet::from(["br0".to_owned()]);
        let drops = [chain("filter", "FORWARD", 0)];
        let mend =
            |chains: &[Chain], docker| judge(chains, &bridges, docker)[0].mend.clone().unwrap();
        assert!(mend(&drops, true).contains("DOCKER-USER -i br0"));
        assert!(mend(&drops, false).starts_with("nft insert rule ip filter FORWARD iifname br0"));
        let ufw = [
            chain("filter", "FORWARD", 0),
            chain("filter", "ufw-before", 1),
        ];
        assert!(mend(&ufw, false).starts_with("ufw route allow in on br0"));
        let firewalld = [chain("firewalld", "filter_FORWARD", 1)];
        assert!(mend(&firewalld, false).contains("--add-interface=br0"));
        assert!(judge(&[chain("filter", "FORWARD", 1)], &bridges, true).is_empty());
        let nobody = judge(&drops, &BTreeSet::new(), true);
        assert_eq!(nobody[0].level, Level::Ok);
    }
}
