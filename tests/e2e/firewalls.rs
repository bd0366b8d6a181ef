//! Networks beside the packet filters of others: docker, ufw, firewalld and LXC, as Debian has them.
//!
//! Each is put in place by its own programs, before a network comes up and again while it is up.

use sampan_tests::{
    DebianHost, deadline_of,
    internet::{PEER_4, PEER_6, ask_tcp},
};

/// A container `web` reaches the outside, the host's names, and is reached by a port of the host.
#[track_caller]
fn all_is_reached(host: &DebianHost) {
    let world = &host.world;
    let web = world.running("web");
    for address in [PEER_4, PEER_6] {
        assert!(web.pings(address, None), "{address}: {}", world.rules());
    }
    let gateway = world.gateway("sampan0", "ipv4");
    assert!(web.resolves("web.sampan", &gateway), "{}", world.rules());
    for address in ["192.0.2.1", "2001:db8::1"] {
        let asked = world.peer.within(|| ask_tcp(address, 8080));
        assert!(asked.is_ok(), "{address}: {asked:?} {}", world.rules());
    }
}

/// The whole of it beside what `put` puts in place; `again` makes its rules anew.
#[track_caller]
fn beside(host: &DebianHost, name: &str, put: impl Fn(), again: impl Fn()) {
    let world = &host.world;
    put();
    for renewed in [false, true] {
        let before = world.rules();
        let web = world.guest("web", &["sampan0"]);
        web.serve_tcp(80);
        world.sampan(&["forward", "web", "8080:80"]).ok();
        all_is_reached(host);
        let shown = world.sampan(&["network", "show", "sampan0"]).ok().stdout;
        assert!(shown.contains(&format!("{name} open")), "{shown}");
        if renewed {
            again();
            let said = world.sampan(&["network", "up", "sampan0"]).ok().stderr;
            assert!(said.contains(&format!("{name} lets it through")), "{said}");
            all_is_reached(host);
        }
        world.sampan(&["destroy", "--force", "web"]).ok();
        world.sampan(&["network", "rm", "sampan0"]).ok();
        let after = world.rules();
        assert!(!after.contains("sampan"), "{after}");
        if renewed {
            // As if no network had been there.
            again();
        } else {
            assert_eq!(after, before);
        }
        assert_eq!(world.rules(), after);
    }
}

#[test]
fn docker_drops_what_is_forwarded_and_networks_work_beside_it() {
    let host = DebianHost::new();
    let put = || {
        host.run("rm -rf /run/log /run/docker.pid /run/exec").ok();
        host.start(
            "dockerd --data-root /run/data --exec-root /run/exec --pidfile /run/docker.pid \
             --host unix:///run/docker.sock --storage-driver vfs > /run/log 2>&1",
        );
        let log = host.file("/run/log");
        deadline_of("docker's rules", || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            said.contains("completed initialization").then_some(())
        });
        let rules = host.run("iptables -S FORWARD").ok().stdout;
        assert!(rules.contains("-P FORWARD DROP"), "{rules}");
    };
    beside(&host, "iptables", put, || {
        host.end_all();
        // As a restart does whose rules were flushed meanwhile.
        host.run("iptables -F FORWARD").ok();
        put();
    });
}

#[test]
fn ufw_drops_what_it_does_not_know_and_networks_work_beside_it() {
    let host = DebianHost::new();
    let put = || {
        host.run("ufw --force enable").ok();
        let rules = host.run("iptables -S").ok().stdout;
        for policy in ["-P INPUT DROP", "-P FORWARD DROP"] {
            assert!(rules.contains(policy), "{rules}");
        }
    };
    beside(&host, "iptables", put, || {
        host.run("ufw reload").ok();
    });
}

/// Starts firewalld with the bus that it needs; `client` asks it.
#[track_caller]
fn start_firewalld(host: &DebianHost, client: &str) {
    host.run("mkdir -p /run/dbus").ok();
    host.start("dbus-daemon --system --nofork --nopidfile");
    let socket = host.file("/run/dbus/system_bus_socket");
    deadline_of("the bus", || socket.exists().then_some(()));
    host.start("firewalld --nofork --nopid");
    let asked = format!("{client} --state");
    deadline_of("firewalld's rules", || {
        (host.run(&asked).code == 0).then_some(())
    });
}

#[test]
fn firewalld_is_told_of_networks_and_forgets_them() {
    let host = DebianHost::new();
    let settle = || {
        for change in [
            "--zone=public --add-interface=wan0",
            // It keeps the empty chains of a zone that has been in use.
            "--zone=trusted --add-interface=other0",
            "--zone=trusted --remove-interface=other0",
        ] {
            host.run(&format!("firewall-cmd {change}")).ok();
        }
    };
    let put = || {
        start_firewalld(&host, "firewall-cmd");
        settle();
    };
    beside(&host, "firewalld", put, || {
        host.run("firewall-cmd --reload").ok();
        settle();
    });
}

#[test]
fn a_firewall_that_cannot_be_opened_is_told_of_with_the_command_that_opens_it() {
    let host = DebianHost::new();
    let world = &host.world;
    host.run("mv /usr/bin/firewall-cmd /usr/bin/theirs").ok();
    start_firewalld(&host, "theirs");
    // It starts all the same.
    let web = world.guest("web", &["sampan0"]);
    assert!(!web.pings(PEER_4, None));
    let command = "firewall-cmd --zone=trusted --add-interface=sampan0";
    let said = world.sampan(&["network", "up", "sampan0"]).ok().stderr;
    assert!(said.contains(command), "{said}");
    let found = world.sampan(&["doctor"]).stdout;
    assert!(found.contains(command), "{found}");
    let typed = command.replace("firewall-cmd", "theirs");
    host.run(&typed).ok();
    assert!(web.pings(PEER_4, None), "{}", world.rules());
    let found = world.sampan(&["doctor"]).stdout;
    assert!(found.contains("firewalld lets sampan0 through"), "{found}");
}

#[test]
fn lxcs_own_network_and_ours_are_beside_each_other() {
    let host = DebianHost::new();
    let world = &host.world;
    host.run("/usr/libexec/lxc/lxc-net start").ok();
    let before = world.rules();
    assert!(before.contains("lxc"), "{before}");
    let web = world.guest("web", &["sampan0"]);
    assert!(web.pings(PEER_4, None), "{}", world.rules());
    let own = world.gateway("sampan0", "ipv4");
    assert!(!own.starts_with("10.0.3."), "{own}");
    // A container of LXC's, as far as the network is concerned.
    let theirs = sampan_tests::HostNetwork::new();
    world.host.plug("lxcbr0", &theirs, "00:16:3e:00:00:77");
    theirs.ip("addr add 10.0.3.77/24 dev eth0");
    theirs.ip("route add default via 10.0.3.1");
    theirs.run("busybox", &["ping", "-c", "1", "-w", "5", PEER_4]);
    world.sampan(&["destroy", "--force", "web"]).ok();
    world.sampan(&["network", "rm", "sampan0"]).ok();
    assert_eq!(world.rules(), before);
    theirs.run("busybox", &["ping", "-c", "1", "-w", "5", PEER_4]);
    host.run("/usr/libexec/lxc/lxc-net stop").ok();
}
