//! Networks that a container gets and loses while it runs, and while it does not.

use std::{fs, time::Duration};

use sampan_tests::{
    Internet,
    internet::{PEER_4, ask_tcp},
    wait_until,
};

#[test]
fn a_running_container_gets_a_network_at_once_keeps_it_over_restarts_and_loses_it_at_once() {
    let world = Internet::new();
    world.sampan(&["network", "create", "lab"]).ok();
    let before = world.rules();
    let web = world.guest("web", &["none"]);
    assert_eq!(web.addresses(), Vec::<String>::new());
    let said = world.sampan(&["network", "attach", "sampan0", "web"]).ok();
    assert!(said.stderr.contains("as eth0"), "{said:?}");
    let web = world.running("web");
    assert!(web.pings(PEER_4, None), "no way out");
    let said = world.sampan(&["network", "attach", "lab", "web"]).ok();
    assert!(said.stderr.contains("as eth1"), "{said:?}");
    let resolvers = fs::read_to_string(world.env.state().join("web/rootfs/etc/resolv.conf"));
    let resolvers = resolvers.unwrap();
    assert!(
        resolvers.contains(&world.gateway("sampan0", "ipv4")),
        "{resolvers}"
    );
    // A neighbour in the second network.
    let db = world.guest("db", &["lab"]);
    let web = world.running("web");
    assert_eq!(web.addresses().len(), 4, "{:?}", web.addresses());
    assert!(web.pings(&db.addresses()[0], None), "no neighbour");
    for line in ["lxc.net.0.link", "lxc.net.1.link"] {
        assert_ne!(world.config("web", line), "");
    }
    // It holds to its own addresses there too.
    web.ip("address add 10.99.0.9/24 dev eth1");
    assert!(!web.pings(&db.addresses()[0], Some("10.99.0.9")));
    let addresses = world.running("web").addresses();

    world.sampan(&["restart", "web"]).ok();
    let again: Vec<_> = world.running("web").addresses();
    let own: Vec<_> = addresses.iter().filter(|a| *a != "10.99.0.9").collect();
    assert_eq!(again.iter().collect::<Vec<_>>(), own);
    // The guest calls it something else by now, and it goes all the same.
    world.running("web").ip("link set eth1 down");
    world.running("web").ip("link set eth1 name other");
    world.sampan(&["network", "detach", "lab", "web"]).ok();
    let web = world.running("web");
    assert_eq!(web.addresses().len(), 2, "{:?}", web.addresses());
    assert!(!web.ip("link show").contains("other"));
    world.sampan(&["network", "detach", "sampan0", "web"]).ok();
    assert_eq!(world.config("web", "lxc.net.0.type"), "empty");
    assert_eq!(world.running("web").addresses(), Vec::<String>::new());

    world.sampan(&["destroy", "--force", "web", "db"]).ok();
    world.sampan(&["network", "rm", "lab", "sampan0"]).ok();
    assert_eq!(world.rules(), before);
    assert_eq!(world.host.interfaces(), ["wan0"]);
}

