//! Networks of Sampan's own: up at the first start, addresses from create on, and gone again.

use std::{collections::HashSet, fs, time::Duration};

use sampan_tests::{
    Internet,
    internet::{PEER_4, PEER_6, ask_tcp, serve_tcp},
    wait_until,
};

#[test]
fn the_first_start_brings_up_a_network_that_leads_out_by_the_hosts_address() {
    let world = Internet::new();
    world.peer.within(|| serve_tcp(7000));
    let web = world.guest("web", &["sampan0"]);
    assert!(web.pings(PEER_4, None), "no answer over IPv4");
    assert!(web.pings(PEER_6, None), "no answer over IPv6");
    // What the other side sees.
    assert_eq!(web.within(|| ask_tcp(PEER_4, 7000)).unwrap(), "192.0.2.1");
    assert_eq!(web.within(|| ask_tcp(PEER_6, 7000)).unwrap(), "2001:db8::1");
    // A neighbour in the same network, by its address.
    let db = world.guest("db", &["sampan0"]);
    for address in db.addresses() {
        assert!(web.pings(&address, None), "{address}");
    }
    // Nobody comes in by a route that he made for himself.
    let own = &web.addresses()[0];
    world.peer.ip(&format!("route add {own}/32 via 192.0.2.1"));
    web.serve_tcp(80);
    world.peer.within(|| ask_tcp(own, 80)).unwrap_err();
}

#[test]
fn an_address_is_recorded_at_create_stays_over_restarts_and_a_copy_has_another() {
    let world = Internet::new();
    world.create("web", &["sampan0"]);
    let recorded = |name: &str| {
        ["hwaddr", "ipv4.address", "ipv6.address"]
            .map(|key| world.config(name, &format!("lxc.net.0.{key}")))
    };
    let before = recorded("web");
    assert!(before[0].starts_with("00:16:3e:"), "{before:?}");
    for _ in 0..2 {
        world.sampan(&["start", "web"]).ok();
        let web = world.running("web");
        let addresses = web.addresses();
        assert_eq!(addresses.len(), 2, "{addresses:?}");
        assert!(before[1].starts_with(&addresses[0]), "{addresses:?}");
        assert!(before[2].starts_with(&addresses[1]), "{addresses:?}");
        let link = web.ip("link show eth0");
        assert!(link.contains(&before[0]), "{link}");
        world.sampan(&["stop", "--kill", "web"]).ok();
    }
    assert_eq!(recorded("web"), before);
    world.sampan(&["copy", "web", "twin"]).ok();
    let twin = recorded("twin");
    for (one, other) in before.iter().zip(&twin) {
        assert_ne!(one, other);
    }
    let twin = {
        world.sampan(&["start", "twin"]).ok();
        world.running("twin")
    };
    assert!(twin.pings(PEER_4, None));
    // One made again under its name is found where it was.
    world.sampan(&["destroy", "web"]).ok();
    world.create("web", &["sampan0"]);
    assert_eq!(recorded("web")[1], before[1]);
}

#[test]
fn no_two_of_fifty_that_are_made_at_once_have_an_address_in_common() {
    let world = Internet::new();
    // The image is made once.
    world.create("first", &["sampan0"]);
    let making: Vec<_> = (0..50)
        .map(|number| {
            let name = format!("c{number}");
            world.background(&[
                "-q",
                "create",
                &name,
                "-t",
                "naughty",
                "-o",
                "program=/bin/busybox",
                "--network",
                "sampan0",
            ])
        })
        .collect();
    for one in making {
        one.wait().ok();
    }
    let mut seen = HashSet::new();
    for number in 0..50 {
        let path = world.env.state().join(format!("c{number}/config"));
        let text = fs::read_to_string(path).unwrap();
        for line in text.lines() {
            let own = ["hwaddr", "ipv4.address", "ipv6.address"];
            if own.iter().any(|key| line.contains(key)) {
                assert!(seen.insert(line.to_owned()), "twice: {line}");
            }
        }
    }
    assert_eq!(seen.len(), 150);
}

