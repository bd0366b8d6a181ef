//! The `lxc.net.*` lines of a config as wholes: one network more, or less.

use super::file::{ConfigFile, Row};
use super::legacy::Modernizer;

impl ConfigFile {
    /// Writes lines of networks in today's words. The old ones have no number and count the networks
    /// before them, so that none can be taken out.
    pub(crate) fn number_networks(&mut self) {
        let mut names = Modernizer::default();
        for row in &mut self.rows {
            let Some((key, value)) = &row.pair else {
                continue;
            };
            let today = names.modernise(key);
            if key.starts_with("lxc.network.") && today != *key {
                *row = Row::pair(&today, value.as_deref().unwrap_or_default());
            }
        }
    }

    /// Removes the lines of a network, which is numbered.
    pub(crate) fn remove_network(&mut self, number: u32) {
        let prefix = format!("lxc.net.{number}.");
        self.rows.retain(|row| {
            let key = row.pair.as_ref().map(|(key, _)| key.as_str());
            !key.is_some_and(|key| key.starts_with(&prefix))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn one_of_several_networks_of_the_old_form_can_be_taken_out() {
        let text = "# a\nlxc.network.type = veth\nlxc.network.link = br0\nlxc.utsname = x\n\
                    lxc.network.type = veth\nlxc.network.link = br1\nlxc.network.ipv4 = 10.0.0.2/8\n";
        let mut config = ConfigFile::parse(Path::new("config"), text);
        config.number_networks();
        config.remove_network(0);
        let left = "# a\nlxc.utsname = x\nlxc.net.1.type = veth\nlxc.net.1.link = br1\n\
                    lxc.net.1.ipv4.address = 10.0.0.2/8\n";
        assert_eq!(config.to_string(), left);
        // No other number begins like that.
        config.push("lxc.net.11.type", "empty");
        config.remove_network(1);
        assert_eq!(
            config.to_string(),
            "# a\nlxc.utsname = x\nlxc.net.11.type = empty\n"
        );
    }
}
