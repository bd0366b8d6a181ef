//! Networks, in a namespace that plays the host.

use std::fs;
use std::time::Duration;

use sampan_tests::{Background, HostNetwork, Ran, TestEnvironment, wait_until};

/// A world with a bridge `br0` that has 10.9.0.1/24 and fd09::1/64.
pub(super) struct Scene {
    pub(super) env: TestEnvironment,
    pub(super) host: HostNetwork,
}

impl Scene {
    pub(super) fn new() -> Self {
        let host = HostNetwork::new();
        host.ip("link add br0 type bridge");
        host.ip("addr add 10.9.0.1/24 dev br0");
        host.ip("addr add fd09::1/64 dev br0 nodad");
        host.ip("link set br0 up");
        Self {
            env: TestEnvironment::new(),
            host,
        }
    }

    /// A container, not started, whose config has these lines in place of its network's.
    pub(super) fn guest(&self, name: &str, lines: &str) {
        self.env.create_small_guest(name, &[]);
        self.rewrite(name, lines);
    }

    /// Puts these lines in place of those of a container's networks.
    pub(super) fn rewrite(&self, name: &str, lines: &str) {
        let path = self.env.state().join(name).join("config");
        let text = fs::read_to_string(&path).unwrap();
        let ours = |line: &&str| !line.starts_with("lxc.net");
        let kept = text.lines().filter(ours);
        let text: Vec<&str> = kept.chain(lines.lines().map(str::trim)).collect();
        fs::write(&path, text.join("\n") + "\n").unwrap();
    }

    #[track_caller]
    pub(super) fn sampan(&self, arguments: &[&str]) -> Ran {
        let command = self.host.enter(&self.env.command(arguments));
        Background::start(command, b"").wait()
    }

    #[track_caller]
    pub(super) fn pings(&self, name: &str, address: &str) {
        let family = if address.contains(':') { "-6" } else { "-4" };
        let line = [
            "exec",
            name,
            "--",
            "/bin/busybox",
            "ping",
            family,
            "-c",
            "1",
            "-w",
            "5",
            address,
        ];
        self.sampan(&line).ok();
    }

    /// What ip(8) says inside.
    #[track_caller]
    pub(super) fn ip_inside(&self, name: &str, words: &str) -> String {
        let info = self.sampan(&["info", name, "--format", "json"]).ok().json();
        let pid = info["init_pid"].as_i64().expect("it runs");
        let mut command = std::process::Command::new("nsenter");
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg("ip");
        command.args(words.split(' '));
        Background::start(command, b"").wait().ok().stdout
    }
}

#[test]
fn the_handbooks_example_reaches_its_bridge() {
    let scene = Scene::new();
    scene.guest(
        "testlxc",
        "lxc.network.type = veth
         lxc.network.flags = up
         lxc.network.link = br0
         lxc.network.hwaddr = 4a:49:43:49:79:20
         lxc.network.ipv4 = 10.9.0.20/24",
    );
    scene.sampan(&["start", "testlxc"]).ok();
    let inside = scene.ip_inside("testlxc", "link show eth0");
    assert!(inside.contains("4a:49:43:49:79:20"), "{inside}");
    scene.pings("testlxc", "10.9.0.1");
    let info = scene.sampan(&["info", "testlxc", "--format", "json"]).ok();
    assert_eq!(info.json()["ips"], serde_json::json!(["10.9.0.20"]));
}

#[test]
fn addresses_and_routes_of_both_families_are_there_before_init_runs() {
    let scene = Scene::new();
    for (name, last) in [("one", "31"), ("two", "32")] {
        scene.guest(
            name,
            &format!(
                "lxc.net.0.type = veth
                 lxc.net.0.link = br0
                 lxc.net.0.flags = up
                 lxc.net.0.hwaddr = 00:16:3e:xx:xx:xx
                 lxc.net.0.ipv4.address = 10.9.0.{last}/24
                 lxc.net.0.ipv4.gateway = auto
                 lxc.net.0.ipv6.address = fd09::{last}/64
                 lxc.net.0.ipv6.gateway = fd09::1
                 lxc.net.0.mtu = 1400"
            ),
        );
        scene.sampan(&["start", name]).ok();
    }
    scene.pings("one", "10.9.0.32");
    scene.pings("two", "fd09::31");
    let routes = scene.ip_inside("one", "route");
    assert!(routes.contains("default via 10.9.0.1 dev eth0"), "{routes}");
    let routes = scene.ip_inside("one", "-6 route");
    assert!(routes.contains("default via fd09::1 dev eth0"), "{routes}");
    let hardware = |name| {
        let link = scene.ip_inside(name, "link show eth0");
        assert!(link.contains("mtu 1400"), "{link}");
        let at = link.find("00:16:3e").unwrap_or_else(|| panic!("{link}"));
        link[at..at + 17].to_owned()
    };
    let before = hardware("one");
    assert_ne!(before, hardware("two"));
    scene.sampan(&["stop", "one"]).ok();
    scene.sampan(&["start", "one"]).ok();
    assert_eq!(before, hardware("one"), "another address after a restart");
}

#[test]
fn a_gateway_off_the_subnet_gets_a_route_of_its_own() {
    let scene = Scene::new();
    scene.guest(
        "far",
        "lxc.net.0.type = veth
         lxc.net.0.link = br0
         lxc.net.0.flags = up
         lxc.net.0.ipv4.address = 192.168.77.5/32
         lxc.net.0.ipv4.gateway = 10.9.0.1",
    );
    scene.sampan(&["start", "far"]).ok();
    let routes = scene.ip_inside("far", "route");
    assert!(routes.contains("10.9.0.1 dev eth0"), "{routes}");
    assert!(routes.contains("default via 10.9.0.1"), "{routes}");
}

