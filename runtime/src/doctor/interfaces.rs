//! Network interfaces and packet filters, made in a network namespace that ends with the attempt.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use netlink_packet_route::link::{InfoKind, IpVlanMode, MacVlanMode};
use nix::sched::{CloneFlags, unshare};

use crate::network::link::{self, Above, Guest};
use crate::network::netlink::Netlink;

use super::kernel::OTHER_KERNEL;
use super::{Finding, Host, nf_tables};

const KINDS: [&str; 7] = [
    "kernel.veth",
    "kernel.bridge",
    "kernel.macvlan",
    "kernel.ipvlan",
    "kernel.vlan",
    "kernel.tun",
    "kernel.nftables",
];

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    if !host.root {
        return KINDS
            .map(|name| Finding::unknown(name, "needs root"))
            .into();
    }
    let tried = std::thread::scope(|scope| scope.spawn(tries).join());
    let failed = |why: String| KINDS.map(|name| Finding::unknown(name, why.clone())).into();
    match tried {
        Ok(Ok(results)) => KINDS.into_iter().zip(results).map(finding).collect(),
        Ok(Err(error)) => failed(format!("no network namespace to try it in: {error}")),
        Err(_) => failed("the thread that tried it panicked".to_owned()),
    }
}

fn finding((name, result): (&'static str, io::Result<()>)) -> Finding {
    let word = name.rsplit('.').next().unwrap_or(name);
    let (module, works) = match word {
        "nftables" => ("nft_masq", "addresses can be masqueraded"),
        "tun" => ("tun", "/dev/net/tun is there"),
        "vlan" => ("8021q", "one was made"),
        other => (other, "one was made"),
    };
    match result {
        Ok(()) => Finding::ok(name, works),
        // Networks are made of these; the others are for who wants them.
        Err(error) if ["veth", "bridge"].contains(&word) => {
            Finding::problem(name, format!("none can be made: {error}"), mend(module))
        }
        Err(error) => Finding::warning(
            name,
            match word {
                "nftables" => format!("addresses cannot be masqueraded: {error}"),
                _ => format!("no network of this type: {error}"),
            },
            mend(module),
        ),
    }
}

fn mend(module: &str) -> String {
    format!("modprobe {module} || ( {OTHER_KERNEL} )")
}

/// In the order of [`KINDS`].
fn tries() -> io::Result<[io::Result<()>; 7]> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let here = File::open("/proc/thread-self/ns/net")?;
    let mut netlink = Netlink::here()?;
    let veth = link::create(&mut netlink, "below0", InfoKind::Veth);
    let bridge = link::create(&mut netlink, "bridge0", InfoKind::Bridge);
    // Any interface will do to stand on.
    let below = ["below0", "bridge0", "lo"]
        .into_iter()
        .find_map(|name| link::find(&mut netlink, name).ok().flatten())
        .map_or(1, |link| link.index);
    let mut above = |name, kind| {
        let guest = Guest {
            name,
            namespace: here.as_fd(),
            address: None,
            mtu: None,
        };
        link::create_above(&mut netlink, below, kind, &guest)
    };
    // One that has a macvlan takes no ipvlan.
    let macvlan = above("macvlan0", Above::Macvlan(MacVlanMode::Private));
    let vlan = above("vlan0", Above::Vlan(9));
    let _ = link::find(&mut netlink, "macvlan0")
        .and_then(|found| found.map_or(Ok(()), |it| link::delete(&mut netlink, it.index)));
    let guest = Guest {
        name: "ipvlan0",
        namespace: here.as_fd(),
        address: None,
        mtu: None,
    };
    let ipvlan = link::create_above(&mut netlink, below, Above::Ipvlan(IpVlanMode::L2), &guest);
    let tun = File::options().read(true).write(true).open("/dev/net/tun");
    let masquerade = nf_tables::try_masquerade();
    Ok([
        veth,
        bridge,
        macvlan,
        ipvlan,
        vlan,
        tun.map(drop),
        masquerade,
    ])
}
