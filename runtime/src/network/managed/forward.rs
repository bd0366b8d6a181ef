//! Ports of the host that lead to a container: `sampan.forward = 8080:80/tcp` in its config.

use std::fmt;
use std::str::FromStr;

use crate::config::ConfigFile;
use crate::error::{Error, Result};

/// The key of a config that holds them, one a line.
pub const FORWARD_KEY: &str = "sampan.forward";

/// A port of the host that leads to one of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Forward {
    /// The host's.
    pub host: u16,
    /// The container's.
    pub guest: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// What has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "their own names")]
pub enum Protocol {
    Tcp = 6,
    Udp = 17,
}

impl Forward {
    /// What its maps know it by.
    pub(super) fn key(self) -> Vec<u8> {
        let [high, low] = self.host.to_be_bytes();
        vec![self.protocol as u8, 0, 0, 0, high, low, 0, 0]
    }

    /// Whether both want the same port of the host.
    pub fn collides(self, other: Forward) -> bool {
        self.host == other.host && self.protocol == other.protocol
    }
}

/// Those of a config. A line that cannot be understood is an error.
pub(crate) fn forwards_of(config: &ConfigFile) -> Result<Vec<Forward>> {
    config
        .lines_of(&[FORWARD_KEY])
        .filter(|line| !line.value.is_empty())
        .map(|line| line.value.parse())
        .collect()
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.guest, self.protocol)
    }
}

impl FromStr for Forward {
    type Err = Error;

    fn from_str(text: &str) -> Result<Forward> {
        let wrong = || {
            Error::user(format!("\"{text}\" is not a forwarded port"))
                .with_hint("write HOST:CONTAINER, as 8080:80, or 5353:53/udp")
        };
        let (ports, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let (host, guest) = ports.split_once(':').unwrap_or((ports, ports));
        let port = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<u16> = text.parse().ok();
            number.filter(|port| digits && *port > 0).ok_or_else(wrong)
        };
        Ok(Forward {
            host: port(host)?,
            guest: port(guest)?,
            protocol,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwards_are_read_as_they_are_written() {
        for (text, written) in [
            ("8080:80", "8080:80/tcp"),
            ("53/udp", "53:53/udp"),
            ("1:65535/tcp", "1:65535/tcp"),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.to_string(), written);
            assert_eq!(written.parse::<Forward>().unwrap(), forward);
        }
        for text in [
            "", ":", "0:80", "80:0", "65536:1", "+1:2", "1:2/sctp", "1:2:3",
        ] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<Forward>();
        }
    }
}
