//! Networks of the kind vde: containers, the host and virtual machines on the real switch of VDE.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sampan_tests::{
    Background, HostNetwork, Internet, deadline_of,
    internet::{PEER_4, PEER_6},
    processes,
};

/// A machine on the switch: a network namespace stands for it, a virtual machine does the same.
struct Machine {
    network: HostNetwork,
    plug: Option<Background>,
}

impl Machine {
    fn plugged_into(world: &Internet, socket: &str) -> Self {
        let network = HostNetwork::new();
        network.ip("tuntap add dev eth0 mode tap");
        network.ip("link set eth0 up");
        let mut plug = Command::new("vde_plug2tap");
        plug.args(["--sock", socket, "eth0"]);
        let plug = Some(Background::start(network.enter(&plug), b""));
        let machine = Self { network, plug };
        let gateway = world.gateway("lab", "ipv4");
        let (subnet, _) = gateway.rsplit_once('.').unwrap();
        machine
            .network
            .ip(&format!("addr add {subnet}.253/24 dev eth0"));
        deadline_of("it is plugged in", || {
            machine
                .answers("ping", &["-c", "1", "-W", "1", &gateway])
                .then_some(())
        });
        machine.network.ip("addr flush dev eth0");
        machine
    }

    fn answers(&self, applet: &str, words: &[&str]) -> bool {
        let mut command = Command::new("busybox");
        command.arg(applet).args(words);
        Background::start(self.network.enter(&command), b"")
            .wait()
            .code
            == 0
    }

    fn pings(&self, address: &str) -> bool {
        self.answers("ping", &["-c", "1", "-w", "5", address])
    }

    /// What it is told by DHCP, as `ip=…` and so on, and takes.
    fn asks(&self, scratch: &std::path::Path) -> String {
        let told = scratch.join("told");
        let script = scratch.join("script");
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nenv > {}\n\
             ip addr add $ip/24 dev eth0\nip route add default via $router\n",
            told.display()
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let script = script.to_str().unwrap();
        let words = [
            "-i", "eth0", "-f", "-n", "-q", "-t", "5", "-T", "1", "-s", script,
        ];
        assert!(self.answers("udhcpc", &words), "no lease");
        fs::read_to_string(told).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(plug) = self.plug.take() {
            plug.signal(Signal::SIGKILL);
            plug.wait();
        }
    }
}

fn socket(world: &Internet) -> String {
    let shown = world.sampan(&["network", "show", "lab", "--format", "json"]);
    shown.ok().json()["socket"]
        .as_str()
        .expect("a socket")
        .to_owned()
}

/// The processes of the network's: those whose command has these words.
fn pids(world: &Internet, words: &str) -> Vec<i32> {
    let root = world.env.root().display().to_string();
    let all = processes().into_iter();
    all.filter(|(_, line)| line.contains(words) && line.contains(&root))
        .map(|(pid, _)| pid as i32)
        .collect()
}

fn end(pids: Vec<i32>) {
    assert_eq!(pids.len(), 1, "{pids:?}");
    kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
}

#[test]
fn a_machine_on_the_switch_and_a_container_find_each_other_and_the_host_leads_both_out() {
    let world = Internet::new();
    let before = world.rules();
    world
        .sampan(&["network", "create", "lab", "--kind", "vde"])
        .ok();
    let web = world.guest("web", &["lab"]);
    let own = web.addresses();
    let machine = Machine::plugged_into(&world, &socket(&world));
    // By DHCP, from the part of the subnet that no container gets.
    let told = machine.asks(world.env.scratch());
    let line = told.lines().find_map(|line| line.strip_prefix("ip="));
    let address = line.unwrap().to_owned();
    let last: u8 = address.rsplit('.').next().unwrap().parse().unwrap();
    assert!(last >= 192, "{told}");
    assert!(machine.pings(&own[0]), "no way to the container");
    assert!(web.pings(&address, None), "no way to the machine");
    for (who, reached) in [
        ("machine", machine.pings(PEER_4)),
        ("web", web.pings(PEER_4, None)),
        ("web", web.pings(PEER_6, None)),
    ] {
        assert!(reached, "{who} does not get out");
    }
    // With an address of its own choice.
    machine.network.ip("addr flush dev eth0");
    let gateway = world.gateway("lab", "ipv4");
    let (subnet, _) = gateway.rsplit_once('.').unwrap();
    machine
        .network
        .ip(&format!("addr add {subnet}.250/24 dev eth0"));
    assert!(machine.pings(&own[0]) && machine.pings(&gateway));
    // The container is held to its own address here too.
    web.ip(&format!("addr add {subnet}.251/24 dev eth0"));
    assert!(!web.pings(&format!("{subnet}.250"), Some(&format!("{subnet}.251"))));
    drop(machine);
    world.sampan(&["destroy", "--force", "web"]).ok();
    let place = socket(&world);
    world.sampan(&["network", "rm", "lab"]).ok();
    assert!(!PathBuf::from(place).exists());
    assert_eq!(pids(&world, "switch"), Vec::<i32>::new());
    assert_eq!(world.host.interfaces(), ["wan0"]);
    assert_eq!(world.rules(), before);
}

