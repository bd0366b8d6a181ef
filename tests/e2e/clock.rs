//! A wall clock that jumps by ten years, forwards and back: what waits waits as long as it should,
//! and what is told is true.
//!
//! The machine's clock stays as it is: `sampan` and its monitors see another one.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sampan_tests::{Clock, TestEnvironment, Watcher, deadline_of};
use serde_json::Value;

/// Ten years.
const YEARS: i64 = 315_360_000;

const IDLE: &str = "echo up; while :; do /bin/sleep 1000; done";
/// One that hears that it is to halt and does not.
const STUBBORN: &str =
    "trap 'echo heard' PWR TERM; echo up; while :; do /bin/sleep 1000 & wait $!; done";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().cast_signed()
}

fn said(env: &TestEnvironment, name: &str, words: &str) {
    deadline_of(&format!("{name} says {words}"), || {
        let ran = env.sampan(&["logs", name]).ok();
        ran.stdout.contains(words).then_some(())
    });
}

fn info(clock: &Clock<'_>, name: &str) -> Value {
    clock
        .sampan(&["info", name, "--format", "json"])
        .ok()
        .json()
}

/// Between these two, in seconds: no less than it should, and not for ever.
#[track_caller]
fn took(begun: Instant, at_least: u64) {
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(at_least), "too short: {took:?}");
    assert!(took < Duration::from_secs(at_least + 60), "{took:?}");
}

#[test]
fn this_clock_is_another_one_and_reaches_the_monitor() {
    let env = TestEnvironment::new();
    let clock = Clock::new(&env);
    env.scripted_guest("web", IDLE, "");
    clock.set(YEARS);
    let date = clock.command(Command::new("date").arg("+%s")).output();
    let text = String::from_utf8(date.unwrap().stdout).unwrap();
    let told: i64 = text.trim().parse().unwrap();
    assert!((told - now() - YEARS).abs() < 60, "{told}");
    let watcher = Watcher::json(&env);
    clock.sampan(&["start", "web"]).ok();
    // Told by the monitor.
    let time = watcher.until("running")["time"].as_f64().unwrap() as i64;
    assert!((time - now() - YEARS).abs() < 60, "{time}");
}

#[test]
fn a_container_lives_through_jumps_and_what_is_told_of_it_is_true() {
    let env = TestEnvironment::new();
    let clock = Clock::new(&env);
    env.scripted_guest("web", IDLE, "");
    clock.sampan(&["start", "web"]).ok();
    let watcher = Watcher::json(&env);
    for offset in [YEARS, -YEARS, 0] {
        clock.set(offset);
        // It was started some moments ago, whatever the clock says.
        let started = info(&clock, "web")["started_at"].as_i64().unwrap();
        let age = now() + offset - started;
        assert!((0..120).contains(&age), "started {age} seconds ago");
        clock.sampan(&["freeze", "web"]).ok();
        assert_eq!(info(&clock, "web")["state"], "frozen");
        clock.set(-offset);
        clock.sampan(&["unfreeze", "web"]).ok();
        assert_eq!(info(&clock, "web")["state"], "running");
        clock.sampan(&["exec", "web", "--", "true"]).ok();
        said(&env, "web", "up");
    }
    clock.set(YEARS);
    clock.sampan(&["restart", "--kill", "web"]).ok();
    clock.set(-YEARS);
    clock.sampan(&["stop", "--kill", "web"]).ok();
    let exit = &info(&clock, "web")["last_exit"];
    assert_eq!(exit["requested"], true);
    let at = exit["at"].as_i64().unwrap();
    assert!((now() - YEARS - at).abs() < 120, "{at}");
    // In the order in which it happened, not of the times.
    deadline_of("all is told", || {
        (watcher.names().len() >= 12).then_some(())
    });
    let round = ["frozen", "thawed"].repeat(3);
    let end = [
        "stopping", "stopped", "starting", "running", "stopping", "stopped",
    ];
    assert_eq!(watcher.names(), [&round[..], &end].concat());
}

#[test]
fn a_wait_takes_its_time_whichever_way_the_clock_jumps() {
    let env = TestEnvironment::new();
    let clock = Clock::new(&env);
    env.scripted_guest("web", STUBBORN, "");
    clock.sampan(&["start", "web"]).ok();
    said(&env, "web", "up");
    for jump in [YEARS, -YEARS] {
        let begun = Instant::now();
        let wait = clock.background(&["wait", "web", "--timeout", "3"]);
        deadline_of("it waits", || waits(&env, wait.id()).then_some(()));
        clock.set(jump);
        wait.wait().failed();
        took(begun, 3);

        let begun = Instant::now();
        let stop = clock.background(&["stop", "--no-kill", "--timeout", "3", "web"]);
        deadline_of("it was asked to halt", || {
            (env.state_of("web") == "stopping").then_some(())
        });
        clock.set(-jump);
        stop.wait().failed();
        took(begun, 3);
    }
    let begun = Instant::now();
    let stop = clock.background(&["stop", "--timeout", "2", "web"]);
    clock.set(YEARS);
    let ran = stop.wait().ok();
    took(begun, 2);
    assert!(ran.stderr.contains("kill"), "{}", ran.stderr);
    assert_eq!(env.state_of("web"), "stopped");
}

