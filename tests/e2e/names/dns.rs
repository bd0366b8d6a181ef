//! Names.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use sampan_tests::{Background, FakeResolver, HostNetwork, deadline_of, reply};

use super::{MAC, Scene, dig_in};

const FOUND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);

#[test]
fn those_in_a_network_find_each_other_by_name_and_by_address() {
    let scene = Scene::new();
    scene.ensure();
    let guest = scene.guest(MAC);
    guest.ip("addr add 10.9.0.9/24 dev eth0");
    guest.ip("addr add fd09::9/64 dev eth0 nodad");
    for server in ["@10.9.0.1", "@fd09::1"] {
        for way in ["+notcp", "+tcp"] {
            for (question, answer) in [
                ("web A", "10.9.0.9\n"),
                ("WEB.sampan A", "10.9.0.9\n"),
                ("web AAAA", "fd09::9\n"),
                ("db.sampan AAAA", ""),
                ("-x 10.9.0.8", "db.sampan.\n"),
                ("-x fd09::9", "web.sampan.\n"),
            ] {
                let words = format!("{server} {way} +short {question}");
                assert_eq!(dig_in(&guest, &words), answer, "{words}");
                assert_eq!(scene.dig(&words), answer, "{words}, on the host");
            }
        }
    }
    let nobody = dig_in(&guest, "@10.9.0.1 nobody.sampan");
    assert!(nobody.contains("status: NXDOMAIN"), "{nobody}");
    assert!(nobody.contains("SOA"), "{nobody}");
    let nothing = dig_in(&guest, "@10.9.0.1 web MX");
    assert!(nothing.contains("status: NOERROR"), "{nothing}");
    assert!(nothing.contains("ANSWER: 0"), "{nothing}");
}

#[test]
fn containers_find_each_other_with_their_own_resolver() {
    let scene = Scene::new();
    scene.ensure();
    for (name, last) in [("web", 9), ("db", 8)] {
        scene.env.create_small_guest(name, &[]);
        let directory = scene.env.state().join(name);
        let text = fs::read_to_string(directory.join("config")).unwrap();
        let kept = text.lines().filter(|line| !line.starts_with("lxc.net."));
        let mut lines: Vec<String> = kept.map(str::to_owned).collect();
        lines.push("lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up".to_owned());
        lines.push(format!("lxc.net.0.ipv4.address = 10.9.0.{last}/24\n"));
        fs::write(directory.join("config"), lines.join("\n")).unwrap();
        let resolv = "nameserver 10.9.0.1\nsearch sampan\n";
        fs::write(directory.join("rootfs/etc/resolv.conf"), resolv).unwrap();
        let command = scene.env.command(&["start", name]);
        Background::start(scene.host.enter(&command), b"")
            .wait()
            .ok();
    }
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
        "db",
    ];
    let command = scene.env.command(&ping);
    Background::start(scene.host.enter(&command), b"")
        .wait()
        .ok();
    for name in ["web", "db"] {
        let command = scene.env.command(&["stop", "--kill", name]);
        Background::start(scene.host.enter(&command), b"")
            .wait()
            .ok();
    }
}

#[test]
fn other_names_are_asked_of_the_hosts_resolvers() {
    let scene = Scene::new();
    scene.ensure();
    let _resolver = FakeResolver::start(&scene.host, "192.0.2.53", |question, _| {
        vec![reply(question, 0, &[FOUND])]
    });
    for way in ["+notcp", "+tcp"] {
        let answer = scene.dig(&format!("@10.9.0.1 {way} +short debian.example A"));
        assert_eq!(answer, format!("{FOUND}\n"), "{way}");
    }
}

