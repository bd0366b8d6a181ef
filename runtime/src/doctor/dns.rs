//! Who the host asks for names; guests are often told the same.

use std::net::IpAddr;

use super::{Finding, Host};

pub(super) fn check(_: &Host<'_>) -> Vec<Finding> {
    let read = |path: &str| std::fs::read_to_string(path);
    let resolved = read("/run/systemd/resolve/resolv.conf").unwrap_or_default();
    vec![match read("/etc/resolv.conf") {
        Ok(text) => judge(&text, &resolved),
        Err(error) => missing(format!("/etc/resolv.conf cannot be read: {error}")),
    }]
}

const NAME: &str = "network.dns";

fn judge(text: &str, resolved: &str) -> Finding {
    let servers = servers(text);
    let near = |server: &IpAddr| server.is_loopback() || server.is_unspecified();
    let names = |servers: &[IpAddr]| {
        let names: Vec<String> = servers.iter().map(IpAddr::to_string).collect();
        names.join(", ")
    };
    if servers.is_empty() {
        return missing("/etc/resolv.conf names no server".to_owned());
    }
    if !servers.iter().all(near) {
        return Finding::ok(NAME, format!("/etc/resolv.conf names {}", names(&servers)));
    }
    let behind: Vec<IpAddr> = self::servers(resolved)
        .into_iter()
        .filter(|s| !near(s))
        .collect();
    match behind.is_empty() {
        false => Finding::ok(
            NAME,
            format!(
                "{}, which asks {}; a guest needs those, or the address of its bridge",
                names(&servers),
                names(&behind)
            ),
        ),
        true => Finding::warning(
            NAME,
            format!(
                "/etc/resolv.conf names only {}, which in a container is the container itself",
                names(&servers)
            ),
            "resolvectl dns; then give guests one of its servers",
        ),
    }
}

fn missing(found: String) -> Finding {
    Finding::warning(
        NAME,
        format!("{found}: names of mirrors cannot be looked up"),
        "echo \"nameserver $(ip route show default | cut -d' ' -f3)\" >> /etc/resolv.conf",
    )
}

/// The addresses of resolv.conf(5).
fn servers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words
                .next()
                .filter(|word| *word == "nameserver")
                .and(words.next())?;
            // With the interface of a link-local address.
            address.split('%').next()?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_server_on_loopback_is_of_use_to_guests_only_by_who_it_asks() {
        let level = |text, resolved| judge(text, resolved).level;
        let near = "# made\nnameserver 127.0.0.53\noptions edns0\n";
        let far = "search lan\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n";
        assert_eq!(level(far, ""), Level::Ok);
        assert_eq!(level(near, far), Level::Ok);
        assert_eq!(level(near, near), Level::Warning);
        assert_eq!(
            level("search lan\n;nameserver 192.0.2.1", ""),
            Level::Warning
        );
        assert_eq!(servers(far).len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".*") {
            judge(&text, &text);
        }
    }
}
