//! A container without a bridge: the host routes to it, and answers for it (`veth.mode = router`,
//! `l2proxy`).

use std::fs;

use sampan_tests::{HostNetwork, Lxc, deadline_of};

use crate::network::Scene;

const LINES: &str = "lxc.net.0.type = veth
    lxc.net.0.flags = up
    lxc.net.0.link = wan0
    lxc.net.0.veth.mode = router
    lxc.net.0.veth.pair = outer0
    lxc.net.0.veth.ipv4.route = 10.77.0.0/24
    lxc.net.0.veth.ipv6.route = fd77::/64
    lxc.net.0.l2proxy = 1
    lxc.net.0.ipv4.address = 192.0.2.10/32
    lxc.net.0.ipv4.gateway = 169.254.1.1
    lxc.net.0.ipv6.address = 2001:db8::10/128
    lxc.net.0.ipv6.gateway = fe80::1";

/// A host with a LAN, on which there is somebody.
fn scene() -> (Scene, HostNetwork) {
    let (scene, neighbour) = (Scene::new(), HostNetwork::new());
    scene.host.cable(
        ("wan0", &["192.0.2.1/24", "2001:db8::1/64"]),
        &neighbour,
        ("wan1", &["192.0.2.2/24", "2001:db8::2/64"]),
    );
    // The kernel answers for an address only if it would send it on elsewhere.
    for via in ["192.0.2.2", "2001:db8::2"] {
        scene.host.ip(&format!("route add default via {via}"));
    }
    (scene, neighbour)
}

fn let_pass(host: &HostNetwork, value: &str) {
    for setting in [
        "ipv4/conf/wan0/forwarding",
        "ipv6/conf/all/forwarding",
        "ipv6/conf/wan0/forwarding",
        "ipv6/conf/wan0/proxy_ndp",
    ] {
        let key = format!("/proc/sys/net/{setting}");
        host.within(|| fs::write(key, value)).unwrap();
    }
}

/// Routes and answers of the host, without what only numbers links.
fn seen(host: &HostNetwork) -> String {
    ["-4", "-6"]
        .iter()
        .flat_map(|family| {
            [
                host.ip(&format!("{family} route show")),
                host.ip(&format!("{family} neigh show proxy")),
            ]
        })
        .flat_map(|text| {
            let lines = text.lines().filter(|line| !line.contains("fe80::/64"));
            let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
            lines.sort();
            lines
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_routed_container_is_on_the_hosts_lan_without_a_bridge_and_leaves_nothing_there() {
    let (scene, neighbour) = scene();
    let_pass(&scene.host, "0");
    let before = seen(&scene.host);
    scene.guest("web", LINES);
    let failed = scene.sampan(&["start", "web"]).failed();
    for words in ["lxc.net.0", "sysctl -w net/ipv4/conf/wan0/forwarding=1"] {
        assert!(failed.stderr.contains(words), "{}", failed.stderr);
    }
    assert_eq!(seen(&scene.host), before);
    let_pass(&scene.host, "1");
    let forwarding = "/proc/sys/net/ipv6/conf/all/forwarding";
    scene.host.within(|| fs::write(forwarding, "0")).unwrap();
    scene.rewrite("web", &LINES.replace("l2proxy = 1", "l2proxy = 0"));
    let failed = scene.sampan(&["start", "web"]).failed();
    let wanted = "sysctl -w net/ipv6/conf/all/forwarding=1";
    assert!(failed.stderr.contains(wanted), "{}", failed.stderr);
    scene.rewrite("web", LINES);
    let_pass(&scene.host, "1");
    let before = seen(&scene.host);

    scene.sampan(&["start", "web"]).ok();
    for address in ["192.0.2.2", "2001:db8::2", "192.0.2.1"] {
        scene.pings("web", address);
    }
    for (family, own) in [("-4", "192.0.2.10"), ("-6", "2001:db8::10")] {
        neighbour.run("busybox", &["ping", family, "-c", "1", "-w", "5", own]);
    }
    let ours = seen(&scene.host);
    assert!(ours.contains("10.77.0.0/24 dev outer0"), "{ours}");
    scene.sampan(&["stop", "--kill", "web"]).ok();
    assert_eq!(seen(&scene.host), before);

    scene.sampan(&["start", "web"]).ok();
    assert_eq!(seen(&scene.host), ours);
    for pid in sampan_tests::leaks::monitors(scene.env.root(), "web") {
        let pid = nix::unistd::Pid::from_raw(pid as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    deadline_of("nothing is left", || {
        scene.sampan(&["ls"]).ok();
        (seen(&scene.host) == before).then_some(())
    });
}

#[test]
fn lxc_makes_the_same_of_the_same_config() {
    let (scene, _neighbour) = scene();
    let lxc = Lxc::new(&scene.env);
    let_pass(&scene.host, "1");
    scene.guest("web", LINES);
    scene.sampan(&["start", "web"]).ok();
    let ours = seen(&scene.host);
    scene.sampan(&["stop", "--kill", "web"]).ok();
    let (started, text) = lxc.start_in(&scene.host, "web");
    assert!(started, "{text}");
    assert_eq!(seen(&scene.host), ours);
    // Afterwards its answers for the addresses are still there: nothing to compare.
    lxc.kill("web");
}

#[test]
fn what_cannot_be_routed_or_answered_for_is_an_error_with_its_line() {
    let (scene, _neighbour) = scene();
    for (line, why) in [
        ("lxc.net.0.veth.mode = hub", "is neither bridge nor router"),
        ("lxc.net.0.l2proxy = 2", "is neither 0 nor 1"),
        ("lxc.net.0.veth.ipv4.route = fd77::/64", "is not a network"),
        ("lxc.net.0.veth.ipv4.route = 10.77.0.0", "is not a network"),
    ] {
        scene.guest("web", &format!("lxc.net.0.type = veth\n{line}"));
        let failed = scene.sampan(&["start", "web"]).failed();
        assert!(failed.stderr.contains(why), "{line}: {}", failed.stderr);
        scene.sampan(&["destroy", "web"]).ok();
    }
    let ipvlan = "lxc.net.0.type = ipvlan\nlxc.net.0.link = wan0\nlxc.net.0.l2proxy = 1\n\
                  lxc.net.0.ipv4.address = 192.0.2.10/32";
    scene.guest("web", ipvlan);
    let failed = scene.sampan(&["start", "web"]).failed();
    assert!(failed.stderr.contains("mode l3s"), "{}", failed.stderr);
}