/// Whether a process or one that it became sleeps in poll(2).
fn waits(env: &TestEnvironment, pid: u32) -> bool {
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let sleeps = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    command.starts_with(&*TestEnvironment::binary().to_string_lossy())
        && command.contains(&*env.root().to_string_lossy())
        && sleeps.contains("poll")
}

#[test]
fn a_restart_policy_counts_and_delays_by_a_clock_that_nobody_sets() {
    let env = TestEnvironment::new();
    let clock = Clock::new(&env);
    let policy = "sampan.restart = on-failure max 3 in 600";
    env.scripted_guest("weak", "exit 1", policy);
    let watcher = Watcher::json(&env);
    clock.set(YEARS);
    clock.sampan(&["start", "weak"]).ok();
    // A jump forwards would make the time of the policy seem over, one back a delay seem endless.
    for (restarts, offset) in [(1, -YEARS), (2, YEARS), (3, 0)] {
        deadline_of(&format!("restart {restarts}"), || {
            let restarting = watcher.names();
            let count = restarting.iter().filter(|name| *name == "restarting");
            (count.count() == restarts).then_some(())
        });
        clock.set(offset);
    }
    let stopped = watcher.until("stopped");
    assert_eq!(stopped["exit"]["restarts"], 3);
    assert_eq!(stopped["exit"]["gave_up"], true);
}

#[test]
fn the_delay_between_two_stages_is_as_long_as_the_config_says() {
    let env = TestEnvironment::new();
    let clock = Clock::new(&env);
    let first = "lxc.start.auto = 1\nlxc.start.order = 1\nlxc.start.delay = 3";
    env.scripted_guest("first", IDLE, first);
    env.scripted_guest("then", IDLE, "lxc.start.auto = 1\nlxc.start.order = 2");
    for jump in [YEARS, -YEARS] {
        let begun = Instant::now();
        let start = clock.background(&["autostart"]);
        deadline_of("the first runs", || {
            (env.state_of("first") == "running").then_some(())
        });
        clock.set(jump);
        start.wait().ok();
        took(begun, 3);
        clock.sampan(&["stop", "--kill", "first", "then"]).ok();
    }
}

#[test]
fn snapshots_are_listed_in_the_order_in_which_they_were_made() {
    let env = TestEnvironment::new();
    let clock = Clock::new(&env);
    env.create_small_guest("web", &[]);
    for (offset, name) in [(0, "one"), (YEARS, "two"), (-YEARS, "three"), (0, "four")] {
        clock.set(offset);
        clock.sampan(&["snapshot", "create", "web", name]).ok();
    }
    let rows = clock
        .sampan(&["snapshot", "ls", "web", "--format", "json"])
        .ok()
        .json();
    let names: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["one", "two", "three", "four"]);
    let table = clock.sampan(&["snapshot", "ls", "web"]).ok().stdout;
    assert!(table.contains("in the future"), "{table}");
    clock.sampan(&["snapshot", "restore", "web", "two"]).ok();
    clock.sampan(&["start", "web"]).ok();
}

#[test]
fn an_image_of_the_future_is_current_as_long_as_its_inputs_are_and_is_rebuilt_when_asked_to() {
    let env = TestEnvironment::new();
    let clock = Clock::new(&env);
    let build = |more: &[&str]| {
        let arguments = ["image", "build", "-t", "naughty", "--format", "json"];
        let built = clock.sampan(&[&arguments[..], more].concat()).ok().json();
        (built["built"].as_bool().unwrap(), built["sha256"].clone())
    };
    clock.set(YEARS);
    let (built, first) = build(&[]);
    assert!(built);
    for offset in [0, -YEARS] {
        clock.set(offset);
        assert_eq!(build(&[]), (false, first.clone()));
        // Not taken for one that somebody else has built meanwhile.
        assert_eq!(build(&["--refresh"]), (true, first.clone()));
    }
    env.sampan(&["image", "verify"]).ok();
    clock.set(-YEARS);
    clock.sampan(&["create", "old", "-t", "naughty"]).ok();
    assert_eq!(env.state_of("old"), "stopped");
}
