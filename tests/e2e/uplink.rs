//! The simple bridge: an interface of the host becomes a port of it, in a namespace that plays the
//! host, with a router in another one.

use sampan_tests::{Background, HostNetwork, Ran, TestEnvironment};

struct Scene {
    env: TestEnvironment,
    host: HostNetwork,
    /// Until the end.
    _router: HostNetwork,
}

impl Scene {
    /// A host with 192.0.2.5 on eth0, and its gateway 192.0.2.1.
    fn new() -> Self {
        let (host, router) = (HostNetwork::new(), HostNetwork::new());
        host.ip(&format!(
            "link add eth0 type veth peer name lan0 netns {}",
            router.name()
        ));
        router.ip("addr add 192.0.2.1/24 dev lan0");
        router.ip("link set lan0 up");
        host.ip("link set eth0 up");
        host.ip("addr add 192.0.2.5/24 dev eth0");
        host.ip("route add default via 192.0.2.1");
        let env = TestEnvironment::new();
        Self {
            env,
            host,
            _router: router,
        }
    }

    fn sampan(&self, arguments: &[&str]) -> Ran {
        let command = self.host.enter(&self.env.command(arguments));
        Background::start(command, b"").wait()
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], words: &str) {
        let error = self.sampan(arguments).failed().stderr;
        assert!(error.contains(words), "{error}");
    }

    /// Addresses and routes of the host, without interfaces' numbers.
    fn host_state(&self) -> [String; 2] {
        [
            self.host.ip("-4 -o addr show dev eth0"),
            self.host.ip("-4 route"),
        ]
    }
}

const CREATE: [&str; 7] = [
    "network", "create", "br0", "--kind", "bridge", "--uplink", "eth0",
];

#[test]
fn containers_on_a_bridge_above_an_uplink_are_on_the_lan_and_the_host_stays_there() {
    let scene = Scene::new();
    let before = scene.host_state();
    scene.sampan(&CREATE).ok();
    assert!(
        scene
            .host
            .ip("-4 -o addr show dev br0")
            .contains("192.0.2.5/24"),
        "the bridge took over the address"
    );
    scene.env.create_small_guest("web", &[]);
    for (key, value) in [
        ("lxc.net.0.type", "veth"),
        ("lxc.net.0.link", "br0"),
        ("lxc.net.0.flags", "up"),
        ("lxc.net.0.ipv4.address", "192.0.2.77/24"),
    ] {
        scene.env.sampan(&["config", "set", "web", key, value]).ok();
    }
    // As after a boot: the start makes it again.
    scene.sampan(&["network", "down", "br0"]).ok();
    assert_eq!(scene.host_state(), before);
    scene.sampan(&["start", "web"]).ok();
    let ping = [
        "exec",
        "web",
        "--",
        "/bin/busybox",
        "ping",
        "-c",
        "1",
        "-w",
        "5",
    ];
    for there in ["192.0.2.1", "192.0.2.5"] {
        scene.sampan(&[&ping[..], &[there]].concat()).ok();
    }
    scene.refuses(&["network", "down", "br0"], "1 of its containers runs");
    scene.sampan(&["destroy", "--force", "web"]).ok();
    scene.sampan(&["network", "rm", "br0"]).ok();
    assert_eq!(scene.host_state(), before);
    assert_eq!(scene.host.interfaces(), ["eth0"]);
}

#[test]
fn the_persistent_form_is_printed_and_nothing_is_touched() {
    let scene = Scene::new();
    let before = scene.host_state();
    for (form, line) in [
        ("ifupdown", "    bridge_ports eth0\n"),
        ("networkd", "Address=192.0.2.5/24\n"),
        ("netplan", "      interfaces: [eth0]\n"),
    ] {
        let printed = scene
            .sampan(&[&CREATE[..], &["--print", form]].concat())
            .ok();
        assert!(printed.stdout.contains(line), "{}", printed.stdout);
        assert!(printed.stdout.contains("192.0.2.1"), "{}", printed.stdout);
    }
    assert_eq!(scene.host_state(), before);
    assert_eq!(
        scene
            .sampan(&["network", "ls", "-q"])
            .ok()
            .stdout
            .lines()
            .count(),
        1
    );
    let missing = [
        "network", "create", "br0", "--kind", "bridge", "--uplink", "eth9",
    ];
    scene.refuses(&missing, "there is no interface eth9");
    let wrong = ["network", "create", "n", "--uplink", "eth0"];
    scene.refuses(&wrong, "only a network of the kind bridge has an uplink");
}