#[test]
fn what_a_resolver_does_not_know_another_is_asked_and_then_the_guest_is_told() {
    let scene = Scene::new();
    scene.ensure();
    // Nobody listens at the first one.
    let second = FakeResolver::start(&scene.host, "192.0.2.54", |question, _| {
        vec![reply(question, 0, &[FOUND])]
    });
    let answer = scene.dig("@10.9.0.1 +short debian.example");
    assert_eq!(answer, format!("{FOUND}\n"));
    let first = FakeResolver::start(&scene.host, "192.0.2.53", |question, _| {
        vec![reply(question, 2, &[])]
    });
    // The second has answered last, so it is asked first now.
    let answer = scene.dig("@10.9.0.1 +short debian.example");
    assert_eq!((answer, first.asked()), (format!("{FOUND}\n"), 0));
    drop(second);
    // What is left says that it failed.
    for way in ["+notcp", "+tcp"] {
        let answer = scene.dig(&format!("@10.9.0.1 {way} debian.example"));
        assert!(answer.contains("status: SERVFAIL"), "{answer}");
    }
    assert!(first.asked() > 0);
    drop(first);
    for way in ["+notcp", "+tcp"] {
        let answer = scene.dig(&format!("@10.9.0.1 {way} debian.example"));
        assert!(answer.contains("status: SERVFAIL"), "{answer}");
    }
}

#[test]
fn a_resolver_that_is_silent_does_not_keep_the_guest_waiting_for_ever() {
    let scene = Scene::new();
    scene.ensure();
    let _silent = FakeResolver::start(&scene.host, "192.0.2.53", |_, _| Vec::new());
    let second = FakeResolver::start(&scene.host, "192.0.2.54", |question, _| {
        vec![reply(question, 0, &[FOUND])]
    });
    let answer = scene.dig("@10.9.0.1 +short debian.example");
    assert_eq!(answer, format!("{FOUND}\n"));
    drop(second);
    // Own names are answered meanwhile.
    let slow = scene.host.enter(Command::new("dig").args([
        "-r",
        "@10.9.0.1",
        "+tries=1",
        "+timeout=20",
        "silent.example",
    ]));
    let slow = Background::start(slow, b"");
    assert_eq!(scene.dig("@10.9.0.1 +short web A"), "10.9.0.9\n");
    let slow = slow.wait().ok().stdout;
    assert!(slow.contains("status: SERVFAIL"), "{slow}");
}

#[test]
fn a_long_answer_is_had_over_a_connection() {
    let scene = Scene::new();
    scene.ensure();
    let many: Vec<Ipv4Addr> = (1..=200).map(|n| Ipv4Addr::new(198, 51, 100, n)).collect();
    let _resolver = FakeResolver::start(&scene.host, "192.0.2.53", move |question, connection| {
        // In a datagram it is sent whole although nobody said that it may be: it is cut off.
        let long = question[12..].starts_with(b"\x04long");
        let mut message = reply(question, 0, if connection || long { &many } else { &[] });
        if !connection && !long {
            message[2] |= 2;
        }
        vec![message]
    });
    for name in ["long.example", "truncated.example"] {
        let first = scene.dig(&format!("@10.9.0.1 +noedns +ignore {name}"));
        assert!(first.contains(" tc "), "{first}");
        let answer = scene.dig(&format!("@10.9.0.1 +noedns +short {name}"));
        assert_eq!(answer.lines().count(), 200, "{name}");
    }
}

#[test]
fn forged_answers_are_not_passed_on() {
    let scene = Scene::new();
    scene.ensure();
    let _resolver = FakeResolver::start(&scene.host, "192.0.2.53", |question, _| {
        let forged = [Ipv4Addr::new(203, 0, 113, 66)];
        let mut other_id = reply(question, 0, &forged);
        other_id[0] ^= 0x55;
        let mut other_question = reply(question, 0, &forged);
        other_question[13] ^= 1;
        let short = question[..8].to_vec();
        let is_question = question.to_vec();
        let right = reply(question, 0, &[FOUND]);
        vec![other_id, other_question, short, is_question, right]
    });
    let answer = scene.dig("@10.9.0.1 +short debian.example");
    assert_eq!(answer, format!("{FOUND}\n"));
}

