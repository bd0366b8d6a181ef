//! Debian packages that the tests need beyond a fresh machine with cargo and gcc.

use xshell::{Shell, cmd};

use crate::Result;

/// Package, and what the tests use it for.
pub const TEST: [(&str, &str); 15] = [
    ("bind9-dnsutils", "dig, which asks for names"),
    ("btrfs-progs", "mkfs.btrfs, for containers on btrfs"),
    ("busybox-static", "small guests that need no download"),
    ("g++", "libFuzzer, for the inputs that are replayed"),
    (
        "debootstrap",
        "the oracle: our base systems must be its, file for file",
    ),
    ("isc-dhcp-client", "dhclient, which asks for addresses"),
    (
        "iptables",
        "a closed firewall, as docker makes it, around our networks",
    ),
    (
        "lxc",
        "the oracle: it must boot what Sampan makes, unchanged",
    ),
    (
        "lxc-templates",
        "the configs that LXC's Debian containers include",
    ),
    (
        "nginx-light",
        "a mirror on loopback that keeps what it has served",
    ),
    ("nftables", "another reader of our packet filters"),
    (
        "qemu-user-static",
        "runs the programs of a Debian for arm64",
    ),
    ("tmux", "terminals that tests can look at"),
    ("vde2", "the switch of docs/network-vde.md"),
    ("zstd", "another reader of the images"),
];

/// The same for `bench debian`.
pub const BENCH_DEBIAN: [(&str, &str); 4] = [
    ("arch-test", "mmdebstrap asks it what this machine can run"),
    ("debootstrap", "a peer"),
    ("mmdebstrap", "a peer"),
    (
        "nginx-light",
        "a mirror on loopback that keeps what it has served",
    ),
];

/// The same for `bench runtime`.
pub const BENCH_RUNTIME: [(&str, &str); 7] = [
    ("busybox-static", "the program of the small guest"),
    ("debootstrap", "what lxc-create's template calls"),
    ("lxc", "the peer"),
    ("lxc-templates", "lxc-create -t debian"),
    (
        "nginx-light",
        "a mirror on loopback that keeps what it has served",
    ),
    ("rsync", "what lxc-create's template copies its cache with"),
    ("zstd", "a peer of the unpacking"),
];

/// The same for `bench network`.
pub const BENCH_NETWORK: [(&str, &str); 4] = [
    ("busybox-static", "the program of the small guest"),
    ("dnsmasq-base", "a peer, and LXC's DHCP"),
    ("iperf3", "measures a network"),
    ("lxc", "the peer"),
];

/// Installs what is missing.
pub fn install(shell: &Shell, packages: &[(&str, &str)]) -> Result {
    let mut missing = Vec::new();
    for (package, purpose) in packages {
        let fields = "${db:Status-Abbrev}";
        let status = cmd!(shell, "dpkg-query --show --showformat={fields} {package}")
            .quiet()
            .ignore_status()
            .ignore_stderr()
            .read()?;
        if !status.starts_with("ii") {
            eprintln!("{package} is missing: {purpose}");
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let _environment = shell.push_env("DEBIAN_FRONTEND", "noninteractive");
    cmd!(shell, "apt-get update -q").run()?;
    cmd!(
        shell,
        "apt-get install -q -y --no-install-recommends {missing...}"
    )
    .run()?;
    Ok(())
}