#[test]
fn nothing_of_a_container_stays_after_a_stop_or_a_killed_monitor_and_nothing_of_a_network_after_rm()
{
    let world = Internet::new();
    world.host.run("nft", &["add table inet mine"]);
    let before = world.rules();
    let interfaces = world.host.interfaces();
    world.create("web", &["sampan0"]);
    world.sampan(&["forward", "web", "8080:80"]).ok();
    world.sampan(&["network", "up", "sampan0"]).ok();
    let idle = world.rules();
    assert!(!idle.contains("web-"), "{idle}");
    world.sampan(&["start", "web"]).ok();
    let running = world.rules();
    assert!(
        running.contains("jump web-") && running.contains("8080"),
        "{running}"
    );
    world.sampan(&["stop", "--kill", "web"]).ok();
    assert_eq!(world.rules(), idle);

    world.sampan(&["start", "web"]).ok();
    world.running("web").kill_monitor();
    let swept = wait_until(Duration::from_secs(10), || {
        world.sampan(&["ls"]).ok();
        (world.rules() == idle).then_some(())
    });
    assert!(swept.is_some(), "{}", world.rules());

    world.sampan(&["start", "web"]).ok();
    let busy = world.sampan(&["network", "down", "sampan0"]).failed();
    assert!(
        busy.stderr.contains("1 of its containers runs"),
        "{}",
        busy.stderr
    );
    let used = world.sampan(&["network", "rm", "sampan0"]).failed();
    assert!(used.stderr.contains("web is in it"), "{}", used.stderr);
    world.sampan(&["destroy", "--force", "web"]).ok();
    world.sampan(&["network", "rm", "sampan0"]).ok();
    assert_eq!(world.rules(), before);
    assert_eq!(world.host.interfaces(), interfaces);
}

#[test]
fn what_somebody_flushed_is_put_right_by_the_next_start_for_all_that_run() {
    let world = Internet::new();
    let web = world.guest("web", &["sampan0"]);
    world.sampan(&["forward", "web", "8080:80"]).ok();
    web.serve_tcp(80);
    world.host.run("nft", &["flush ruleset"]);
    assert!(!web.pings(PEER_4, None));
    let db = world.guest("db", &["sampan0"]);
    assert!(db.pings(PEER_4, None) && web.pings(PEER_4, None));
    let rules = world.rules();
    assert!(
        rules.contains("jump web-") && rules.contains("jump db-"),
        "{rules}"
    );
    world.peer.within(|| ask_tcp("192.0.2.1", 8080)).unwrap();
}

#[test]
fn a_closed_firewall_of_iptables_does_not_cut_off_a_network_and_is_left_as_it_was() {
    let world = Internet::new();
    for program in ["iptables", "ip6tables"] {
        for chain in ["INPUT", "FORWARD"] {
            world.host.run(program, &["-P", chain, "DROP"]);
        }
        // As docker does.
        world.host.run(program, &["-N", "DOCKER-USER"]);
        world
            .host
            .run(program, &["-I", "FORWARD", "-j", "DOCKER-USER"]);
        // Neighbours find each other, and no more.
        world
            .host
            .run(program, &["-A", "INPUT", "-i", "wan0", "-j", "ACCEPT"]);
    }
    let before = world.rules();
    let web = world.guest("web", &["sampan0"]);
    web.serve_tcp(80);
    assert!(web.pings(PEER_4, None) && web.pings(PEER_6, None));
    world.sampan(&["forward", "web", "8080:80"]).ok();
    for address in ["192.0.2.1", "2001:db8::1"] {
        world.peer.within(|| ask_tcp(address, 8080)).unwrap();
    }
    let gateway = world.gateway("sampan0", "ipv4");
    assert!(web.pings(&gateway, None));
    // iptables still understands its own table, with ours in it.
    let listed = world.host.run("iptables", &["-S", "FORWARD"]);
    assert!(
        listed.contains("-i sampan0") && listed.contains("-o sampan0"),
        "{listed}"
    );
    // Closed after the network came up: the next start opens it.
    world.host.run("iptables", &["-F", "FORWARD"]);
    assert!(!web.pings(PEER_4, None));
    let db = world.guest("db", &["sampan0"]);
    assert!(db.pings(PEER_4, None) && web.pings(PEER_4, None));
    world
        .host
        .run("iptables", &["-I", "FORWARD", "3", "-j", "DOCKER-USER"]);
    world.sampan(&["destroy", "--force", "web", "db"]).ok();
    world.sampan(&["network", "rm", "sampan0"]).ok();
    assert_eq!(world.rules(), before);
}