#[test]
fn interfaces_keep_their_names_when_one_before_them_goes() {
    let world = Internet::new();
    for name in ["lab", "dark"] {
        world.sampan(&["network", "create", name]).ok();
    }
    world.guest("web", &["sampan0", "lab"]);
    world.sampan(&["network", "detach", "sampan0", "web"]).ok();
    let interfaces = || {
        let web = world.running("web");
        let shown = web.ip("-brief link show");
        let names = shown
            .lines()
            .filter_map(|line| line.split(['@', ' ']).next());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(interfaces(), ["eth1", "lo"]);
    world.sampan(&["restart", "web"]).ok();
    assert_eq!(interfaces(), ["eth1", "lo"]);
    world
        .sampan(&["network", "attach", "dark", "web", "--interface", "dark0"])
        .ok();
    assert_eq!(interfaces(), ["dark0", "eth1", "lo"]);
    world.sampan(&["network", "attach", "sampan0", "web"]).ok();
    assert_eq!(interfaces(), ["dark0", "eth0", "eth1", "lo"]);
    // After a reboot of the guest, which the monitor does by itself.
    world.sampan(&["restart", "web"]).ok();
    assert_eq!(interfaces(), ["dark0", "eth0", "eth1", "lo"]);
}

#[test]
fn one_that_does_not_run_has_it_from_its_next_start() {
    let world = Internet::new();
    world.sampan(&["network", "create", "lab"]).ok();
    world.create("web", &["sampan0"]);
    let said = world.sampan(&["network", "attach", "lab", "web"]).ok();
    assert!(said.stderr.contains("from its next start"), "{said:?}");
    world.sampan(&["start", "web"]).ok();
    assert_eq!(world.running("web").addresses().len(), 4);
    world.sampan(&["stop", "--kill", "web"]).ok();
    world.sampan(&["network", "detach", "lab", "web"]).ok();
    world.sampan(&["start", "web"]).ok();
    assert_eq!(world.running("web").addresses().len(), 2);
}

#[test]
fn interfaces_of_the_host_are_given_and_taken_back() {
    let world = Internet::new();
    let host = &world.host;
    host.ip("link add card type veth peer name lower");
    for (name, kind, link) in [("cards", "phys", "card"), ("above", "macvlan", "lower")] {
        let create = [
            "network",
            "create",
            name,
            "--kind",
            kind,
            "--existing",
            link,
        ];
        world.sampan(&create).ok();
    }
    let web = world.guest("web", &["none"]);
    world.sampan(&["network", "attach", "cards", "web"]).ok();
    world.sampan(&["network", "attach", "above", "web"]).ok();
    assert!(!host.interfaces().contains(&"card".to_owned()));
    assert!(web.ip("-details link show eth1").contains("macvlan"));
    world.sampan(&["network", "detach", "above", "web"]).ok();
    assert!(!web.ip("link show").contains("eth1"));
    web.ip("link set eth0 down");
    web.ip("link set eth0 name mine");
    world.sampan(&["network", "detach", "cards", "web"]).ok();
    assert!(host.interfaces().contains(&"card".to_owned()));
    // And from one that ends.
    world.sampan(&["network", "attach", "cards", "web"]).ok();
    world.sampan(&["stop", "--kill", "web"]).ok();
    assert!(host.interfaces().contains(&"card".to_owned()));
}

#[test]
fn what_cannot_be_attached_or_detached_is_an_error_that_changes_nothing() {
    let world = Internet::new();
    world.sampan(&["network", "create", "lab"]).ok();
    world.guest("web", &["sampan0"]);
    world.sampan(&["forward", "web", "8080:80"]).ok();
    let config = || world.sampan(&["config", "show", "web"]).ok().stdout;
    let before = config();
    let refused = |words: &[&str], why: &str| {
        let ran = world.sampan(words);
        assert_ne!(ran.code, 0, "{words:?}");
        assert!(ran.stderr.contains(why), "{words:?}: {}", ran.stderr);
        assert_eq!(config(), before, "{words:?}");
    };
    refused(&["network", "attach", "sampan0", "web"], "already");
    refused(&["network", "attach", "nowhere", "web"], "no network");
    refused(&["network", "attach", "lab", "nobody"], "nobody");
    refused(&["network", "detach", "lab", "web"], "not in the network");
    refused(
        &["network", "detach", "sampan0", "web"],
        "forward rm web 8080/tcp",
    );
    let named = ["network", "attach", "lab", "web", "--interface"];
    refused(&[&named[..], &["eth0"]].concat(), "eth0 already");
    refused(&[&named[..], &["a/b"]].concat(), "a/b");
    // Found only when it is made: the guest has one of that name by itself.
    let told = world.env.state().join("web/rootfs/etc/systemd/network");
    fs::create_dir_all(&told).unwrap();
    world
        .running("web")
        .ip("link add eth1 type veth peer name eth2");
    let interfaces = world.host.interfaces().len();
    refused(&["network", "attach", "lab", "web"], "eth1");
    assert_eq!(told.read_dir().unwrap().count(), 0, "the guest was told");
    // The bridge of the network stays up, and nothing else.
    assert_eq!(world.host.interfaces().len(), interfaces + 1);
    // Old words in two files cannot be numbered one by one.
    world.create("old", &["none"]);
    let included = world.env.scratch().join("included");
    fs::write(&included, "lxc.network.type = empty\n").unwrap();
    let path = world.env.state().join("old/config");
    let text = fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = text
        .lines()
        .filter(|l| !l.starts_with("lxc.net."))
        .collect();
    let text = format!(
        "{}\nlxc.include = {}\nlxc.network.type = veth\nlxc.network.name = own0\n",
        kept.join("\n"),
        included.display()
    );
    fs::write(&path, &text).unwrap();
    let ran = world.sampan(&["network", "attach", "lab", "old"]).failed();
    assert!(ran.stderr.contains("words of LXC 2"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    // Whose network is the host's has none to attach to.
    world.create("bare", &["none"]);
    world
        .sampan(&["config", "set", "bare", "lxc.net.0.type", "none"])
        .ok();
    let ran = world.sampan(&["network", "attach", "lab", "bare"]);
    assert!(
        ran.stderr.contains("no network of its own"),
        "{}",
        ran.stderr
    );
}

#[test]
fn forwarded_ports_lead_by_a_network_that_was_attached() {
    let world = Internet::new();
    world.guest("web", &["none"]);
    world.sampan(&["network", "attach", "sampan0", "web"]).ok();
    let web = world.running("web");
    web.serve_tcp(80);
    world.sampan(&["forward", "web", "8080:80"]).ok();
    let asked = world.peer.within(|| ask_tcp("192.0.2.1", 8080));
    assert_eq!(asked.unwrap(), PEER_4);
}

#[test]
fn a_network_that_was_attached_goes_with_a_killed_monitor() {
    let world = Internet::new();
    world.sampan(&["network", "create", "lab"]).ok();
    world.guest("idle", &["sampan0", "lab"]);
    let (interfaces, rules) = (world.host.interfaces(), world.rules());
    world.guest("web", &["none"]);
    for network in ["sampan0", "lab"] {
        world.sampan(&["network", "attach", network, "web"]).ok();
    }
    assert_eq!(world.host.interfaces().len(), interfaces.len() + 2);
    world.running("web").kill_monitor();
    let swept = wait_until(Duration::from_secs(10), || {
        world.sampan(&["ls"]).ok();
        (world.host.interfaces() == interfaces && world.rules() == rules).then_some(())
    });
    assert!(swept.is_some(), "{}", world.rules());
}
