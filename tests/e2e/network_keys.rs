//! What else `lxc.net.*` says: programs of the host, its network itself, VLANs of a bridge.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sampan_tests::{Background, Lxc, deadline_of, wait_until};

use crate::network::Scene;

/// A program that notes what it is told, and whether the host's end is there; and then what `more` is.
fn program(scene: &Scene, more: &str) -> (PathBuf, PathBuf) {
    let notes = scene.env.scratch().join("notes");
    let path = scene.env.scratch().join("script");
    let text = format!(
        "#!/bin/sh\n\
         there=gone; ip link show outer0 >/dev/null 2>&1 && there=there\n\
         echo \"[$*] $LXC_NAME $LXC_HOOK_TYPE,$LXC_HOOK_SECTION,$LXC_HOOK_VERSION \\\n\
         $LXC_NET_TYPE,$LXC_NET_PARENT,$LXC_NET_PEER $there $LXC_TARGET\" >> {}\n{more}\n",
        notes.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(scene.env.scratch(), fs::Permissions::from_mode(0o755)).unwrap();
    (path, notes)
}

fn lines(version: u32, script: &Path) -> String {
    let script = script.display();
    format!(
        "lxc.hook.version = {version}
         lxc.net.0.type = veth
         lxc.net.0.link = br0
         lxc.net.0.veth.pair = outer0
         lxc.net.0.script.up = {script}
         lxc.net.0.script.down = {script}
         lxc.net.1.type = empty
         lxc.net.1.script.up = {script}
         lxc.net.1.script.down = {script}"
    )
}

fn taken(notes: &Path) -> Vec<String> {
    let text = fs::read_to_string(notes).unwrap_or_default();
    let _ = fs::remove_file(notes);
    text.lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[test]
fn scripts_are_told_what_lxc_tells_them() {
    for version in [0, 1] {
        let scene = Scene::new();
        let lxc = Lxc::new(&scene.env);
        let (script, notes) = program(&scene, "");
        scene.guest("web", &lines(version, &script));
        scene.sampan(&["start", "web"]).ok();
        let up = taken(&notes);
        scene.sampan(&["stop", "--kill", "web"]).ok();
        let down = taken(&notes);
        let told = match version {
            0 => [
                "[web net up veth br0 outer0] web ,,0 ,, there",
                "[web net up empty] web ,,0 ,, there",
            ],
            _ => [
                "[veth br0 outer0] web up,net,1 veth,br0,outer0 there",
                "[empty] web up,net,1 empty,, there",
            ],
        };
        assert_eq!(up, told);
        let (at_end, kind) = (" stop", |line: &str| {
            line.replace("net up", "net down")
                .replace("up,net", "down,net")
        });
        assert_eq!(down, told.map(|line| kind(line) + at_end));

        let (started, text) = lxc.start_in(&scene.host, "web");
        assert!(started, "{text}");
        // LXC keeps variables of one network for the next.
        let of_veth = |lines: &[String]| lines[0].clone();
        let theirs = taken(&notes);
        assert_eq!(of_veth(&theirs), of_veth(&up));
        assert_eq!(theirs.len(), 2, "{theirs:?}");
        lxc.kill("web");
        deadline_of("LXC's scripts at the end", || {
            let text = fs::read_to_string(&notes).unwrap_or_default();
            text.contains("veth br0").then_some(())
        });
        // That it is the end, LXC tells its hooks only.
        let ours = of_veth(&down);
        assert_eq!(of_veth(&taken(&notes)) + " stop", ours);
    }
}

#[test]
fn a_script_that_fails_fails_the_start_and_what_was_made_is_taken_back() {
    let scene = Scene::new();
    let (script, notes) = program(
        &scene,
        "case \"$3\" in up) echo no room on the switch >&2; exit 4; esac",
    );
    scene.guest("web", &lines(0, &script));
    let failed = scene.sampan(&["start", "web"]).failed();
    for words in [
        "lxc.net.0.script.up = ",
        "it ended with status 4",
        "no room on the switch",
    ] {
        assert!(failed.stderr.contains(words), "{}", failed.stderr);
    }
    let notes = taken(&notes);
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(
        notes[1].contains("web net down veth br0 outer0] web ,,0 ,, there stop"),
        "{notes:?}"
    );
    assert_eq!(scene.host.interfaces(), ["br0"]);
    assert_eq!(scene.env.state_of("web"), "stopped");
}

#[test]
fn scripts_run_at_a_reboot_too_and_the_log_tells_of_those_that_a_killed_monitor_did_not_run() {
    let scene = Scene::new();
    let (script, notes) = program(&scene, "");
    scene.guest("web", &lines(0, &script));
    scene.sampan(&["start", "web"]).ok();
    scene.sampan(&["stop", "--reboot", "web"]).ok();
    let kinds: Vec<String> = taken(&notes)
        .iter()
        .map(|line| line.split_whitespace().nth(2).unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["up", "up", "down", "down", "up", "up"]);

    let info = scene.sampan(&["info", "web", "--format", "json"]).ok();
    let init = info.json()["init_pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:"));
    let monitor = nix::unistd::Pid::from_raw(parent.unwrap().trim().parse().unwrap());
    nix::sys::signal::kill(monitor, nix::sys::signal::Signal::SIGKILL).unwrap();
    let told = wait_until(Duration::from_secs(10), || {
        scene.sampan(&["ls"]).ok();
        let log = scene.env.root().join("var/log/sampan/web.log");
        let log = fs::read_to_string(log).unwrap_or_default();
        log.contains("lxc.net.0.script.down = ").then_some(log)
    });
    let log = told.expect("a line in the log");
    assert!(log.contains("the monitor was killed"), "{log}");
    assert!(taken(&notes).is_empty());
}

#[test]
fn with_the_type_none_alone_the_network_is_the_hosts_as_in_lxc() {
    let scene = Scene::new();
    let lxc = Lxc::new(&scene.env);
    let none = "lxc.net.0.type = none";
    scene.env.create_small_guest("root", &["--privileged"]);
    scene.rewrite("root", none);
    scene.sampan(&["start", "root"]).ok();
    let inside = scene.ip_inside("root", "address show br0");
    assert!(inside.contains("10.9.0.1/24"), "{inside}");
    scene.sampan(&["stop", "--kill", "root"]).ok();
    assert_eq!(scene.host.interfaces(), ["br0"]);

    // Beside another kind it says nothing.
    scene.rewrite("root", "lxc.network.type = none\nlxc.network.type = empty");
    scene.sampan(&["start", "root"]).ok();
    assert!(!scene.ip_inside("root", "link").contains("br0"));
    scene.sampan(&["stop", "--kill", "root"]).ok();

    // The sysfs of a network that is not its own cannot be mounted in a user namespace.
    scene.guest("web", none);
    let (theirs, text) = lxc.start_in(&scene.host, "web");
    assert!(!theirs && text.contains("sys"), "{text}");
    let ours = scene.sampan(&["start", "web"]).failed().stderr;
    assert!(ours.contains("mount sysfs"), "{ours}");
    assert!(ours.contains("lxc.net.N.type = none"), "{ours}");
    let config = scene.env.state().join("web/config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(" sys:mixed", "")).unwrap();
    scene.sampan(&["start", "web"]).ok();
    assert!(scene.ip_inside("web", "link").contains("br0"));
}

#[test]
fn a_port_of_a_bridge_that_filters_is_in_the_vlans_that_it_is_told() {
    let scene = Scene::new();
    let lines = "lxc.net.0.type = veth
         lxc.net.0.link = br0
         lxc.net.0.veth.pair = outer0
         lxc.net.0.veth.vlan.id = 20
         lxc.net.0.veth.vlan.tagged.id = 30
         lxc.net.0.veth.vlan.tagged.id = 40";
    scene.guest("web", lines);
    let refused = scene.sampan(&["start", "web"]).failed().stderr;
    assert!(
        refused.contains("need a bridge that filters VLANs"),
        "{refused}"
    );
    assert!(refused.contains("ip link set br0 type bridge vlan_filtering 1"));
    assert_eq!(scene.host.interfaces(), ["br0"]);
    if !scene.host.filters_vlans() {
        eprintln!("the bridges of this kernel know no VLANs: only the refusal is tested");
        return;
    }
    scene.host.ip("link set br0 type bridge vlan_filtering 1");
    scene.sampan(&["start", "web"]).ok();
    let mut bridge = std::process::Command::new("bridge");
    bridge.args(["-json", "vlan", "show", "dev", "outer0"]);
    let shown = Background::start(scene.host.enter(&bridge), b"")
        .wait()
        .ok();
    let vlans = shown.json()[0]["vlans"].clone();
    let vlan = |at: usize| (vlans[at]["vlan"].as_i64(), vlans[at]["flags"].to_string());
    assert_eq!(vlan(0).0, Some(20), "{vlans}");
    assert!(
        vlan(0).1.contains("PVID") && vlan(0).1.contains("Untagged"),
        "{vlans}"
    );
    assert_eq!((vlan(1).0, vlan(2).0), (Some(30), Some(40)), "{vlans}");
    assert!(!vlan(1).1.contains("PVID"), "{vlans}");
}

/// A broadcast address that a config says.
const SAID: &str = "10.9.255.254";

/// What a container has inside: names, addresses, routes, sizes, and hardware addresses where the
/// config says them.
fn inside(pid: i32) -> Vec<String> {
    let ip = |words: &str| {
        let mut command = std::process::Command::new("nsenter");
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg("ip");
        command.args(words.split(' '));
        Background::start(command, b"").wait().ok().stdout
    };
    let links: serde_json::Value = serde_json::from_str(&ip("-json address")).unwrap();
    let mut found = Vec::new();
    for link in links.as_array().unwrap() {
        let flags = link["flags"].as_array().unwrap();
        let up = flags.iter().any(|flag| flag == "UP");
        let mut addresses: Vec<String> = link["addr_info"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|address| address["scope"] == "global")
            .map(|address| {
                // The one that LXC reckons (0.0.0.255) is nobody's: only one that is said counts.
                let broadcast = Some(&address["broadcast"]).filter(|said| *said == SAID);
                format!(
                    "{}/{} {broadcast:?}",
                    address["local"], address["prefixlen"]
                )
            })
            .collect();
        addresses.sort();
        let hardware = link["address"].as_str().unwrap_or_default();
        let said = hardware.starts_with("4a:49").then_some(hardware);
        found.push(format!(
            "{} up {up} mtu {} {said:?} {addresses:?}",
            link["ifname"], link["mtu"]
        ));
    }
    for family in ["-4", "-6"] {
        let routes = ip(&format!("{family} route"));
        let routes = routes.lines().filter(|line| !line.contains("fe80"));
        // Who made a route, and how much it costs, is not the config's to say.
        found.extend(routes.map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let end = words
                .iter()
                .position(|w| ["proto", "metric", "scope"].contains(w));
            let end = end.unwrap_or(words.len());
            words[..end].join(" ")
        }));
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn a_container_has_inside_what_lxc_gives_it_by_the_same_config() {
    let scene = Scene::new();
    let lxc = Lxc::new(&scene.env);
    scene.host.ip("link add lan0 type veth peer name lan1");
    scene.host.ip("link set lan0 up");
    scene.host.ip("link set lan1 up");
    scene.host.ip("link add spare0 type veth peer name spare1");
    for (name, lines) in [
        (
            "handbook",
            "lxc.net.0.type = veth
             lxc.net.0.flags = up
             lxc.net.0.link = br0
             lxc.net.0.hwaddr = 4a:49:43:49:79:20",
        ),
        (
            "both",
            "lxc.net.0.type = veth
             lxc.net.0.link = br0
             lxc.net.0.flags = up
             lxc.net.0.name = lan
             lxc.net.0.hwaddr = 4a:49:43:49:79:21
             lxc.net.0.mtu = 1400
             lxc.net.0.ipv4.address = 10.9.0.31/24
             lxc.net.0.ipv4.address = 10.9.1.31/16 10.9.255.254
             lxc.net.0.ipv4.gateway = auto
             lxc.net.0.ipv6.address = fd09::31/64
             lxc.net.0.ipv6.gateway = fd09::1",
        ),
        (
            "far",
            "lxc.net.0.type = veth
             lxc.net.0.link = br0
             lxc.net.0.flags = up
             lxc.net.0.ipv4.address = 192.168.77.5/32
             lxc.net.0.ipv4.gateway = 10.9.0.1",
        ),
        (
            "three",
            "lxc.net.0.type = veth
             lxc.net.3.type = veth
             lxc.net.3.link = br0
             lxc.net.3.flags = up
             lxc.net.3.ipv4.address = 10.9.0.33
             lxc.net.3.ipv4.gateway = dev
             lxc.net.7.type = macvlan
             lxc.net.7.link = lan0
             lxc.net.7.macvlan.mode = bridge
             lxc.net.7.flags = up
             lxc.net.7.hwaddr = 4a:49:43:49:79:22
             lxc.net.7.ipv4.address = 10.8.0.3/24
             lxc.net.8.type = phys
             lxc.net.8.link = spare0
             lxc.net.8.flags = up
             lxc.net.9.type = veth
             lxc.net.9.name = eth3",
        ),
    ] {
        scene.guest(name, lines);
        scene.sampan(&["start", name]).ok();
        let info = scene.sampan(&["info", name, "--format", "json"]).ok();
        let ours = inside(info.json()["init_pid"].as_i64().unwrap() as i32);
        scene.sampan(&["stop", "--kill", name]).ok();
        let (started, text) = lxc.start_in(&scene.host, name);
        assert!(started, "{name}: {text}");
        let pid = lxc.init_in(&scene.host, name);
        let theirs = inside(pid);
        lxc.kill(name);
        assert_eq!(ours, theirs, "{name}");
    }
}