#[test]
fn questions_from_beside_the_bridge_are_not_answered() {
    let scene = Scene::new();
    scene.ensure();
    scene.host.ip("link add outside type bridge");
    scene.host.ip("addr add 10.8.0.1/24 dev outside");
    scene.host.ip("link set outside up");
    let stranger = HostNetwork::new();
    scene.host.plug("outside", &stranger, MAC);
    stranger.ip("addr add 10.8.0.2/24 dev eth0");
    stranger.ip("route add 10.9.0.0/24 via 10.8.0.1");
    let mut dig = Command::new("dig");
    dig.args(["-r", "@10.9.0.1", "+tries=1", "+timeout=2", "web"]);
    let ran = Background::start(stranger.enter(&dig), b"").wait();
    assert_eq!(ran.code, 9, "{}", ran.stdout);
    // It is no matter of the way there.
    let mut ping = Command::new("busybox");
    ping.args(["ping", "-c", "1", "-w", "5", "10.9.0.1"]);
    Background::start(stranger.enter(&ping), b"").wait().ok();
}

#[test]
fn a_guest_with_many_questions_leaves_room_for_the_others() {
    let scene = Scene::new();
    scene.ensure();
    let resolver = FakeResolver::start(&scene.host, "192.0.2.53", |question, _| {
        match question[12..].starts_with(b"\x06silent") {
            true => Vec::new(),
            false => vec![reply(question, 0, &[FOUND])],
        }
    });
    let guest = scene.guest(MAC);
    guest.ip("addr add 10.9.0.9/24 dev eth0");
    let socket = guest.within(|| std::net::UdpSocket::bind("10.9.0.9:0").unwrap());
    socket.connect("10.9.0.1:53").unwrap();
    let timeout = Some(Duration::from_secs(10));
    socket.set_read_timeout(timeout).unwrap();
    let mut refused = 0;
    for id in 0..1000_u16 {
        let mut question = id.to_be_bytes().to_vec();
        question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        question.extend(b"\x06silent\x07example\0\0\x01\0\x01");
        socket.send(&question).unwrap();
        // The first hundred have to wait; those too many are told so at once.
        if id >= 200 {
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer).unwrap();
            assert!(length >= 12 && answer[3] & 15 == 2, "{:?}", &answer[..12]);
            refused += 1;
        }
    }
    assert_eq!(refused, 800);
    assert_eq!(
        scene.dig("@10.9.0.1 +short debian.example"),
        format!("{FOUND}\n")
    );
    assert!(resolver.asked() < 600, "{}", resolver.asked());
}

#[test]
fn a_change_of_the_hosts_resolvers_is_seen() {
    let mut scene = Scene::new();
    scene.table["upstream"] = serde_json::json!([]);
    let file = scene.env.scratch().join("resolv.conf");
    fs::write(&file, "nameserver 192.0.2.53\n").unwrap();
    // A mount namespace in which the host has another resolv.conf.
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    let inner = scene.command(&["ensure", "br0"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&file);
    command.arg(inner.get_program()).args(inner.get_args());
    let table = scene.table.to_string();
    Background::start(command, table.as_bytes()).wait().ok();
    let other = Ipv4Addr::new(192, 0, 2, 98);
    let _first = FakeResolver::start(&scene.host, "192.0.2.53", |question, _| {
        vec![reply(question, 0, &[FOUND])]
    });
    let _second = FakeResolver::start(&scene.host, "192.0.2.54", move |question, _| {
        vec![reply(question, 0, &[other])]
    });
    let ask = || scene.dig("@10.9.0.1 +short debian.example");
    assert_eq!(ask(), format!("{FOUND}\n"));
    fs::write(&file, "nameserver 192.0.2.54\n").unwrap();
    deadline_of("the other resolver is asked", || {
        (ask() == format!("{other}\n")).then_some(())
    });
}
