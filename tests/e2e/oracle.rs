//! Debian's LXC as the oracle: it boots what Sampan makes, unchanged.

use std::{process::Command, time::Duration};

use sampan_tests::{TestEnvironment, wait_until};

fn lxc(env: &TestEnvironment, tool: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(tool)
        .arg("-P")
        .arg(env.state())
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {tool}: {error}; run `cargo xtask test`"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn lxc_start_boots_a_container_of_ours_unchanged() {
    let env = TestEnvironment::new();
    env.create_small_guest("shared", &[]);
    // LXC enters the directory as the container's root.
    let log = env.scratch().join("lxc.log");
    let (started, text) = lxc(
        &env,
        "lxc-start",
        &["-n", "shared", "-o", log.to_str().unwrap(), "-l", "DEBUG"],
    );
    let log = || std::fs::read_to_string(&log).unwrap_or_default();
    assert!(started, "{text}\n{}", log());
    let ran = wait_until(Duration::from_secs(20), || {
        let (ok, text) = lxc(&env, "lxc-attach", &["-n", "shared", "--", "/bin/busybox", "cat", "/etc/hostname"]);
        ok.then_some(text)
    });
    let (stopped, words) = lxc(&env, "lxc-stop", &["-n", "shared", "-k"]);
    assert_eq!(ran.as_deref().map(str::trim), Some("shared"), "{}", log());
    assert!(stopped, "{words}");
}
