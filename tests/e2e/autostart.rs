//! Containers that start with the machine, in their order.

use std::{fs, process::Command};

use nix::sys::signal::Signal;
use sampan_tests::{TestEnvironment, Watcher, deadline_of};
use serde_json::Value;

/// A small guest with these lines in its config.
fn guest(env: &TestEnvironment, name: &str, lines: &[&str]) {
    env.create_small_guest(name, &[]);
    let path = env.state().join(name).join("config");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{}\n", lines.join("\n"))).unwrap();
}

/// A guest that halts only when somebody writes to its gate.
fn gated(env: &TestEnvironment, name: &str, lines: &[&str]) {
    guest(env, name, lines);
    let rootfs = env.state().join(name).join("rootfs");
    let init = rootfs.join("sbin/init");
    fs::remove_file(&init).unwrap();
    let script = "#!/bin/sh\n\
        trap 'echo heard; read line < /gate; /bin/busybox halt -f' TERM\n\
        echo up\n\
        while :; do /bin/sleep 1000 & wait $!; done\n";
    fs::write(&init, script).unwrap();
    fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let made = Command::new("mkfifo").arg(rootfs.join("gate")).status();
    assert!(made.unwrap().success());
}

fn open_gate(env: &TestEnvironment, name: &str) {
    let gate = env.state().join(name).join("rootfs/gate");
    // Waits until the guest opens it too.
    fs::write(gate, "go\n").unwrap();
}

fn says(env: &TestEnvironment, name: &str, words: &str) -> bool {
    let ran = env.sampan(&["logs", name]).ok();
    ran.stdout.contains(words)
}

/// Where an event of a container is among all.
fn place(events: &[Value], name: &str, event: &str) -> usize {
    events
        .iter()
        .position(|e| e["container"] == name && e["event"] == event)
        .unwrap_or_else(|| panic!("{name} {event}: {events:?}"))
}

const AUTO: &str = "lxc.start.auto = 1";

#[test]
fn groups_orders_and_delays_are_kept() {
    let env = TestEnvironment::new();
    guest(&env, "late", &[AUTO, "lxc.start.order = 20"]);
    guest(
        &env,
        "early",
        &[AUTO, "lxc.start.order = 3", "lxc.start.delay = 1"],
    );
    guest(&env, "beside", &[AUTO, "lxc.start.order = 3"]);
    guest(
        &env,
        "web",
        &[AUTO, "lxc.start.order = 99", "lxc.group = web onboot"],
    );
    guest(&env, "webmail", &[AUTO, "lxc.group = webmail"]);
    guest(&env, "by-hand", &[]);
    let rows = env
        .sampan(&["autostart", "--list", "-g", "web,", "--format", "json"])
        .ok()
        .json();
    let listed: Vec<(u64, &str)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["stage"].as_u64().unwrap(),
                row["name"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        listed,
        [(1, "web"), (2, "beside"), (2, "early"), (3, "late")]
    );
    assert_eq!(rows[2]["delay"], 1);
    assert_eq!(rows[0]["groups"], serde_json::json!(["web", "onboot"]));
    assert_eq!(rows[0]["state"], "stopped");

    let watcher = Watcher::json(&env);
    let ran = env.sampan(&["autostart", "-g", "web", "-g", ""]).ok();
    assert!(
        ran.stderr
            .contains("4 started, 0 with nothing to do, 0 failed"),
        "{}",
        ran.stderr
    );
    deadline_of("everything is told", || {
        (watcher.names().len() == 8).then_some(())
    });
    let events = watcher.events();
    let at = |name, event| place(&events, name, event);
    assert!(at("web", "running") < at("early", "starting"));
    assert!(at("web", "running") < at("beside", "starting"));
    let time = |name, event| events[at(name, event)]["time"].as_f64().unwrap();
    assert!(time("late", "starting") - time("early", "running") >= 1.0);
    assert!(time("late", "starting") - time("beside", "running") >= 0.0);
    for name in ["webmail", "by-hand"] {
        assert_eq!(env.state_of(name), "stopped");
    }
    let ran = env.sampan(&["autostart", "--all", "--ignore-auto"]).ok();
    assert!(
        ran.stderr
            .contains("2 started, 4 with nothing to do, 0 failed"),
        "{}",
        ran.stderr
    );
    let ran = env.sampan(&["autostart", "--kill", "-a", "-A"]).ok();
    assert!(ran.stderr.contains("6 stopped"), "{}", ran.stderr);
}

