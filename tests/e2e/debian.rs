//! The two templates against the real mirror, and their guests.

use std::time::Duration;

use sampan_tests::{TestEnvironment, wait_until};

fn world() -> TestEnvironment {
    let env = TestEnvironment::new();
    env.share_downloads();
    env
}

/// Stops a guest that must halt by itself; one that does not says how far it got.
#[track_caller]
fn halts(env: &TestEnvironment, name: &str) {
    let ran = env.sampan(&["stop", name]).ok();
    if ran.stderr.contains("killed") {
        let console = env.sampan(&["logs", "-n", "40", name]).stdout;
        let monitor = env.sampan(&["logs", "--monitor", "-n", "10", name]).stdout;
        panic!(
            "{}its console:\n{console}\nits monitor:\n{monitor}",
            ran.stderr
        );
    }
}

fn systemd_guest_reaches_running(suite: &str) {
    let env = world();
    let suite_option = format!("suite={suite}");
    env.sampan(&[
        "create",
        suite,
        "-t",
        "debian",
        "-o",
        &suite_option,
        "--start",
    ])
    .ok();
    // Until the bus is there, systemctl has nobody to ask.
    let ask = [
        "exec",
        suite,
        "--",
        "systemctl",
        "is-system-running",
        "--wait",
    ];
    let ran = wait_until(Duration::from_secs(120), || {
        Some(env.sampan(&ask)).filter(|ran| !matches!(ran.stdout.trim(), "" | "offline"))
    })
    .expect("systemd answers");
    if ran.stdout.trim() != "running" {
        let failed = env.sampan(&["exec", suite, "--", "systemctl", "--failed", "--no-pager"]);
        panic!("systemd says {}: {}", ran.stdout, failed.stdout);
    }
    let release = env
        .sampan(&["exec", suite, "--", "cat", "/etc/os-release"])
        .ok();
    assert!(
        suite == "stable" || release.stdout.contains(suite),
        "{}",
        release.stdout
    );
    let name = env
        .sampan(&["exec", suite, "--", "cat", "/etc/hostname"])
        .ok();
    assert_eq!(name.stdout.trim(), suite);
    for (script, why) in [
        ("dpkg --audit", "dpkg has nothing to complain of"),
        (
            "test -z \"$(ls /var/cache/apt/archives/*.deb 2>/dev/null)\"",
            "no packages are left",
        ),
        (
            "test -z \"$(find /var/lib/apt/lists -type f 2>/dev/null)\"",
            "no lists are left",
        ),
        (
            "command -v ip systemctl dbus-daemon update-ca-certificates >/dev/null",
            "the tools are there",
        ),
        ("test -s /etc/protocols", "netbase is there"),
        ("test ! -e /usr/sbin/policy-rc.d", "services may start"),
        (
            "test \"$(stat -c %s /etc/machine-id)\" = 33",
            "it has an identity",
        ),
    ] {
        let ran = env.sampan(&["exec", suite, "--", "sh", "-c", script]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (0, ""),
            "not so: {why}: {}",
            ran.stderr
        );
    }
    // Root has no password: nobody who does not already have a way in may log in.
    let shadow = env
        .sampan(&["exec", suite, "--", "sh", "-c", "grep ^root: /etc/shadow"])
        .ok();
    let password = shadow.stdout.split(':').nth(1).unwrap().to_owned();
    assert!(
        password.starts_with('*') || password.starts_with('!'),
        "{password}"
    );

    let begun = std::time::Instant::now();
    halts(&env, suite);
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(env.state_of(suite), "stopped");
    // Asked before it can hear: it halts as soon as it can, not after a minute.
    env.sampan(&["start", suite]).ok();
    let begun = std::time::Instant::now();
    halts(&env, suite);
    assert!(begun.elapsed() < Duration::from_secs(30));
    let logs = env.sampan(&["logs", suite]).ok();
    assert!(
        logs.stdout.contains("Debian") || logs.stdout.contains("systemd"),
        "{}",
        logs.stdout
    );
}

#[test]
fn bookworm_reaches_running_and_halts_when_asked() {
    systemd_guest_reaches_running("bookworm");
}

