//! The keys of LXC 1 and 2 (as in the Debian Administrator's Handbook) in today's words.

use super::file::Line;

/// Old names, and new ones.
const RENAMED: [(&str, &str); 24] = [
    ("lxc.rootfs", "lxc.rootfs.path"),
    ("lxc.rootfs.backend", "lxc.rootfs.backend"),
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
    ("lxc.kmsg", "lxc.kmsg"),
    ("lxc.limit", "lxc.prlimit"),
];

/// Rewrites the keys of lines. Each `lxc.network.type` opens the next network; the following
/// `lxc.network.*` lines are about that one.
pub(super) fn modernise(lines: impl Iterator<Item = Line>) -> Vec<Line> {
    let mut networks: usize = 0;
    lines
        .map(|mut line| {
            if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == line.key) {
                line.key = (*new).to_owned();
            } else if let Some(name) = line.key.strip_prefix("lxc.limit.") {
                line.key = format!("lxc.prlimit.{name}");
            } else if let Some(name) = line.key.strip_prefix("lxc.network.") {
                if name == "type" {
                    networks += 1;
                }
                let name = match name {
                    "ipv4" => "ipv4.address",
                    "ipv6" => "ipv6.address",
                    other => other,
                };
                line.key = format!("lxc.net.{}.{name}", networks.saturating_sub(1));
            }
            line
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::ConfigFile;
    use super::*;
    use std::path::Path;

    #[test]
    fn each_network_type_opens_the_next_network() {
        let file = ConfigFile::parse(
            Path::new("config"),
            "lxc.utsname = a\nlxc.network.type = veth\nlxc.network.ipv4 = 10.0.0.2/24\nlxc.network.type = empty\n",
        );
        let keys: Vec<String> = modernise(file.lines()).into_iter().map(|l| l.key).collect();
        assert_eq!(
            keys,
            [
                "lxc.uts.name",
                "lxc.net.0.type",
                "lxc.net.0.ipv4.address",
                "lxc.net.1.type"
            ]
        );
    }
}