#[test]
fn kinds_of_networks_and_what_is_wrong_with_some() {
    let world = Internet::new();
    world.host.ip("link add br0 type bridge");
    world.host.ip("addr add 10.9.0.1/24 dev br0");
    world.host.ip("link set br0 up");
    world
        .sampan(&[
            "network",
            "create",
            "lan",
            "--kind",
            "bridge",
            "--existing",
            "br0",
        ])
        .ok();
    let lan = world.guest("one", &["lan"]);
    lan.ip("addr add 10.9.0.7/24 dev eth0");
    assert!(lan.pings("10.9.0.1", None));
    // Another subnet is taken, and the one that is said.
    world
        .sampan(&[
            "network",
            "create",
            "lab",
            "-o",
            "ipv4=10.77.0.0/24",
            "-o",
            "ipv6=none",
        ])
        .ok();
    let lab = world.guest("two", &["lab", "lan"]);
    assert!(lab.addresses()[0].starts_with("10.77.0."));
    assert_eq!(lab.addresses().len(), 1);
    lab.ip("link show eth1");
    let none = world.guest("three", &["none"]);
    assert_eq!(none.addresses().len(), 0);

    let listed = world
        .sampan(&["network", "ls", "--format", "json"])
        .ok()
        .json();
    let rows = listed.as_array().unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["lab", "lan"]);
    assert_eq!(rows[0]["containers"], serde_json::json!(["two"]));
    assert_eq!(rows[0]["up"], true);
    world.sampan(&["network", "down", "lan"]).ok();
    assert!(world.host.interfaces().contains(&"br0".to_owned()));

    for (words, expected) in [
        (
            &["network", "create", "lab"][..],
            "there is a network \"lab\" already",
        ),
        (
            &["network", "create", "x", "-o", "ipv4=8.8.8.0/24"],
            "private",
        ),
        (
            &["network", "create", "x", "-o", "hostaccess=yes"],
            "did you mean host-access?",
        ),
        (
            &["network", "create", "x", "--kind", "bridge"],
            "--existing",
        ),
        (&["network", "create", "sixteen-letters-"], "too long"),
        (&["network", "create", "none"], "means having no network"),
        (
            &["network", "set", "lab", "ipv4=10.78.0.0/24"],
            "two is in it",
        ),
        (&["network", "up", "labb"], "did you mean lab"),
        (
            &["forward", "three", "8080:80"],
            "in no network of the kind nat",
        ),
        (
            &["create", "x", "-t", "naughty", "--network", "labb"],
            "did you mean lab",
        ),
        (
            &[
                "create",
                "x",
                "-t",
                "naughty",
                "--network",
                "lab",
                "--network",
                "none",
            ],
            "cannot be one of several",
        ),
    ] {
        let ran = world.sampan(words).failed();
        assert!(ran.stderr.contains(expected), "{words:?}: {}", ran.stderr);
    }
}

#[test]
fn a_new_network_touches_no_route_bridge_or_name_server_of_the_host() {
    let world = Internet::new();
    world.host.ip("route add 10.0.0.0/9 dev wan0");
    world.host.ip("route add 10.128.0.0/10 dev wan0");
    world.host.ip("route add 172.16.0.0/12 dev wan0");
    for number in 0..8 {
        let name = format!("n{number}");
        world.sampan(&["network", "create", &name]).ok();
        let own: std::net::Ipv4Addr = world.gateway(&name, "ipv4").parse().unwrap();
        let [first, second, ..] = own.octets();
        let free = (first, second & 0xc0) == (10, 192) || (first, second) == (192, 168);
        assert!(free, "{own}");
    }
}
