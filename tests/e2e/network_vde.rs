//! docs/network-vde.md: its commands, as they stand there, with the real switch.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sampan_tests::{Background, TestEnvironment, deadline_of, wait_until};

use crate::network::Scene;

/// A switch of the test's own, by the commands of the page.
struct Vde {
    scene: Scene,
    run: PathBuf,
    machine: String,
}

impl Vde {
    fn new() -> Self {
        let scene = Scene::new();
        scene.host.ip("link del br0");
        let run = scene.env.scratch().join("run");
        fs::create_dir(&run).unwrap();
        let machine = format!("{}-machine", scene.host.name());
        Self {
            scene,
            run,
            machine,
        }
    }

    /// The commands under a heading, where the test has things.
    fn commands(&self, heading: &str) -> String {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/network-vde.md");
        let page = fs::read_to_string(page).unwrap();
        let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let (_, block) = section.split_once("```sh\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let program = TestEnvironment::binary().display().to_string();
        let sampan = format!("{program} --root {} ", self.scene.env.root().display());
        block
            .replace("sampan ", &sampan)
            .replace("/run/vde", &format!("{}/vde", self.run.display()))
            .replace(" machine", &format!(" {}", self.machine))
    }

    #[track_caller]
    fn run(&self, heading: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-e", "-x", "-c", &self.commands(heading)]);
        Background::start(self.scene.host.enter(&shell), b"")
            .wait()
            .ok();
    }

    fn pids(&self) -> Vec<i32> {
        let files = ["vde.pid", "vde-machine.pid"].map(|name| self.run.join(name));
        let texts = files
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok());
        let pids = texts.filter_map(|text| text.trim().parse().ok());
        // A number that is somebody else's by now is left alone.
        let ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("vde")
        };
        pids.filter(ours).collect()
    }
}

impl Drop for Vde {
    fn drop(&mut self) {
        for pid in self.pids() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.machine])
            .output();
    }
}

#[test]
fn a_container_reaches_another_machine_through_the_switch_and_the_host_is_its_gateway() {
    let vde = Vde::new();
    let scene = &vde.scene;
    vde.run("The switch and the bridge");
    scene.env.create_small_guest("web", &[]);
    vde.run("A container with a fixed address");
    scene.pings("web", "10.0.0.1");
    scene.host.ip("address add 198.51.100.7/32 dev lo");
    scene.pings("web", "198.51.100.7");
    vde.run("Another machine on the switch");
    // The plug's command returns before it is plugged in.
    deadline_of("an answer of the other machine", || {
        let words = "exec web -- /bin/busybox ping -c 1 -W 1 10.0.0.9";
        let words: Vec<&str> = words.split(' ').collect();
        (scene.sampan(&words).code == 0).then_some(())
    });
    // Through the switch, and by no other way.
    let learned = scene.host.ip("neighbour show dev br0");
    assert!(!learned.contains("10.0.0.9 lladdr"), "{learned}");
    let ports = scene.host.ip("-json link show master br0");
    let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
    let ports: Vec<&str> = ports
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["ifname"].as_str().unwrap())
        .collect();
    assert_eq!(ports.len(), 2, "{ports:?}");
    assert!(ports.contains(&"tap0"), "{ports:?}");

    deadline_of("the pids of both", || (vde.pids().len() == 2).then_some(()));
    vde.run("Taking it down");
    deadline_of("the switch ends", || {
        (vde.pids().is_empty() && scene.host.interfaces().is_empty()).then_some(())
    });
}

#[test]
fn a_container_gets_its_address_through_the_switch_by_dhcp() {
    let vde = Vde::new();
    let scene = &vde.scene;
    vde.run("The switch and the bridge");
    let mut server = Command::new("sh");
    let line = vde.commands("Addresses by DHCP");
    server.args(["-c", &format!("exec {line}")]);
    let _server = Background::start(scene.host.enter(&server), b"");
    scene.guest(
        "web",
        "lxc.net.0.type = veth
         lxc.net.0.flags = up
         lxc.net.0.link = br0",
    );
    scene.sampan(&["start", "web"]).ok();
    let script = "#!/bin/busybox sh\n\
        test \"$1\" != bound || /bin/busybox ip address add $ip/24 dev $interface\n\
        test \"$1\" != bound || /bin/busybox ip route add default via $router\n";
    let path = scene.env.state().join("web/rootfs/dhcp");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // A port of a switch or bridge that has just come up may drop the first question.
    let asked = wait_until(Duration::from_secs(30), || {
        let words = "exec web -- /bin/busybox udhcpc -i eth0 -s /dhcp -n -q -t 3 -T 1";
        let words: Vec<&str> = words.split(' ').collect();
        (scene.sampan(&words).code == 0).then_some(())
    });
    asked.expect("a lease");
    let info = scene
        .sampan(&["info", "web", "--format", "json"])
        .ok()
        .json();
    let address = info["ips"][0].as_str().unwrap_or_default();
    assert!(address.starts_with("10.0.2."), "{info}");
    scene.pings("web", "10.0.2.2");
}