#[test]
fn nothing_stays_after_a_stop_or_after_the_monitor_was_killed() {
    let scene = Scene::new();
    let lines = "lxc.net.0.type = veth
                 lxc.net.0.link = br0
                 lxc.net.0.flags = up
                 lxc.net.1.type = veth
                 lxc.net.1.name = inner
                 lxc.net.1.veth.pair = outer";
    scene.guest("web", lines);
    scene.sampan(&["start", "web"]).ok();
    let interfaces = scene.host.interfaces();
    assert_eq!(interfaces.len(), 3, "{interfaces:?}");
    let named = |begin: &str| interfaces.iter().any(|name| name.starts_with(begin));
    assert!(named("web-") && named("outer"), "{interfaces:?}");
    scene.sampan(&["stop", "web"]).ok();
    assert_eq!(scene.host.interfaces(), ["br0"]);

    scene.sampan(&["start", "web"]).ok();
    let info = scene
        .sampan(&["info", "web", "--format", "json"])
        .ok()
        .json();
    let init = info["init_pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:"));
    let monitor: i32 = parent.unwrap().trim().parse().unwrap();
    let monitor = nix::unistd::Pid::from_raw(monitor);
    nix::sys::signal::kill(monitor, nix::sys::signal::Signal::SIGKILL).unwrap();
    // At once, while the kernel still takes the old ones down.
    let started = wait_until(Duration::from_secs(10), || {
        (scene.sampan(&["start", "web"]).code == 0).then_some(())
    });
    assert!(started.is_some());
    assert_eq!(scene.host.interfaces().len(), 3);
    scene.sampan(&["destroy", "--force", "web"]).ok();
    assert_eq!(scene.host.interfaces(), ["br0"]);
}

#[test]
fn interfaces_above_one_of_the_host_and_one_given_away() {
    let scene = Scene::new();
    scene.host.ip("link add lan0 type veth peer name lan1");
    scene.host.ip("link set lan0 up");
    scene.host.ip("link add spare type veth peer name peer0");
    for (kind, more) in [
        ("macvlan", "lxc.net.0.macvlan.mode = bridge"),
        ("ipvlan", "lxc.net.0.ipvlan.mode = l2"),
        ("vlan", "lxc.net.0.vlan.id = 77"),
    ] {
        let lines = format!(
            "lxc.net.0.type = {kind}\nlxc.net.0.link = lan0\nlxc.net.0.flags = up\n\
             lxc.net.0.ipv4.address = 10.8.0.2/24\n{more}"
        );
        scene.guest(kind, &lines);
        let started = scene.sampan(&["start", kind]);
        if !scene.host.knows(kind) {
            eprintln!("the kernel of this machine has no {kind}: only the refusal is tested");
            let hint = format!("this kernel has no interfaces of the type {kind}");
            assert!(started.failed().stderr.contains(&hint));
            continue;
        }
        started.ok();
        let link = scene.ip_inside(kind, "-details link show eth0");
        assert!(link.contains(&format!("{kind} ")), "{link}");
        let address = scene.ip_inside(kind, "address show eth0");
        assert!(address.contains("10.8.0.2/24"), "{address}");
        scene.sampan(&["stop", "--kill", kind]).ok();
    }
    scene.guest(
        "phys",
        "lxc.net.0.type = phys\nlxc.net.0.link = spare\nlxc.net.0.name = mine\nlxc.net.0.flags = up",
    );
    scene.sampan(&["start", "phys"]).ok();
    assert!(!scene.host.interfaces().contains(&"spare".to_owned()));
    scene.ip_inside("phys", "link show mine");
    scene.sampan(&["stop", "--kill", "phys"]).ok();
    assert!(scene.host.interfaces().contains(&"spare".to_owned()));
}

#[test]
fn a_network_that_cannot_be_made_is_an_error_that_names_it_and_leaves_nothing() {
    let scene = Scene::new();
    scene.host.ip("link add other type veth peer name peer0");
    for (lines, expected) in [
        (
            "lxc.net.0.type = veth\nlxc.net.0.link = br9",
            "there is no bridge br9 on this host",
        ),
        (
            "lxc.net.0.type = veth\nlxc.net.0.link = other",
            "the link other is no bridge",
        ),
        (
            "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.veth.pair = other",
            "File exists",
        ),
        (
            "lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.0.ipv4.gateway = auto",
            "no IPv4 address for the gateway",
        ),
        (
            "lxc.net.7.type = veth\nlxc.net.7.link = br0\nlxc.net.8.type = phys\nlxc.net.8.link = no0",
            "could not set up the network lxc.net.8",
        ),
    ] {
        scene.guest("bad", lines);
        let ran = scene.sampan(&["start", "bad"]);
        assert_eq!(ran.code, 1, "{lines}");
        assert!(ran.stderr.contains(expected), "{lines}\n{}", ran.stderr);
        assert_eq!(scene.env.state_of("bad"), "stopped");
        let mut interfaces = scene.host.interfaces();
        interfaces.sort();
        assert_eq!(interfaces, ["br0", "other", "peer0"], "{lines}");
        scene.sampan(&["destroy", "bad"]).ok();
    }
}