#[test]
fn trixie_reaches_running_and_halts_when_asked() {
    systemd_guest_reaches_running("trixie");
}

#[test]
fn two_builds_of_debian_are_the_same_bytes() {
    let one = world();
    let two = world();
    let build = ["image", "build", "-t", "debian", "--format", "json"];
    let first = one.sampan(&build).ok().json();
    let second = two.sampan(&build).ok().json();
    assert_eq!(
        (&first["built"], &second["built"]),
        (&true.into(), &true.into())
    );
    if first["sha256"] != second["sha256"] {
        let list = |image: &serde_json::Value| {
            let script = "set -e; d=$(mktemp -d); trap 'rm -rf $d' EXIT; tar --zstd -xf \"$1\" -C $d; cd $d; find . -type f -printf '%p %m %U %G %Ts ' -exec sha256sum {} \\; | sort";
            let path = image["path"].as_str().unwrap();
            let output = std::process::Command::new("sh")
                .args(["-c", script, "sh", path])
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (first, second) = (list(&first), list(&second));
        let differ: Vec<_> = first
            .iter()
            .filter(|line| !second.contains(line))
            .take(20)
            .collect();
        panic!("the files that differ: {differ:#?}");
    }
}

#[test]
fn two_builds_of_busybox_are_the_same_bytes() {
    let one = world();
    let two = world();
    let build = ["image", "build", "-t", "busybox", "--format", "json"];
    let first = one.sampan(&build).ok().json();
    assert_eq!(first["sha256"], two.sampan(&build).ok().json()["sha256"]);
    // An unchanged mirror means a hit.
    assert_eq!(one.sampan(&build).ok().json()["built"], false);
}

#[test]
fn a_busybox_guest_works_halts_and_reboots() {
    let env = world();
    env.sampan(&["create", "bb", "-t", "busybox", "--start"])
        .ok();
    let ran = env.sampan(&["exec", "bb", "--", "hostname"]).ok();
    assert_eq!(ran.stdout.trim(), "bb");
    let linked = env
        .sampan(&[
            "exec",
            "bb",
            "--",
            "sh",
            "-c",
            "ls -l /bin/ls && vi --help 2>&1 | head -n 1 && test ! -e /lib",
        ])
        .ok();
    assert!(linked.stdout.contains("busybox"), "{}", linked.stdout);

    let info = || env.sampan(&["info", "bb", "--format", "json"]).ok().json();
    let before = info()["init_pid"].as_i64().unwrap();
    env.sampan(&["exec", "bb", "--", "reboot"]);
    let after = wait_until(Duration::from_secs(30), || {
        info()["init_pid"].as_i64().filter(|pid| *pid != before)
    });
    assert!(after.is_some(), "it did not come back after a reboot");
    env.sampan(&["exec", "bb", "--", "true"]).ok();

    env.sampan(&["exec", "bb", "--", "poweroff"]);
    let halted = wait_until(Duration::from_secs(30), || {
        (env.state_of("bb") == "stopped").then_some(())
    });
    assert!(halted.is_some(), "it did not halt");
    env.sampan(&["start", "bb"]).ok();
    let ran = env.sampan(&["stop", "--timeout", "20", "bb"]).ok();
    assert!(!ran.stderr.contains("killed"), "{}", ran.stderr);
}

#[test]
fn included_packages_are_installed_and_unknown_ones_named() {
    let env = world();
    let minbase = ["image", "build", "-t", "debian", "-o", "variant=minbase"];
    let ran = env
        .sampan(&[&minbase[..], &["-o", "include=nano,no-such-package"]].concat())
        .failed();
    assert!(ran.stderr.contains("no-such-package"), "{}", ran.stderr);
    let image = env
        .sampan(&[&minbase[..], &["-o", "include=nano", "--format", "json"]].concat())
        .ok()
        .json();
    let record = image["path"].as_str().unwrap().replace(".tar.zst", ".json");
    let record = std::fs::read_to_string(record).unwrap();
    assert!(record.contains("\"name\": \"nano\""), "{record}");
}