#[test]
fn a_signal_ends_a_delay_at_once_and_what_was_done_is_told() {
    let env = TestEnvironment::new();
    let delay = "lxc.start.delay = 10000";
    guest(&env, "first", &[AUTO, "lxc.start.order = 1", delay]);
    guest(&env, "later", &[AUTO, "lxc.start.order = 2"]);
    for (signal, code) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ] {
        let start = env.background(&["autostart"]);
        let blocks = format!("SigBlk:\t{:016x}", 0b100_0000_0000_0011);
        deadline_of("it waits for the delay", || {
            let status = fs::read_to_string(format!("/proc/{}/status", start.id())).ok()?;
            status.contains(&blocks).then_some(())
        });
        start.signal(signal);
        let ran = start.wait();
        assert_eq!(ran.code, code, "{}", ran.stderr);
        let told = "1 started, 0 with nothing to do, 0 failed\nended by SIG";
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
        assert_eq!(env.state_of("first"), "running");
        assert_eq!(env.state_of("later"), "stopped");
        env.sampan(&["stop", "--kill", "first"]).ok();
    }
}

#[test]
fn a_stop_goes_backwards_and_those_of_one_order_stop_at_once() {
    let env = TestEnvironment::new();
    gated(&env, "base", &[AUTO, "lxc.start.order = 1"]);
    gated(&env, "one", &[AUTO, "lxc.start.order = 2"]);
    gated(&env, "two", &[AUTO, "lxc.start.order = 2"]);
    env.sampan(&["autostart"]).ok();
    for name in ["base", "one", "two"] {
        deadline_of(&format!("{name} is up"), || {
            says(&env, name, "up").then_some(())
        });
    }
    let watcher = Watcher::json(&env);
    let stop = env.background(&["autostart", "--stop"]);
    deadline_of("both are asked before either has stopped", || {
        (says(&env, "one", "heard") && says(&env, "two", "heard")).then_some(())
    });
    open_gate(&env, "one");
    deadline_of("one has stopped", || {
        (env.state_of("one") == "stopped").then_some(())
    });
    assert_eq!(env.state_of("base"), "running");
    open_gate(&env, "two");
    open_gate(&env, "base");
    let ran = stop.wait().ok();
    assert!(ran.stderr.contains("3 stopped"), "{}", ran.stderr);
    let events = watcher.events();
    let at = |name, event| place(&events, name, event);
    assert!(at("base", "stopping") > at("one", "stopped"));
    assert!(at("base", "stopping") > at("two", "stopped"));
}

#[test]
fn one_that_fails_does_not_keep_the_others() {
    let env = TestEnvironment::new();
    guest(&env, "a", &[AUTO, "lxc.start.order = 1"]);
    guest(&env, "b", &[AUTO, "lxc.nonsense = 1"]);
    guest(&env, "c", &[AUTO, "lxc.start.order = 2"]);
    fs::remove_file(env.state().join("a/rootfs/sbin/init")).unwrap();
    let ran = env.sampan(&["autostart"]).failed();
    assert!(
        ran.stderr.contains("could not start container \"a\""),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("lxc.nonsense"), "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("1 started, 0 with nothing to do, 2 failed"),
        "{}",
        ran.stderr
    );
    assert_eq!(env.state_of("c"), "running");
    let before = env.sampan(&["info", "c", "--format", "json"]).ok().json();
    let ran = env.sampan(&["autostart", "--restart", "--kill"]).failed();
    assert!(
        ran.stderr.contains("killed c; started it"),
        "{}",
        ran.stderr
    );
    let after = env.sampan(&["info", "c", "--format", "json"]).ok().json();
    assert_ne!(before["init_pid"], after["init_pid"]);
}

#[test]
fn lxc_autostart_lists_the_same_containers_in_the_same_order() {
    let env = TestEnvironment::new();
    guest(&env, "late", &[AUTO, "lxc.start.order = 20"]);
    guest(&env, "early", &[AUTO, "lxc.start.order = 3"]);
    guest(&env, "beside", &[AUTO, "lxc.start.order = 3"]);
    guest(&env, "shop", &[AUTO, "lxc.group = shop onboot"]);
    guest(
        &env,
        "db",
        &[AUTO, "lxc.group = onboot", "lxc.start.order = -2"],
    );
    guest(&env, "by-hand", &["lxc.group = onboot"]);
    for arguments in [
        &[][..],
        &["-g", "onboot,"],
        &["-g", "shop,onboot"],
        // Not ",onboot": of that LXC 5.0.2 takes the first only, against its manual.
        &["-a"],
        &["-A"],
        &["-a", "-A"],
    ] {
        let output = Command::new("lxc-autostart")
            .arg("-P")
            .arg(env.state())
            .arg("-L")
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("cannot run lxc-autostart: {error}"));
        assert!(output.status.success(), "{output:?}");
        let theirs: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect();
        let list = ["autostart", "--list", "--format", "json"];
        let rows = env.sampan(&[&list, arguments].concat()).ok().json();
        let ours: Vec<&str> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap())
            .collect();
        assert_eq!(ours, theirs, "{arguments:?}");
        assert!(!ours.is_empty(), "{arguments:?}");
    }
}
