use std::fs::File;
use std::os::fd::AsFd;
use std::thread;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::config::NetworkAddress;
use crate::network::address;
use crate::network::link::{Guest, Veth, create_veth};

/// A host with `eth0` in a namespace of this thread's own, and a router at the other end.
struct Scene {
    netlink: Netlink,
    router: Netlink,
}

fn namespace() -> File {
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    })
    .join()
    .unwrap()
}

impl Scene {
    fn new() -> Scene {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let elsewhere = namespace();
        let mut netlink = Netlink::here().unwrap();
        let mut router = Netlink::inside(elsewhere.as_fd()).unwrap();
        let veth = Veth {
            host: "eth0",
            host_address: [2, 0, 0, 0, 0, 5],
            alias: "a test",
            bridge: None,
            guest: Guest {
                name: "lan0",
                namespace: elsewhere.as_fd(),
                address: None,
                mtu: None,
            },
        };
        create_veth(&mut netlink, &veth).unwrap();
        let other = link::find(&mut router, "lan0").unwrap().unwrap().index;
        link::set_up(&mut router, other).unwrap();
        address::add(&mut router, other, &of("192.0.2.1", 24)).unwrap();
        let own = link::find(&mut netlink, "eth0").unwrap().unwrap().index;
        address::add(&mut netlink, own, &of("192.0.2.5", 24)).unwrap();
        address::add(&mut netlink, own, &of("192.0.2.6", 24)).unwrap();
        address::add(&mut netlink, own, &of("fd02::5", 64)).unwrap();
        address::add_gateway(&mut netlink, own, "192.0.2.1".parse().unwrap()).unwrap();
        Scene { netlink, router }
    }

    fn facts(&mut self, name: &str) -> moved::Facts {
        let index = link::find(&mut self.netlink, name).unwrap().unwrap().index;
        read(&mut self.netlink, index).unwrap().facts()
    }
}

fn of(address: &str, bits: u8) -> NetworkAddress {
    NetworkAddress {
        address: address.parse().unwrap(),
        bits,
        said_broadcast: None,
    }
}

fn uplink() -> Uplink {
    Uplink {
        interface: "eth0".to_owned(),
        bridge: "br0".to_owned(),
    }
}

fn in_a_thread(test: impl FnOnce() + Send + 'static) {
    if nix::unistd::geteuid().is_root() {
        thread::spawn(test).join().unwrap();
    }
}

#[test]
fn the_bridge_takes_over_addresses_routes_and_hardware_address_and_gives_them_back() {
    in_a_thread(|| {
        let mut scene = Scene::new();
        let before = scene.facts("eth0");
        assert_eq!(before.addresses.len(), 3);
        uplink().put_up().unwrap();
        assert_eq!(scene.facts("br0"), before);
        assert_eq!(scene.facts("eth0"), moved::Facts::default());
        let bridge = link::find(&mut scene.netlink, "br0").unwrap().unwrap();
        assert_eq!(bridge.address, Some([2, 0, 0, 0, 0, 5]));
        // Again changes nothing.
        uplink().put_up().unwrap();
        assert_eq!(scene.facts("br0"), before);
        uplink().take_down().unwrap();
        assert_eq!(scene.facts("eth0"), before);
        assert!(link::find(&mut scene.netlink, "br0").unwrap().is_none());
    });
}

#[test]
fn a_gateway_that_stops_answering_has_everything_taken_back() {
    in_a_thread(|| {
        let mut scene = Scene::new();
        let before = scene.facts("eth0");
        let other = link::find(&mut scene.router, "lan0")
            .unwrap()
            .unwrap()
            .index;
        let router = &mut scene.router;
        let outcome = uplink().put_up_and(|| link::set_down(router, other).unwrap());
        let error = outcome.unwrap_err().chain();
        assert!(error.contains("192.0.2.1 does not answer"), "{error}");
        assert!(error.contains("everything is as it was"), "{error}");
        assert_eq!(scene.facts("eth0"), before);
        assert!(link::find(&mut scene.netlink, "br0").unwrap().is_none());
    });
}

#[test]
fn what_cannot_be_a_port_is_refused_before_anything_changes() {
    in_a_thread(|| {
        let mut scene = Scene::new();
        let before = scene
            .netlink
            .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .unwrap()
            .len();
        let missing = Uplink {
            interface: "eth7".to_owned(),
            ..uplink()
        };
        let error = missing.put_up().unwrap_err().chain();
        assert!(error.contains("no interface eth7"), "{error}");
        let itself = Uplink {
            bridge: "lo".to_owned(),
            ..uplink()
        };
        let error = itself.put_up().unwrap_err().chain();
        assert!(error.contains("an interface lo already"), "{error}");
        let after = scene
            .netlink
            .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .unwrap()
            .len();
        assert_eq!(before, after);
    });
}

#[test]
fn the_persistent_form_says_what_the_interface_has_before_and_after() {
    in_a_thread(|| {
        let _scene = Scene::new();
        let before = uplink().persistent(Form::Networkd).unwrap();
        assert!(before.contains("Address=192.0.2.5/24\n"), "{before}");
        assert!(before.contains("Gateway=192.0.2.1\n"), "{before}");
        uplink().put_up().unwrap();
        assert_eq!(uplink().persistent(Form::Networkd).unwrap(), before);
    });
}
