//! Debian's LXC as the oracle: it boots what Sampan makes, unchanged.

use std::{process::Command, time::Duration};

use sampan_tests::{TestEnvironment, wait_until};

/// Runs a tool of LXC's where /etc/subuid and /etc/subgid are those below the test's root: LXC
/// maps only what stands there, and the host's own stay as they are.
fn lxc(env: &TestEnvironment, tool: &str, arguments: &[&str]) -> (bool, String) {
    let etc = env.root().join("etc");
    let script = format!(
        "for f in subuid subgid; do test ! -e /etc/$f || mount --bind {0}/$f /etc/$f; done; exec \"$@\"",
        etc.display()
    );
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            &script,
            "sh",
            tool,
            "-P",
        ])
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
    std::fs::create_dir(env.root().join("etc")).unwrap();
    for file in ["subuid", "subgid"] {
        std::fs::write(env.root().join("etc").join(file), "").unwrap();
    }
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
        let (ok, text) = lxc(
            &env,
            "lxc-attach",
            &["-n", "shared", "--", "/bin/busybox", "cat", "/etc/hostname"],
        );
        ok.then_some(text)
    });
    let (stopped, words) = lxc(&env, "lxc-stop", &["-n", "shared", "-k"]);
    assert_eq!(ran.as_deref().map(str::trim), Some("shared"), "{}", log());
    assert!(stopped, "{words}");
}
