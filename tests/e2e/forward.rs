//! Ports of the host that lead to containers.

use sampan_tests::{
    Internet,
    internet::{ask_tcp, ask_udp, serve_udp},
};

/// The host's addresses.
const HOST_4: &str = "192.0.2.1";
const HOST_6: &str = "2001:db8::1";

#[test]
fn a_port_leads_to_a_container_over_both_versions_tcp_and_udp_from_everywhere() {
    let world = Internet::new();
    let web = world.guest("web", &["sampan0"]);
    world
        .sampan(&["forward", "web", "8080:80", "5353:53/udp"])
        .ok();
    web.serve_tcp(80);
    web.within(|| serve_udp(53));
    for (address, from) in [(HOST_4, "192.0.2.2"), (HOST_6, "2001:db8::2")] {
        let tcp = world.peer.within(|| ask_tcp(address, 8080));
        assert_eq!(tcp.expect(address), from);
        let udp = world.peer.within(|| ask_udp(address, 5353));
        assert_eq!(udp.expect(address), from);
    }
    // From the host itself, by any of its addresses.
    for address in ["127.0.0.1", HOST_4, HOST_6] {
        world.host.within(|| ask_tcp(address, 8080)).expect(address);
        world.host.within(|| ask_udp(address, 5353)).expect(address);
    }
    // From its neighbours.
    let db = world.guest("db", &["sampan0"]);
    for address in [HOST_4, HOST_6] {
        db.within(|| ask_tcp(address, 8080)).expect(address);
        db.within(|| ask_udp(address, 5353)).expect(address);
    }
    // The protocol counts.
    world.peer.within(|| ask_tcp(HOST_4, 5353)).unwrap_err();
}

#[test]
fn a_forward_survives_a_restart_and_a_rename_and_goes_with_the_container() {
    let world = Internet::new();
    world.create("web", &["sampan0"]);
    world.sampan(&["forward", "web", "8080:80"]).ok();
    world.sampan(&["start", "web"]).ok();
    for _ in 0..2 {
        world.running("web").serve_tcp(80);
        world.peer.within(|| ask_tcp(HOST_4, 8080)).unwrap();
        world.sampan(&["restart", "--kill", "web"]).ok();
    }
    world.sampan(&["stop", "--kill", "web"]).ok();
    world.peer.within(|| ask_tcp(HOST_4, 8080)).unwrap_err();
    world.sampan(&["rename", "web", "shop"]).ok();
    world.sampan(&["start", "shop"]).ok();
    world.running("shop").serve_tcp(80);
    world.peer.within(|| ask_tcp(HOST_4, 8080)).unwrap();
    // Not twice, and not to a copy.
    world.sampan(&["stop", "--kill", "shop"]).ok();
    world.sampan(&["copy", "shop", "twin"]).ok();
    let taken = world.sampan(&["forward", "twin", "8080:80"]).failed();
    assert!(
        taken.stderr.contains("leads to container \"shop\""),
        "{}",
        taken.stderr
    );
    let listed = world
        .sampan(&["forward", "ls", "--format", "json"])
        .ok()
        .json();
    let only =
        serde_json::json!([{"container": "shop", "host": 8080, "port": 80, "protocol": "tcp"}]);
    assert_eq!(listed, only);
    world.sampan(&["destroy", "--force", "shop"]).ok();
    world.sampan(&["forward", "twin", "8080:80"]).ok();
}

#[test]
fn a_forward_of_a_running_container_is_taken_away_at_once_and_a_used_port_is_not_given() {
    let world = Internet::new();
    let web = world.guest("web", &["sampan0"]);
    web.serve_tcp(80);
    world.sampan(&["forward", "web", "8080:80", "8081:80"]).ok();
    world.peer.within(|| ask_tcp(HOST_4, 8080)).unwrap();
    world.sampan(&["forward", "rm", "web", "8080"]).ok();
    for address in [HOST_4, HOST_6] {
        world.peer.within(|| ask_tcp(address, 8080)).unwrap_err();
    }
    world.peer.within(|| ask_tcp(HOST_4, 8081)).unwrap();
    let gone = world.sampan(&["forward", "rm", "web", "8080"]).failed();
    assert!(gone.stderr.contains("does not lead to"), "{}", gone.stderr);
    let program = world
        .host
        .within(|| std::net::TcpListener::bind("0.0.0.0:9000").unwrap());
    let used = world.sampan(&["forward", "web", "9000:80"]).failed();
    assert!(used.stderr.contains("used by a program"), "{}", used.stderr);
    drop(program);
    let wrong = world.sampan(&["forward", "web", "http:80"]).failed();
    assert!(wrong.stderr.contains("HOST:CONTAINER"), "{}", wrong.stderr);
}
