//! Guests of other releases and with another init reach their running state. Bookworm, trixie and
//! busybox are in `debian.rs`.

use std::time::{Duration, Instant};

use sampan_tests::{Ran, TestEnvironment, wait_until};

fn world() -> TestEnvironment {
    let env = TestEnvironment::new();
    env.share_downloads();
    env
}

fn create(env: &TestEnvironment, name: &str, options: &[&str]) -> Ran {
    let mut arguments = vec!["create", name, "-t", "debian", "--start"];
    for option in options {
        arguments.extend(["-o", option]);
    }
    env.sampan(&arguments)
}

/// What systemd says once it has booted, and what failed if something did.
fn systemd_state(env: &TestEnvironment, name: &str) -> String {
    let ask = [
        "exec",
        name,
        "--",
        "systemctl",
        "is-system-running",
        "--wait",
    ];
    // Until the bus is there, systemctl has nobody to ask.
    let ran = wait_until(Duration::from_secs(120), || {
        Some(env.sampan(&ask)).filter(|ran| {
            !matches!(
                ran.stdout.trim(),
                "" | "offline" | "initializing" | "starting"
            )
        })
    })
    .expect("systemd answers");
    let failed = env.sampan(&["exec", name, "--", "systemctl", "--failed", "--no-legend"]);
    format!("{} {}", ran.stdout.trim(), failed.stdout)
        .trim()
        .to_owned()
}

fn halts_when_asked(env: &TestEnvironment, name: &str) {
    let begun = Instant::now();
    let ran = env.sampan(&["stop", name]).ok();
    assert!(!ran.stderr.contains("killed"), "{}", ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(45));
    assert_eq!(env.state_of(name), "stopped");
}

fn systemd_guest(suite: &str) {
    let env = world();
    let option = format!("suite={suite}");
    let mut ran = create(&env, suite, &[&option]);
    if ran.code != 0 && ran.stderr.contains("it was valid until") {
        eprintln!("the mirror's {suite} is stale: its age is accepted for this test");
        ran = create(&env, suite, &[&option, "allow-expired-release=true"]);
    }
    if ran.code != 0 && (ran.stderr.contains("404") || ran.stderr.contains("not found")) {
        eprintln!(
            "NOT TESTED: this machine's mirror has no {suite}:\n{}",
            ran.stderr
        );
        return;
    }
    ran.ok();
    assert_eq!(systemd_state(&env, suite), "running");
    let release = env
        .sampan(&["exec", suite, "--", "cat", "/etc/os-release"])
        .ok();
    assert!(release.stdout.contains(suite), "{}", release.stdout);
    halts_when_asked(&env, suite);
}

#[test]
fn bullseye_reaches_running_and_halts_when_asked() {
    systemd_guest("bullseye");
}

#[test]
fn forky_reaches_running_and_halts_when_asked() {
    systemd_guest("forky");
}

#[test]
fn a_sysvinit_guest_reaches_its_runlevel_and_halts_when_asked() {
    let env = world();
    let options = [
        "variant=minbase",
        "include=sysvinit-core,initscripts",
        "exclude=systemd-sysv",
    ];
    create(&env, "sysv", &options).ok();
    let level = wait_until(Duration::from_secs(120), || {
        let ran = env.sampan(&["exec", "sysv", "--", "runlevel"]);
        // The level before and the level now, once the scripts of boot are through; on the way there
        // it is "N *".
        Some(ran.stdout.trim().to_owned()).filter(|level| level == "N 2")
    });
    assert_eq!(level.as_deref(), Some("N 2"));
    let version = env.sampan(&["exec", "sysv", "--", "/sbin/init", "--version"]);
    let said = format!("{}{}", version.stdout, version.stderr);
    assert!(said.contains("SysV"), "{said}");
    halts_when_asked(&env, "sysv");
}
