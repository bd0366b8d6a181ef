//! ETC/sampan.conf: what a person wants every time, so that it need not be typed.

use std::{io, path::Path};

use crate::failure::{Failure, Outcome};

/// Bytes that are enough for every setting there is.
const LARGEST: usize = 1 << 16;

/// The settings. Each has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `network`: those that a new container is in.
    pub networks: Vec<String>,
}

impl Settings {
    /// Those of a host. Without a file, the defaults.
    pub fn of(etc: &Path) -> Outcome<Self> {
        let path = etc.join("sampan.conf");
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|error| {
                Failure::new(format!("could not read {}: {error}", path.display()))
            })?,
        };
        Self::parse(&text).map_err(|problem| Failure::new(format!("{}: {problem}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("is larger than {LARGEST} bytes"));
        }
        let mut settings = Self {
            networks: vec![sampan_runtime::DEFAULT_NETWORK.to_owned()],
        };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=').map(|(key, value)| (key.trim(), value)) {
                Some(("network", value)) => {
                    let names = value
                        .split([' ', '\t', ','])
                        .filter(|name| !name.is_empty());
                    settings.networks = names.map(str::to_owned).collect();
                    if settings.networks.is_empty() {
                        return Err(format!("line {number}: name a network, or none"));
                    }
                }
                Some((key, _)) => {
                    return Err(format!(
                        "line {number}: there is no setting \"{key}\"; there is \"network\""
                    ));
                }
                None => return Err(format!("line {number}: no \"=\"")),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_defaults_and_faults_their_lines() {
        assert_eq!(Settings::parse("").unwrap().networks, ["sampan0"]);
        let two = Settings::parse("# mine\n network = lan, dmz\n").unwrap();
        assert_eq!(two.networks, ["lan", "dmz"]);
        for text in ["network", "netwrok = a", "network ="] {
            assert!(
                Settings::parse(text).unwrap_err().contains("line 1"),
                "{text}"
            );
        }
    }
}
