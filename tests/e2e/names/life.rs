//! How the service begins, goes on and ends.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sampan_tests::{deadline_of, processes};
use serde_json::json;

use super::Scene;

fn end(pid: u32) {
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
}

/// Also a zombie has no command any more.
fn runs(pid: u32) -> bool {
    let all = processes();
    all.iter()
        .any(|(other, command)| *other == pid && !command.is_empty())
}

#[test]
fn a_killed_server_comes_back_and_answers() {
    let scene = Scene::new();
    scene.ensure();
    for _ in 0..3 {
        let (supervisor, server) = scene.processes();
        end(server);
        // The question waits in the socket meanwhile.
        assert_eq!(scene.dig("@10.9.0.1 +short web A"), "10.9.0.9\n");
        let (same, other) = scene.processes();
        assert_eq!(supervisor, same);
        assert_ne!(server, other);
    }
    let log = fs::read_to_string(scene.directory().join("service/log")).unwrap();
    assert!(log.contains("the server has ended"), "{log}");
}

#[test]
fn a_server_comes_back_after_an_upgrade_too() {
    let scene = Scene::new();
    let copy = scene.env.scratch().join("sampan");
    fs::copy(sampan_tests::TestEnvironment::binary(), &copy).unwrap();
    let command = scene.command_of(&copy, &["ensure", "br0"]);
    let table = scene.table.to_string();
    let ensured = sampan_tests::Background::start(command, table.as_bytes());
    ensured.wait().ok();
    // The program that runs has no path any more.
    fs::remove_file(&copy).unwrap();
    end(scene.processes().1);
    assert_eq!(scene.dig("@10.9.0.1 +short web A"), "10.9.0.9\n");
}

#[test]
fn a_network_of_65532_is_answered_and_changed() {
    let mut scene = Scene::new();
    let hosts = (2..65_534_u32).map(|n| {
        let [_, _, a, b] = n.to_be_bytes();
        let mac = [2, 0, 0, 0, a, b];
        json!({ "name": format!("container-{n}"), "mac": mac, "ipv4": format!("10.9.{a}.{b}"), "ipv6": format!("fd09::{n:x}") })
    });
    scene.table["hosts"] = hosts.collect();
    scene.table["gateway4"] = json!(["10.9.0.1", 16]);
    scene.ensure();
    let before = scene.processes();
    scene.service(&["update"]).ok();
    let found = scene.dig("@10.9.0.1 +short container-65000");
    assert_eq!(found, "10.9.253.232\n");
    assert_eq!(scene.processes(), before, "it was started anew");
}

#[test]
fn a_killed_supervisor_takes_its_server_along_and_another_is_started() {
    let scene = Scene::new();
    scene.ensure();
    let (supervisor, server) = scene.processes();
    end(supervisor);
    deadline_of("the server has ended", || (!runs(server)).then_some(()));
    scene.ensure();
    assert_eq!(scene.dig("@10.9.0.1 +short web A"), "10.9.0.9\n");
}

#[test]
fn stopping_leaves_nothing_and_is_no_error_when_there_is_nothing() {
    let scene = Scene::new();
    scene.ensure();
    let (supervisor, server) = scene.processes();
    scene.service(&["stop"]).ok();
    let left: Vec<_> = fs::read_dir(scene.directory()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!runs(supervisor) && !runs(server));
    scene.service(&["stop"]).ok();
    // Nothing is started by a change.
    scene.service(&["update"]).ok();
    assert_eq!(fs::read_dir(scene.directory()).unwrap().count(), 0);
    // What a killed one left goes too.
    scene.ensure();
    end(scene.processes().0);
    scene.service(&["stop"]).ok();
    assert_eq!(fs::read_dir(scene.directory()).unwrap().count(), 0);
}

