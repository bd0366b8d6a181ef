//! What happens to a container between its start and its end, and who is told.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sampan_tests::{TestEnvironment, Watcher, deadline_of};
use serde_json::Value;

use crate::freezing::run;

pub(crate) fn info(env: &TestEnvironment, name: &str) -> Value {
    env.sampan(&["info", name, "--format", "json"]).ok().json()
}

pub(crate) fn init_of(env: &TestEnvironment, name: &str) -> i32 {
    info(env, name)["init_pid"].as_i64().expect("an init") as i32
}

fn monitor_of(env: &TestEnvironment, name: &str) -> Pid {
    let status = fs::read_to_string(format!("/proc/{}/status", init_of(env, name))).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Pid::from_raw(parent.unwrap().trim().parse().unwrap())
}

/// A guest with this script as its init.
pub(crate) fn with_init(env: &TestEnvironment, name: &str, script: &str) {
    env.create_small_guest(name, &[]);
    let init = env.state().join(name).join("rootfs/sbin/init");
    fs::remove_file(&init).unwrap();
    fs::write(&init, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

pub(crate) fn configure(env: &TestEnvironment, name: &str, line: &str) {
    let path = env.state().join(name).join("config");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{line}\n")).unwrap();
}

/// Waits until the guest has written this to its console.
pub(crate) fn said(env: &TestEnvironment, name: &str, words: &str) {
    deadline_of(&format!("{name} says {words}"), || {
        let ran = env.sampan(&["logs", name]).ok();
        ran.stdout.contains(words).then_some(())
    });
}

const FOREVER: &str = "while :; do /bin/sleep 1000; done";

#[test]
fn every_change_is_told_in_its_order() {
    let env = TestEnvironment::new();
    let watcher = Watcher::json(&env);
    env.small_guest("web");
    env.sampan(&["freeze", "web"]).ok();
    env.sampan(&["unfreeze", "web"]).ok();
    env.sampan(&["stop", "--kill", "web"]).ok();
    env.sampan(&["destroy", "web"]).ok();
    let destroyed = watcher.until("destroyed");
    assert_eq!(destroyed["container"], "web");
    assert!(destroyed["time"].as_f64().unwrap() > 1.7e9);
    assert_eq!(
        watcher.names(),
        [
            "created",
            "starting",
            "running",
            "frozen",
            "thawed",
            "stopping",
            "stopped",
            "destroyed"
        ]
    );
    let stopped = watcher.until("stopped");
    assert_eq!(stopped["exit"]["how"], "signaled");
    assert_eq!(stopped["exit"]["signal"], 9);
    assert_eq!(stopped["exit"]["requested"], true);
    assert_eq!(watcher.until("stopping")["signal"], Value::Null);
    assert!(watcher.until("running")["init_pid"].as_i64().unwrap() > 1);
}

#[test]
fn events_of_one_container_are_lines_for_people() {
    let env = TestEnvironment::new();
    let watcher = Watcher::start(&env, &["later"]);
    env.small_guest("other");
    env.small_guest("later");
    env.sampan(&["stop", "--kill", "later"]).ok();
    let text = || watcher.text();
    deadline_of("the stop is told", || {
        text().contains("stopped").then_some(())
    });
    assert!(!text().contains("other"), "{}", text());
    assert!(
        text().contains("Z  later  running (init is process "),
        "{}",
        text()
    );
    assert!(
        text().contains("stopped (init was killed by SIGKILL)"),
        "{}",
        text()
    );
}

#[test]
fn a_slow_reader_holds_nobody_up_and_loses_nothing() {
    let env = TestEnvironment::new();
    env.create_small_guest("busy", &[]);
    let watcher = Watcher::json(&env);
    watcher.signal(Signal::SIGSTOP);
    for _ in 0..5 {
        env.sampan(&["start", "busy"]).ok();
        env.sampan(&["stop", "-k", "busy"]).ok();
    }
    assert!(watcher.names().is_empty());
    watcher.signal(Signal::SIGCONT);
    deadline_of("everything is told", || {
        (watcher.names().len() == 20).then_some(())
    });
    let one = ["starting", "running", "stopping", "stopped"];
    assert_eq!(watcher.names(), one.repeat(5));
}

#[test]
fn a_monitor_that_is_killed_is_told_too_and_remembered() {
    let env = TestEnvironment::new();
    env.small_guest("victim");
    let watcher = Watcher::json(&env);
    let waiter = env.background(&["wait", "victim"]);
    kill(monitor_of(&env, "victim"), Signal::SIGKILL).unwrap();
    let ran = waiter.wait().ok();
    assert_eq!(ran.stdout, "stopped\n");
    assert_eq!(watcher.until("stopped")["exit"]["how"], "monitor_killed");
    assert_eq!(info(&env, "victim")["last_exit"]["how"], "monitor_killed");
    assert_eq!(watcher.names(), ["stopped"], "it was told more than once");
}

#[test]
fn waiting_ends_with_the_state_or_with_the_timeout() {
    let env = TestEnvironment::new();
    env.small_guest("web");
    let ran = env.sampan(&["wait", "web", "-s", "RUNNING,frozen"]).ok();
    assert_eq!(ran.stdout, "running\n");
    let begun = Instant::now();
    let ran = env.sampan(&["wait", "web", "--timeout", "1"]).failed();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(ran.stdout, "running\n");
    assert!(
        ran.stderr
            .contains("was not stopped within 1 seconds; it is running"),
        "{}",
        ran.stderr
    );
    let frozen = env.background(&["wait", "web", "--state", "frozen", "--format", "json"]);
    let stopped = env.background(&["wait", "web"]);
    env.sampan(&["freeze", "web"]).ok();
    assert_eq!(frozen.wait().ok().json()["state"], "frozen");
    env.sampan(&["stop", "web"]).ok();
    assert_eq!(stopped.wait().ok().stdout, "stopped\n");
    let started = env.background(&["wait", "web", "-s", "running"]);
    env.sampan(&["start", "web"]).ok();
    started.wait().ok();
}

#[test]
fn waiting_for_what_does_not_exist_is_an_error() {
    let env = TestEnvironment::new();
    let ran = env.sampan(&["wait", "nobody"]).failed();
    assert!(
        ran.stderr.contains("no container \"nobody\""),
        "{}",
        ran.stderr
    );
    env.create_small_guest("brief", &[]);
    let waiter = env.background(&["wait", "brief", "-s", "running"]);
    // It has opened the journal when it looks at the directory; before that, it finds nothing.
    env.sampan(&["destroy", "brief"]).ok();
    let ran = waiter.wait().failed();
    assert!(
        ran.stderr.contains("destroyed") || ran.stderr.contains("no container"),
        "{}",
        ran.stderr
    );
    let ran = env.sampan(&["wait", "brief", "-s", "asleep"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

#[test]
fn a_restart_takes_the_config_as_it_is_now_and_a_reboot_does_not() {
    let env = TestEnvironment::new();
    env.small_guest("web");
    let host = |env: &TestEnvironment| {
        let ran = env
            .sampan(&["exec", "web", "--", "/bin/busybox", "hostname"])
            .ok();
        ran.stdout.trim().to_owned()
    };
    configure(&env, "web", "lxc.uts.name = renamed");
    let before = init_of(&env, "web");
    env.sampan(&["stop", "--reboot", "web"]).ok();
    assert_ne!(init_of(&env, "web"), before);
    assert_eq!(host(&env), "web");
    let ran = env.sampan(&["restart", "--kill", "web"]).ok();
    assert!(
        ran.stderr.contains("killed web; started it"),
        "{}",
        ran.stderr
    );
    assert_eq!(host(&env), "renamed");
    env.sampan(&["stop", "--kill", "web"]).ok();
    let ran = env.sampan(&["restart", "web"]).ok();
    assert!(ran.stderr.contains("was not running"), "{}", ran.stderr);
    assert_eq!(env.state_of("web"), "running");
    // What would keep it from starting is said while it still runs.
    configure(&env, "web", "lxc.nonsense = 1");
    let ran = env.sampan(&["restart", "web"]).failed();
    assert!(ran.stderr.contains("lxc.nonsense"), "{}", ran.stderr);
    assert_eq!(env.state_of("web"), "running");
}

#[test]
fn a_guest_reboots_and_powers_off_by_itself() {
    let env = TestEnvironment::new();
    env.small_guest("web");
    let watcher = Watcher::json(&env);
    let (monitor, init) = (monitor_of(&env, "web"), init_of(&env, "web"));
    env.sampan(&["exec", "web", "--", "/bin/busybox", "reboot", "-f"]);
    watcher.until("running");
    assert_ne!(init_of(&env, "web"), init);
    assert_eq!(monitor_of(&env, "web"), monitor);
    env.sampan(&["exec", "web", "--", "/bin/busybox", "poweroff", "-f"]);
    watcher.until("stopped");
    assert_eq!(watcher.names(), ["rebooting", "running", "stopped"]);
    let last = &info(&env, "web")["last_exit"];
    assert_eq!(last["how"], "halted");
    assert_eq!(last["requested"], false);
    let ran = env.sampan(&["info", "web"]).ok();
    assert!(
        ran.stdout.contains("last run: init halted, "),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_guest_that_cannot_hear_is_not_waited_for() {
    let env = TestEnvironment::new();
    // A signal is configured, but nobody takes it; nor any other.
    with_init(&env, "deaf", "echo up; exec /bin/sleep 100000");
    configure(&env, "deaf", "lxc.signal.halt = SIGRTMIN+3");
    env.sampan(&["start", "deaf"]).ok();
    said(&env, "deaf", "up");
    let begun = Instant::now();
    let ran = env.sampan(&["stop", "deaf"]).ok();
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        ran.stderr.contains("listens to no signal"),
        "{}",
        ran.stderr
    );
    let ran = env.sampan(&["logs", "--monitor", "deaf"]).ok();
    assert!(
        ran.stdout.contains("does not listen to SIGRTMIN+3"),
        "{}",
        ran.stdout
    );
    env.sampan(&["start", "deaf"]).ok();
    let ran = env.sampan(&["stop", "--reboot", "deaf"]).failed();
    assert!(ran.stderr.contains("no signal to reboot"), "{}", ran.stderr);
}

#[test]
fn the_signal_that_init_takes_is_found_when_none_or_the_wrong_one_is_configured() {
    let env = TestEnvironment::new();
    let watcher = Watcher::json(&env);
    let trap = |signal: &str| {
        format!(
            "trap '/bin/busybox halt -f' {signal}; echo up; while :; do /bin/sleep 1000 & wait $!; done"
        )
    };
    for (name, script, line, signal) in [
        (
            "pwr",
            trap("PWR"),
            "lxc.signal.halt = SIGTERM",
            libc_signal("PWR"),
        ),
        ("term", trap("TERM"), "", libc_signal("TERM")),
    ] {
        with_init(&env, name, &script);
        configure(&env, name, line);
        env.sampan(&["start", name]).ok();
        said(&env, name, "up");
        let ran = env.sampan(&["stop", name]).ok();
        assert_eq!(ran.stderr.trim(), format!("stopped {name}"));
        let stopped = watcher
            .events()
            .into_iter()
            .rfind(|event| event["event"] == "stopping")
            .unwrap();
        if line.is_empty() {
            assert_eq!(stopped["signal"], signal, "{name}");
        }
        assert_eq!(info(&env, name)["last_exit"]["how"], "halted", "{name}");
    }
    // BusyBox's own init: SIGUSR1, which it waits for without a handler.
    env.small_guest("box");
    let init = init_of(&env, "box");
    deadline_of("its init waits for signals", || {
        let call = fs::read_to_string(format!("/proc/{init}/wchan")).unwrap();
        call.contains("sigtimedwait").then_some(())
    });
    env.sampan(&["stop", "box"]).ok();
    assert_eq!(info(&env, "box")["last_exit"]["how"], "halted");
}

fn libc_signal(name: &str) -> i32 {
    match name {
        "PWR" => Signal::SIGPWR as i32,
        _ => Signal::SIGTERM as i32,
    }
}

#[test]
fn a_stop_can_refuse_to_kill_or_to_wait() {
    let env = TestEnvironment::new();
    with_init(
        &env,
        "slow",
        &format!("trap 'echo heard' PWR; echo up; {FOREVER}"),
    );
    env.sampan(&["start", "slow"]).ok();
    said(&env, "slow", "up");
    let ran = env
        .sampan(&["stop", "--no-kill", "--timeout", "1", "slow"])
        .failed();
    assert!(ran.stderr.contains("was not killed"), "{}", ran.stderr);
    assert_eq!(env.state_of("slow"), "stopping");
    let ran = env.sampan(&["stop", "-W", "slow"]).ok();
    assert!(ran.stderr.contains("asked slow to stop"), "{}", ran.stderr);
    env.sampan(&["stop", "--kill", "slow"]).ok();
    let ran = env.sampan(&["stop", "slow"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

#[test]
fn several_containers_at_once_and_each_failure_is_told() {
    let env = TestEnvironment::new();
    for name in ["a", "b", "c"] {
        env.create_small_guest(name, &[]);
    }
    env.sampan(&["start", "a"]).ok();
    let ran = env
        .sampan(&["start", "a", "nobody", "b", "c", "b"])
        .failed();
    for words in [
        "\"a\" is already running",
        "no container \"nobody\"",
        "started b",
        "started c",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("error:").count(), 2, "{}", ran.stderr);
    env.sampan(&["freeze", "--all"]).ok();
    let states = ["a", "b", "c"].map(|name| env.state_of(name));
    assert_eq!(states, ["frozen"; 3]);
    env.sampan(&["stop", "--all", "--kill"]).ok();
    env.sampan(&["start", "--all"]).ok();
    env.sampan(&["restart", "--all", "--kill"]).ok();
    let ran = env.sampan(&["destroy", "--all"]).failed();
    assert_eq!(
        ran.stderr.matches("is running").count(),
        3,
        "{}",
        ran.stderr
    );
    env.sampan(&["destroy", "--all", "--force"]).ok();
    assert_eq!(
        env.sampan(&["ls", "--format", "json"]).ok().json(),
        serde_json::json!([])
    );
    let ran = env.sampan(&["start"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

#[test]
fn one_that_dies_is_started_again_until_it_is_enough() {
    let env = TestEnvironment::new();
    let watcher = Watcher::json(&env);
    with_init(&env, "weak", "echo up; read line < /gate; exit 7");
    run("mkfifo", &[&env.state().join("weak/rootfs/gate")]);
    configure(&env, "weak", "sampan.restart = on-failure max 2 in 600");
    env.sampan(&["start", "weak"]).ok();
    let gate = env.state().join("weak/rootfs/gate");
    let starts = |number| {
        deadline_of("it runs", || {
            let running = watcher.names().iter().filter(|n| *n == "running").count();
            (running == number).then_some(())
        });
    };
    for restarts in 0..=2 {
        starts(restarts + 1);
        assert_eq!(info(&env, "weak")["restarts"], restarts);
        // Opening it waits for the guest to do so too.
        fs::write(&gate, "go on\n").unwrap();
    }
    let stopped = watcher.until("stopped");
    assert_eq!(stopped["exit"]["gave_up"], true);
    assert_eq!(stopped["exit"]["restarts"], 2);
    assert_eq!(stopped["exit"]["status"], 7);
    let again = watcher.until("restarting");
    assert_eq!(again["exit"]["how"], "exited");
    assert_eq!(again["delay"], 0.1);
    assert_eq!(env.state_of("weak"), "stopped");
    let ran = env.sampan(&["info", "weak"]).ok();
    assert!(
        ran.stdout
            .contains("last run: init exited with status 7, and was started again often enough"),
        "{}",
        ran.stdout
    );
    let ran = env.sampan(&["logs", "--monitor", "weak"]).ok();
    assert!(
        ran.stdout.contains("started again in 100ms"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_policy_leaves_alone_what_was_stopped_by_request() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    configure(&env, "web", "sampan.restart = always");
    env.sampan(&["start", "web"]).ok();
    env.sampan(&["stop", "web"]).ok();
    assert_eq!(env.state_of("web"), "stopped");
    env.sampan(&["start", "web"]).ok();
    // What was not asked for from outside is put right.
    let watcher = Watcher::json(&env);
    env.sampan(&["exec", "web", "--", "/bin/busybox", "poweroff", "-f"]);
    watcher.until("running");
    kill(Pid::from_raw(init_of(&env, "web")), Signal::SIGKILL).unwrap();
    deadline_of("it runs again", || {
        (watcher.names().iter().filter(|n| *n == "running").count() == 2).then_some(())
    });
    assert_eq!(info(&env, "web")["restarts"], 2);
    env.sampan(&["stop", "--kill", "web"]).ok();
    assert_eq!(env.state_of("web"), "stopped");
}

#[test]
fn one_that_waits_for_its_restart_can_be_stopped() {
    let env = TestEnvironment::new();
    with_init(&env, "weak", "exit 1");
    configure(&env, "weak", "sampan.restart = on-failure");
    let watcher = Watcher::json(&env);
    env.sampan(&["start", "weak"]).ok();
    // The delay doubles; after a few times it is seconds.
    deadline_of("the delay is long", || {
        let long = |event: &Value| event["delay"].as_f64().is_some_and(|delay| delay > 3.0);
        watcher.events().iter().any(long).then_some(())
    });
    assert_eq!(env.state_of("weak"), "restarting");
    let ran = env.sampan(&["exec", "weak", "--", "true"]).failed();
    assert!(ran.stderr.contains("between two starts"), "{}", ran.stderr);
    env.sampan(&["stop", "weak"]).ok();
    assert_eq!(env.state_of("weak"), "stopped");
    configure(&env, "weak", "sampan.restart = sometimes");
    let ran = env.sampan(&["start", "weak"]).failed();
    assert!(
        ran.stderr.contains("sampan.restart = sometimes"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_start_that_fails_names_the_step_and_quotes_the_console() {
    let env = TestEnvironment::new();
    let watcher = Watcher::json(&env);
    // Busy for long enough that nobody can overlook its end, and gone.
    with_init(
        &env,
        "broken",
        "echo cannot find the root of all evil; exit 3",
    );
    env.create_small_guest("absent", &["-o", "size=0"]);
    fs::remove_file(env.state().join("absent/rootfs/sbin/init")).unwrap();
    let ran = env.sampan(&["start", "absent"]).failed();
    assert!(
        ran.stderr.contains("/sbin/init") && ran.stderr.contains("No such file"),
        "{}",
        ran.stderr
    );
    let failed = watcher.until("start_failed");
    assert_eq!(failed["container"], "absent");
    assert!(failed["message"].as_str().unwrap().contains("/sbin/init"));
    assert_eq!(env.state_of("absent"), "stopped");
    let ran = env.sampan(&["start", "broken"]);
    deadline_of("it is stopped", || {
        (env.state_of("broken") == "stopped").then_some(())
    });
    // Either it was seen to die, and the start says so, or it died later, and `info` does.
    let last = info(&env, "broken")["last_exit"].clone();
    assert_eq!(
        (&last["how"], &last["status"]),
        (&"exited".into(), &3.into())
    );
    if ran.code != 0 {
        assert!(
            ran.stderr.contains("exited with status 3"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("    cannot find the root of all evil"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn another_signal_than_sigkill_ends_init_if_the_config_says_so() {
    let env = TestEnvironment::new();
    with_init(
        &env,
        "polite",
        "trap 'exit 5' TERM; echo up; while :; do /bin/sleep 1000 & wait $!; done",
    );
    configure(&env, "polite", "lxc.signal.stop = SIGTERM");
    env.sampan(&["start", "polite"]).ok();
    said(&env, "polite", "up");
    env.sampan(&["stop", "--kill", "polite"]).ok();
    assert_eq!(info(&env, "polite")["last_exit"]["status"], 5);
    // One that does not take it is killed all the same.
    with_init(&env, "deaf", "echo up; exec /bin/sleep 100000");
    configure(&env, "deaf", "lxc.signal.stop = SIGTERM");
    env.sampan(&["start", "deaf"]).ok();
    said(&env, "deaf", "up");
    env.sampan(&["stop", "--kill", "deaf"]).ok();
    assert_eq!(info(&env, "deaf")["last_exit"]["signal"], 9);
}

#[test]
fn a_renaming_is_told_and_the_last_exit_goes_along_but_not_to_a_copy() {
    let env = TestEnvironment::new();
    env.small_guest("old");
    env.sampan(&["stop", "--kill", "old"]).ok();
    let watcher = Watcher::json(&env);
    env.sampan(&["rename", "old", "new"]).ok();
    let renamed = watcher.until("renamed");
    assert_eq!(
        (&renamed["container"], &renamed["to"]),
        (&"old".into(), &"new".into())
    );
    assert_eq!(info(&env, "new")["last_exit"]["signal"], 9);
    // A copy has not run yet.
    env.sampan(&["copy", "new", "twin"]).ok();
    assert_eq!(watcher.until("created")["container"], "twin");
    assert_eq!(info(&env, "twin")["last_exit"], Value::Null);
}
