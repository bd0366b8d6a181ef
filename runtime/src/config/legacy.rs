//! The keys of LXC 1 and 2 (as in the Debian Administrator's Handbook) in today's words.

/// Old names, and new ones.
pub const RENAMED: [(&str, &str); 23] = [
    ("lxc.rootfs", "lxc.rootfs.path"),
    ("lxc.utsname", "lxc.uts.name"),
    ("lxc.tty", "lxc.tty.max"),
    ("lxc.pts", "lxc.pty.max"),
    ("lxc.devttydir", "lxc.tty.dir"),
    ("lxc.mount", "lxc.mount.fstab"),
    ("lxc.id_map", "lxc.idmap"),
    ("lxc.console", "lxc.console.path"),
    ("lxc.aa_profile", "lxc.apparmor.profile"),
    ("lxc.aa_allow_incomplete", "lxc.apparmor.allow_incomplete"),
    ("lxc.se_context", "lxc.selinux.context"),
    ("lxc.seccomp", "lxc.seccomp.profile"),
    ("lxc.haltsignal", "lxc.signal.halt"),
    ("lxc.rebootsignal", "lxc.signal.reboot"),
    ("lxc.stopsignal", "lxc.signal.stop"),
    ("lxc.init_cmd", "lxc.init.cmd"),
    ("lxc.init_uid", "lxc.init.uid"),
    ("lxc.init_gid", "lxc.init.gid"),
    ("lxc.loglevel", "lxc.log.level"),
    ("lxc.logfile", "lxc.log.file"),
    ("lxc.syslog", "lxc.log.syslog"),
    ("lxc.network", "lxc.net"),
    ("lxc.limit", "lxc.prlimit"),
];

/// Today's name of a single key; `lxc.network.*` is that of the first network.
pub fn today(key: &str) -> String {
    Modernizer::default().modernise(key)
}

/// Rewrites keys, in the order of their lines. Each `lxc.network.type` opens the next network; the
/// following `lxc.network.*` lines are about that one.
#[derive(Debug, Default)]
pub(super) struct Modernizer {
    networks: usize,
}

impl Modernizer {
    /// Today's name of a key.
    pub(super) fn modernise(&mut self, key: &str) -> String {
        if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == key) {
            return (*new).to_owned();
        }
        if let Some(name) = key.strip_prefix("lxc.limit.") {
            return format!("lxc.prlimit.{name}");
        }
        let Some(name) = key.strip_prefix("lxc.network.") else {
            return key.to_owned();
        };
        // LXC 2.1 could number them already.
        let (number, name) = match name.split_once('.') {
            Some((number, name)) if is_number(number) => (Some(number), name),
            _ => (None, name),
        };
        if number.is_none() && name == "type" {
            self.networks += 1;
        }
        let name = match name {
            "ipv4" => "ipv4.address",
            "ipv6" => "ipv6.address",
            other => other,
        };
        match number {
            Some(number) => format!("lxc.net.{number}.{name}"),
            None => format!("lxc.net.{}.{name}", self.networks.saturating_sub(1)),
        }
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    fn modernise(keys: &[&str]) -> Vec<String> {
        let mut names = Modernizer::default();
        keys.iter().map(|key| names.modernise(key)).collect()
    }

    #[test]
    fn each_network_type_opens_the_next_network() {
        assert_eq!(
            modernise(&[
                "lxc.utsname",
                "lxc.network.type",
                "lxc.network.ipv4",
                "lxc.network.type",
                "lxc.network.ipv6.gateway",
                "lxc.network.7.ipv6",
                "lxc.limit.nofile",
            ]),
            [
                "lxc.uts.name",
                "lxc.net.0.type",
                "lxc.net.0.ipv4.address",
                "lxc.net.1.type",
                "lxc.net.1.ipv6.gateway",
                "lxc.net.7.ipv6.address",
                "lxc.prlimit.nofile",
            ]
        );
    }

    #[test]
    fn every_new_name_is_a_key_of_today_and_no_old_one_is() {
        for (old, new) in RENAMED {
            let group = ["lxc.prlimit"].contains(&new);
            assert!(group || keys::find(new).is_some(), "{new}");
            assert!(keys::find(old).is_none(), "{old}");
        }
    }
}
