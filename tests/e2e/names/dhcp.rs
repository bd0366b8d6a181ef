//! Addresses for guests that ask.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use sampan_tests::{Background, HostNetwork, deadline_of};

use super::{MAC, Scene};

/// A script that a client runs with what it was told in its environment.
fn script(scene: &Scene, text: &str) -> PathBuf {
    let path = scene.env.scratch().join("script");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn udhcpc(scene: &Scene, guest: &HostNetwork, more: &[&str]) -> (i32, String) {
    let told = scene.env.scratch().join("told");
    let _ = fs::remove_file(&told);
    let text = format!("[ \"$1\" = bound ] && env > {}; exit 0", told.display());
    let mut client = Command::new("busybox");
    client.args([
        "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "3", "-T", "1",
    ]);
    client.arg("-s").arg(script(scene, &text)).args(more);
    let ran = Background::start(guest.enter(&client), b"").wait();
    (ran.code, fs::read_to_string(told).unwrap_or(ran.stderr))
}

#[test]
fn busyboxs_client_gets_the_recorded_address_and_all_that_belongs_to_it() {
    let scene = Scene::new();
    scene.ensure();
    let guest = scene.guest(MAC);
    // -B asks for broadcasts, -C sends no id of the client.
    for more in [&[][..], &["-B"], &["-C"], &["-r", "10.9.0.77"]] {
        let (code, told) = udhcpc(&scene, &guest, more);
        assert_eq!(code, 0, "{more:?}: {told}");
        for line in [
            "ip=10.9.0.9",
            "subnet=255.255.255.0",
            "router=10.9.0.1",
            "dns=10.9.0.1",
            "domain=sampan",
            "hostname=web",
            "lease=3600",
            "serverid=10.9.0.1",
        ] {
            assert!(
                told.lines().any(|l| l == line),
                "{more:?}: {line} is not in\n{told}"
            );
        }
    }
}

#[test]
fn a_stranger_gets_no_address() {
    let scene = Scene::new();
    scene.ensure();
    let guest = scene.guest("02:00:00:00:00:77");
    let (code, said) = udhcpc(&scene, &guest, &[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no lease"), "{said}");
}

#[test]
fn an_address_that_changed_is_given_at_the_next_request() {
    let mut scene = Scene::new();
    scene.ensure();
    let guest = scene.guest(MAC);
    assert_eq!(udhcpc(&scene, &guest, &[]).0, 0);
    scene.table["hosts"][0]["ipv4"] = serde_json::json!("10.9.0.19");
    scene.service(&["update"]).ok();
    let (_, told) = udhcpc(&scene, &guest, &["-r", "10.9.0.9"]);
    assert!(told.contains("ip=10.9.0.19\n"), "{told}");
}

#[test]
fn iscs_client_gets_it_keeps_it_and_gives_it_back() {
    let scene = Scene::new();
    scene.ensure();
    let guest = scene.guest(MAC);
    let told = scene.env.scratch().join("told");
    // The address is set, so that the renewal is a message of an ordinary socket.
    let text = format!(
        "[ -n \"$new_ip_address\" ] || exit 0
         ip addr replace $new_ip_address/24 dev $interface
         (echo reason=$reason; env) > {told}.new && mv {told}.new {told}",
        told = told.display()
    );
    let script = script(&scene, &text);
    let file = |name: &str| scene.env.scratch().join(name);
    fs::write(file("conf"), "retry 1;\n").unwrap();
    let dhclient = |mode: &str| {
        let mut client = Command::new("dhclient");
        client.args(["-4", mode, "-v", "-d"]);
        client.arg("-sf").arg(&script).arg("-cf").arg(file("conf"));
        client
            .arg("-lf")
            .arg(file("leases"))
            .arg("-pf")
            .arg(file("pid"));
        client.arg("eth0");
        Background::start(guest.enter(&client), b"")
    };
    for reason in ["BOUND", "REBOOT"] {
        let _ = fs::remove_file(&told);
        let client = dhclient("-1");
        deadline_of("dhclient has an address", || told.exists().then_some(()));
        let text = fs::read_to_string(&told).unwrap();
        assert!(text.contains(&format!("reason={reason}")), "{text}");
        for line in [
            "new_ip_address=10.9.0.9",
            "new_subnet_mask=255.255.255.0",
            "new_broadcast_address=10.9.0.255",
            "new_routers=10.9.0.1",
            "new_domain_name_servers=10.9.0.1",
            "new_domain_name=sampan",
            "new_dhcp_lease_time=3600",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        // Else the next one would not know that it had one.
        deadline_of("dhclient has noted its lease", || {
            let text = fs::read_to_string(file("leases")).unwrap_or_default();
            (text.contains("10.9.0.9;") && text.ends_with("}\n")).then_some(())
        });
        client.signal(nix::sys::signal::Signal::SIGTERM);
        let _ = client.wait();
    }
    let released = dhclient("-r").wait().ok();
    assert!(
        released.stderr.contains("DHCPRELEASE"),
        "{}",
        released.stderr
    );
    assert_eq!(scene.dig("@10.9.0.1 +short web A"), "10.9.0.9\n");
}

#[test]
fn systemds_client_gets_it() {
    let scene = Scene::new();
    scene.ensure();
    let guest = scene.guest(MAC);
    // What a booted guest has: its own /run, and a /sys without udev.
    let network =
        "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n";
    let text = format!(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/network /run/systemd/netif &&
         mount -t sysfs -o ro none /sys && printf '{}' > /run/systemd/network/1.network &&
         chown -R systemd-network: /run/systemd/netif &&
         exec /lib/systemd/systemd-networkd",
        network.replace('\n', "\\n")
    );
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount").arg(script(&scene, &text));
    let networkd = Background::start(guest.enter(&unshare), b"");
    deadline_of("networkd has an address", || {
        guest
            .ip("addr show eth0")
            .contains("10.9.0.9/24")
            .then_some(())
    });
    deadline_of("networkd has a route", || {
        guest
            .ip("route")
            .contains("default via 10.9.0.1")
            .then_some(())
    });
    let run = format!("/proc/{}/root/run/systemd/netif/leases", networkd.id());
    let lease: String = fs::read_dir(run)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for line in [
        "ADDRESS=10.9.0.9",
        "NETMASK=255.255.255.0",
        "ROUTER=10.9.0.1",
        "SERVER_ADDRESS=10.9.0.1",
        "LIFETIME=3600",
        "DNS=10.9.0.1",
        "DOMAINNAME=sampan",
        "HOSTNAME=web",
    ] {
        assert!(
            lease.lines().any(|l| l == line),
            "{line} is not in\n{lease}"
        );
    }
    networkd.signal(nix::sys::signal::Signal::SIGTERM);
    let _ = networkd.wait();
}
