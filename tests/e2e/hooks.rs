//! Hooks: who fails, fails the start, with its name and its last words, and nothing is left.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use sampan_tests::TestEnvironment;

fn hook(env: &TestEnvironment, text: &str) -> PathBuf {
    let path = env.scratch().join("hook");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(env.scratch(), fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn configure(env: &TestEnvironment, name: &str, lines: &str) {
    let config = env.state().join(name).join("config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}{lines}")).unwrap();
}

#[test]
fn a_hook_that_fails_fails_the_start_with_its_last_words_and_leaves_nothing() {
    for kind in ["pre-start", "pre-mount", "mount", "autodev", "start-host"] {
        let env = TestEnvironment::new();
        env.create_small_guest("refusing", &[]);
        let program = hook(&env, "echo first; echo 'the disk is not there' >&2; exit 9");
        let after = env.scratch().join("after");
        configure(
            &env,
            "refusing",
            &format!(
                "lxc.hook.{kind} = {}\nlxc.hook.post-stop = echo ran >> {} #\n",
                program.display(),
                after.display()
            ),
        );
        let ran = env.sampan(&["start", "refusing"]).failed();
        for wanted in [
            &format!("lxc.hook.{kind} = {}", program.display()),
            "it ended with status 9",
            "the disk is not there",
        ] {
            assert!(
                ran.stderr.contains(wanted),
                "{kind}: {} lacks {wanted}",
                ran.stderr
            );
        }
        assert_eq!(env.state_of("refusing"), "stopped");
        assert!(!env.root().join("run/sampan/refusing").exists(), "{kind}");
        // What the first hooks did is for the last ones to undo; but nothing came before the first.
        assert_eq!(after.exists(), kind != "pre-start", "{kind}");
        let log = fs::read_to_string(env.root().join("var/log/sampan/refusing.log")).unwrap();
        assert!(
            log.contains("first\nthe disk is not there\n"),
            "{kind}: {log}"
        );
    }
}

#[test]
fn a_hook_inside_is_confined_as_the_guest_is() {
    let env = TestEnvironment::new();
    env.create_small_guest("inside", &[]);
    let path = env.state().join("inside/rootfs/bin/hook");
    fs::write(
        &path,
        "#!/bin/sh\ncat /proc/self/status > /status\n/bin/busybox dmesg && echo read > /kernel-log\n/bin/busybox ls /proc/self/fd > /descriptors\nexit 0\n",
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    configure(&env, "inside", "lxc.hook.start = /bin/hook\n");
    env.sampan(&["start", "inside"]).ok();
    let rootfs = env.state().join("inside/rootfs");
    let status = fs::read_to_string(rootfs.join("status")).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(!rootfs.join("kernel-log").exists());
    // The fourth is the listed directory itself.
    let descriptors = fs::read_to_string(rootfs.join("descriptors")).unwrap();
    let numbers: Vec<&str> = descriptors.split_whitespace().collect();
    assert_eq!(
        numbers,
        ["0", "1", "2", "3"],
        "descriptors of the host are open in it"
    );
    configure(&env, "inside", "lxc.hook.start = /bin/false\n");
    env.sampan(&["stop", "--kill", "inside"]).ok();
    let ran = env.sampan(&["start", "inside"]).failed();
    assert!(
        ran.stderr.contains("lxc.hook.start = /bin/false"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_a_mount_hook_mounts_is_in_the_container_and_not_on_the_host() {
    let env = TestEnvironment::new();
    env.create_small_guest("mounting", &["--privileged"]);
    let program = hook(
        &env,
        "mkdir -p $LXC_ROOTFS_MOUNT/srv/from-hook && mount -t tmpfs hooked $LXC_ROOTFS_MOUNT/srv/from-hook && echo here > $LXC_ROOTFS_MOUNT/srv/from-hook/file",
    );
    configure(
        &env,
        "mounting",
        &format!("lxc.hook.mount = {}\n", program.display()),
    );
    env.sampan(&["start", "mounting"]).ok();
    let ran = env
        .sampan(&["exec", "mounting", "--", "cat", "/srv/from-hook/file"])
        .ok();
    assert_eq!(ran.stdout, "here\n");
    let ran = env
        .sampan(&["exec", "mounting", "--", "cat", "/proc/mounts"])
        .ok();
    assert!(
        !ran.stdout.contains("/mnt "),
        "the host's root is still there: {}",
        ran.stdout
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("hooked"));
}

#[test]
fn a_container_that_is_ephemeral_is_gone_when_it_has_stopped() {
    let env = TestEnvironment::new();
    env.create_small_guest("mayfly", &[]);
    configure(&env, "mayfly", "lxc.ephemeral = 1\n");
    env.sampan(&["start", "mayfly"]).ok();
    env.sampan(&["stop", "--kill", "mayfly"]).ok();
    assert_eq!(env.state_of("mayfly"), "absent");
    assert!(!env.state().join("mayfly").exists());
}

#[test]
fn a_container_can_share_the_network_of_another() {
    let env = TestEnvironment::new();
    env.create_small_guest("first", &["--privileged"]);
    env.create_small_guest("second", &["--privileged"]);
    configure(&env, "second", "lxc.namespace.share.net = first\n");
    let ran = env.sampan(&["start", "second"]).failed();
    assert!(
        ran.stderr.contains("\"first\" does not run"),
        "{}",
        ran.stderr
    );
    env.sampan(&["start", "first"]).ok();
    env.sampan(&["start", "second"]).ok();
    let network = |name: &str| {
        let info = env.sampan(&["info", name, "--format", "json"]).ok().json();
        fs::read_link(format!("/proc/{}/ns/net", info["init_pid"])).unwrap()
    };
    assert_eq!(network("first"), network("second"));
    env.sampan(&["exec", "second", "--", "true"]).ok();
}

#[test]
fn what_would_reach_the_host_is_refused_by_name() {
    let env = TestEnvironment::new();
    env.create_small_guest("greedy", &["--privileged"]);
    let config = env.state().join("greedy/config");
    let sound = fs::read_to_string(&config).unwrap();
    for (line, words) in [
        (
            "lxc.sysctl.kernel.core_pattern = |/bin/evil",
            "would be changed for the host",
        ),
        ("lxc.namespace.keep = mnt", "mount namespace of its own"),
        ("lxc.namespace.keep = cgroup", "host's cgroups"),
        ("lxc.mount.auto = shmounts:/run/x", "shmounts:/run/x"),
        (
            "lxc.monitor.signal.pdeath = SIGTERM",
            "lxc.monitor.signal.pdeath",
        ),
        ("lxc.seccomp.profile = /no/such/profile", "/no/such/profile"),
    ] {
        fs::write(&config, format!("{sound}{line}\n")).unwrap();
        let ran = env.sampan(&["start", "greedy"]).failed();
        assert!(ran.stderr.contains(words), "{line}: {}", ran.stderr);
        assert_eq!(env.state_of("greedy"), "stopped", "{line}");
    }
}