#[test]
fn a_changed_table_is_what_is_answered_when_the_change_is_done() {
    let mut scene = Scene::new();
    scene.ensure();
    let before = scene.processes();
    for last in 20..40 {
        let ip = format!("10.9.0.{last}");
        scene.table["hosts"][0]["ipv4"] = json!(ip);
        let word = ["update", "ensure"][last % 2];
        scene.service(&[word, "br0"][..1 + last % 2]).ok();
        assert_eq!(scene.dig("@10.9.0.1 +short web A"), format!("{ip}\n"));
    }
    assert_eq!(scene.processes(), before);
}

#[test]
fn a_network_with_other_addresses_or_another_bridge_is_answered_there() {
    let mut scene = Scene::new();
    scene.ensure();
    scene.host.ip("addr add 10.9.0.2/24 dev br0");
    scene.table["gateway4"] = json!(["10.9.0.2", 24]);
    scene.service(&["update"]).ok();
    assert_eq!(scene.dig("@10.9.0.2 +short web A"), "10.9.0.9\n");
    // Sockets that belong to the bridge before would hear nothing.
    scene.host.ip("link del br0");
    scene.host.ip("link add br0 type bridge");
    scene.host.ip("addr add 10.9.0.2/24 dev br0");
    scene.host.ip("link set br0 up");
    scene.ensure();
    let guest = scene.guest(super::MAC);
    guest.ip("addr add 10.9.0.9/24 dev eth0");
    assert_eq!(
        super::dig_in(&guest, "@10.9.0.2 +short web A"),
        "10.9.0.9\n"
    );
    scene.table["dns"] = json!(false);
    scene.table["dhcp"] = json!(false);
    scene.ensure();
    assert_eq!(fs::read_dir(scene.directory()).unwrap().count(), 0);
}

#[test]
fn what_stands_in_the_way_is_told_with_a_hint_and_nothing_stays() {
    let scene = Scene::new();
    let taken = scene
        .host
        .within(|| std::net::UdpSocket::bind("0.0.0.0:53").unwrap());
    let failed = scene.service(&["ensure", "br0"]).failed();
    assert!(failed.stderr.contains("10.9.0.1:53"), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("hint: another program"),
        "{}",
        failed.stderr
    );
    assert_eq!(fs::read_dir(scene.directory()).unwrap().count(), 0);
    drop(taken);
    let failed = scene.service(&["ensure", "br9"]).failed();
    assert!(failed.stderr.contains("br9"), "{}", failed.stderr);
    scene.ensure();
}

#[test]
fn many_at_once_start_one() {
    let scene = Scene::new();
    let table = scene.table.to_string();
    let all: Vec<_> = (0..8)
        .map(|_| {
            let command = scene.command(&["ensure", "br0"]);
            sampan_tests::Background::start(command, table.as_bytes())
        })
        .collect();
    for one in all {
        one.wait().ok();
    }
    let directory = scene.directory().display().to_string();
    let supervisors = processes();
    let supervisors = supervisors
        .iter()
        .filter(|(_, c)| c.contains("network-service run") && c.contains(&directory));
    assert_eq!(supervisors.count(), 1);
}

#[test]
fn the_server_has_one_thread_no_power_and_no_files() {
    let scene = Scene::new();
    scene.ensure();
    let (supervisor, server) = scene.processes();
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("{key} in {status}"))
            .trim()
            .to_owned()
    };
    assert_eq!(value("Threads:"), "1");
    assert_eq!(value("Seccomp:"), "2");
    assert_eq!(value("NoNewPrivs:"), "1");
    for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert!(!value("Uid:").starts_with("0\t"), "{}", value("Uid:"));
    let namespace = |pid, kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    for kind in ["user", "mnt", "pid", "ipc", "uts"] {
        assert_ne!(
            namespace(server, kind),
            namespace(supervisor, kind),
            "{kind}"
        );
    }
    assert_eq!(namespace(server, "net"), namespace(supervisor, "net"));
    let root = fs::read_dir(format!("/proc/{server}/root/")).unwrap();
    for entry in root {
        let name = entry.unwrap().file_name();
        assert!(!["etc", "home", "root", "var", "run", "sys"].contains(&&*name.to_string_lossy()));
    }
}
