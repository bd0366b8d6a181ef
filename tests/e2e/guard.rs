//! What a container in one of Sampan's networks may not: be another one, or reach what is not its.

use sampan_tests::{
    Internet,
    internet::{PEER_4, ask_tcp, serve_tcp},
};

#[test]
fn a_container_has_its_own_addresses_and_no_other() {
    let world = Internet::new();
    let (thief, victim) = (
        world.guest("thief", &["sampan0"]),
        world.guest("victim", &["sampan0"]),
    );
    let gateways = ["ipv4", "ipv6"].map(|version| world.gateway("sampan0", version));
    for gateway in &gateways {
        assert!(thief.pings(gateway, None), "{gateway}");
        assert!(victim.pings(gateway, None), "{gateway}");
    }
    let theirs = victim.addresses();
    let own = world.config("thief", "lxc.net.0.hwaddr");
    // Another's IP addresses, while he is away.
    world.sampan(&["stop", "--kill", "victim"]).ok();
    for (address, gateway) in theirs.iter().zip(&gateways) {
        let (bits, flag) = if address.contains(':') {
            (64, " nodad")
        } else {
            (24, "")
        };
        thief.ip(&format!("addr add {address}/{bits} dev eth0{flag}"));
        assert!(!thief.pings(gateway, Some(address)), "it is {address} now");
        // Nor does anybody find him under it.
        world.host.ip("neigh flush dev sampan0");
        let family = if address.contains(':') { "-6" } else { "-4" };
        let mut ping = std::process::Command::new("/bin/busybox");
        ping.args(["ping", family, "-c", "1", "-w", "2", address]);
        let found = world.host.enter(&ping).output().unwrap();
        assert!(!found.status.success(), "{address} answers");
        let known = world
            .host
            .ip(&format!("{family} neigh show to {address} dev sampan0"));
        assert!(!known.contains(&own), "{known}");
        thief.ip(&format!("addr del {address}/{bits} dev eth0"));
    }
    // The gateway's, by an announcement to everybody.
    let third = world.guest("third", &["sampan0"]);
    assert!(third.pings(&gateways[0], None));
    thief.within(|| {
        let mut claim = std::process::Command::new("/bin/busybox");
        claim.args([
            "arping",
            "-A",
            "-c",
            "2",
            "-I",
            "eth0",
            "-s",
            &gateways[0],
            &gateways[0],
        ]);
        let _ = claim.output();
    });
    let believed = third.ip(&format!("neigh show to {}", gateways[0]));
    assert!(!believed.contains(&own), "{believed}");
    // Another's hardware address.
    let mac = world.config("victim", "lxc.net.0.hwaddr");
    thief.ip("link set eth0 down");
    thief.ip(&format!("link set eth0 address {mac}"));
    thief.ip("link set eth0 up");
    for gateway in &gateways {
        assert!(!thief.pings(gateway, None), "it is {mac} now");
    }
    let learned = world.host.run("bridge", &["fdb", "show", "br", "sampan0"]);
    assert!(!learned.contains(&mac), "{learned}");
    // Its own again.
    thief.ip("link set eth0 down");
    thief.ip(&format!("link set eth0 address {own}"));
    thief.ip("link set eth0 up");
    assert!(thief.pings(&gateways[0], None));
}

#[test]
fn the_hosts_services_are_reached_only_when_that_is_allowed() {
    let world = Internet::new();
    world.host.within(|| serve_tcp(7000));
    let web = world.guest("web", &["sampan0"]);
    let own = ["ipv4", "ipv6"].map(|version| world.gateway("sampan0", version));
    let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
    all.extend(["192.0.2.1", "2001:db8::1"]);
    for address in &all {
        let refused = web.within(|| ask_tcp(address, 7000));
        assert!(refused.is_err(), "{address} answers: {refused:?}");
    }
    // The host reaches its containers, and is answered.
    web.serve_tcp(80);
    world
        .host
        .within(|| ask_tcp(&web.addresses()[0], 80))
        .unwrap();
    world
        .sampan(&["network", "set", "sampan0", "host-access=yes"])
        .ok();
    for address in &all {
        web.within(|| ask_tcp(address, 7000)).expect(address);
    }
    // The host's loopback stays its own, however it is asked for.
    world.host.within(|| {
        let only_here = std::net::TcpListener::bind("127.0.0.1:7001").unwrap();
        std::thread::spawn(move || only_here.incoming().for_each(drop));
    });
    web.ip("addr del 127.0.0.1/8 dev lo");
    web.ip(&format!("route add 127.0.0.0/8 via {}", own[0]));
    let asked = web.within(|| {
        // Of this thread's network.
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
        ask_tcp("127.0.0.1", 7001)
    });
    assert!(asked.is_err(), "the host's loopback answers");
    world
        .sampan(&["network", "set", "sampan0", "host-access=no"])
        .ok();
    web.within(|| ask_tcp(&own[0], 7000)).unwrap_err();
}

#[test]
fn one_network_does_not_reach_another_nor_its_gateway() {
    let world = Internet::new();
    world.sampan(&["network", "create", "lab"]).ok();
    let (web, other) = (
        world.guest("web", &["sampan0"]),
        world.guest("other", &["lab"]),
    );
    assert!(web.pings(PEER_4, None) && other.pings(PEER_4, None));
    for address in other.addresses() {
        assert!(!web.pings(&address, None), "{address} answers");
    }
    for version in ["ipv4", "ipv6"] {
        let gateway = world.gateway("lab", version);
        assert!(other.pings(&gateway, None), "{gateway}");
        let refused = web.within(|| ask_tcp(&gateway, 53));
        assert!(refused.is_err(), "{gateway} answers names");
    }
    // What is forwarded is for everybody.
    other.serve_tcp(80);
    world.sampan(&["forward", "other", "8080:80"]).ok();
    web.within(|| ask_tcp("192.0.2.1", 8080)).unwrap();
}

#[test]
fn an_isolated_network_leads_to_its_neighbours_and_nowhere_else() {
    let world = Internet::new();
    world
        .sampan(&["network", "create", "dark", "--kind", "isolated"])
        .ok();
    let (one, two) = (world.guest("one", &["dark"]), world.guest("two", &["dark"]));
    for address in two.addresses() {
        assert!(one.pings(&address, None), "{address}");
    }
    let gateway = world.gateway("dark", "ipv4");
    one.ip(&format!("route add default via {gateway}"));
    assert!(!one.pings(PEER_4, None));
    world.sampan(&["network", "up", "sampan0"]).ok();
    assert!(!one.pings(PEER_4, None));
    assert!(!one.pings(&world.gateway("sampan0", "ipv4"), None));
}