#[test]
fn a_switch_or_keeper_that_is_killed_comes_back_and_nothing_of_it_stays() {
    let world = Internet::new();
    world
        .sampan(&["network", "create", "lab", "--kind", "vde"])
        .ok();
    world.sampan(&["network", "up", "lab"]).ok();
    let socket = socket(&world);
    let ports = || world.host.ip("-brief link show master lab");
    assert!(ports().contains("vde-"), "{}", ports());
    let switch = || pids(&world, "vde_switch");
    let old = switch();
    end(old.clone());
    deadline_of("another switch", || {
        let new = switch();
        (new.len() == 1 && new != old && ports().contains("vde-")).then_some(())
    });
    drop(Machine::plugged_into(&world, &socket));
    // Without its keeper the switch ends; the next start or `up` makes both anew.
    end(pids(&world, "network-service switch"));
    deadline_of("the switch ends", || {
        (switch().is_empty() && ports().is_empty()).then_some(())
    });
    assert!(!PathBuf::from(&socket).join("ctl").exists());
    world.sampan(&["network", "up", "lab"]).ok();
    drop(Machine::plugged_into(&world, &socket));
    world.sampan(&["network", "down", "lab"]).ok();
    assert_eq!(pids(&world, "switch"), Vec::<i32>::new());
    assert_eq!(world.host.interfaces(), ["wan0"]);
}

#[test]
fn who_may_plug_in_is_said_by_a_group_and_a_place_that_it_can_reach() {
    let world = Internet::new();
    let create = ["network", "create", "lab", "--kind", "vde"];
    let refused = |more: &[&str], why: &str| {
        let ran = world.sampan(&[&create[..], more].concat());
        assert!(ran.code != 0 && ran.stderr.contains(why), "{}", ran.stderr);
    };
    refused(&["-o", "group=daemon"], "needs a socket where its group");
    refused(&["-o", "socket=here"], "not the absolute path");
    refused(&["-o", "group=a b"], "not the name of a group");
    let place = world.env.scratch().join("ctl");
    let option = format!("socket={}", place.display());
    world
        .sampan(&[&create[..], &["-o", "group=daemon", "-o", &option]].concat())
        .ok();
    world.sampan(&["network", "up", "lab"]).ok();
    let meta = fs::metadata(&place).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o770);
    assert_eq!(std::os::unix::fs::MetadataExt::gid(&meta), 1);
    // Changed while it is up: root's alone.
    world.sampan(&["network", "set", "lab", "group="]).ok();
    deadline_of("another switch", || {
        let mode = fs::metadata(&place).map(|meta| meta.permissions().mode() & 0o777);
        (mode.ok() == Some(0o700)).then_some(())
    });
    let ran = world.sampan(&[
        "network",
        "create",
        "dark",
        "--kind",
        "nat",
        "-o",
        "group=daemon",
    ]);
    assert!(
        ran.stderr.contains("only a network of the kind vde"),
        "{}",
        ran.stderr
    );
    world
        .sampan(&["network", "set", "lab", "group=nobody-here"])
        .failed();
    // It is as it was.
    let meta = fs::metadata(&place).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o700);
    world.sampan(&["network", "rm", "lab"]).ok();
    assert_eq!(world.host.interfaces(), ["wan0"]);
}
