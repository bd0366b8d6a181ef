//! Copies: an identity of their own, and what they share with the original.

use std::fs;

use sampan_tests::TestEnvironment;

fn rootfs(env: &TestEnvironment, name: &str) -> std::path::PathBuf {
    env.state().join(name).join("rootfs")
}

fn edit_config(env: &TestEnvironment, name: &str, edit: impl FnOnce(String) -> String) {
    let path = env.state().join(name).join("config");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, edit(text)).unwrap();
}

#[test]
fn a_copy_without_its_template_still_gets_an_identity_of_its_own() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let etc = rootfs(&env, "web").join("etc");
    fs::write(etc.join("machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::write(etc.join("hosts"), "127.0.1.1\tweb\n10.1.1.1\tdatabase\n").unwrap();
    fs::create_dir(etc.join("ssh")).unwrap();
    fs::write(etc.join("ssh/ssh_host_rsa_key"), "secret").unwrap();
    fs::write(etc.join("ssh/sshd_config"), "kept").unwrap();
    fs::write(env.state().join("web/fstab"), "").unwrap();
    edit_config(&env, "web", |text| {
        let text = text.replace("sampan.template = naughty", "sampan.template = no-such");
        let more = format!(
            "lxc.mount.fstab = {}/web/fstab\nlxc.net.1.type = veth\n\
             lxc.net.1.hwaddr = 00:16:3e:01:02:03\n",
            env.state().display()
        );
        text + &more
    });

    let ran = env.sampan(&["copy", "web", "web2"]).ok();
    assert!(ran.stderr.contains("ssh-keygen"), "{}", ran.stderr);
    let etc = rootfs(&env, "web2").join("etc");
    assert_eq!(fs::read_to_string(etc.join("hostname")).unwrap(), "web2\n");
    assert_eq!(fs::read_to_string(etc.join("machine-id")).unwrap(), "");
    assert_eq!(
        fs::read_to_string(etc.join("hosts")).unwrap(),
        "127.0.1.1\tweb2\n10.1.1.1\tdatabase\n"
    );
    assert!(!etc.join("ssh/ssh_host_rsa_key").exists());
    assert!(etc.join("ssh/sshd_config").exists());
    assert!(env.state().join("web2/fstab").exists());
    let config = fs::read_to_string(env.state().join("web2/config")).unwrap();
    let line = |key: &str| {
        let line = config.lines().find(|line| line.starts_with(key));
        line.unwrap_or_else(|| panic!("{key} in\n{config}"))
            .to_owned()
    };
    assert_eq!(line("lxc.uts.name"), "lxc.uts.name = web2");
    assert!(line("lxc.mount.fstab").ends_with("/web2/fstab"));
    let address = line("lxc.net.1.hwaddr");
    assert!(address.contains("= 00:16:3e:"), "{address}");
    assert!(!address.ends_with("01:02:03"), "{address}");
    // The original is what it was.
    let etc = rootfs(&env, "web").join("etc");
    assert!(etc.join("ssh/ssh_host_rsa_key").exists());
    assert_eq!(fs::read_to_string(etc.join("hostname")).unwrap(), "web\n");
}

#[test]
fn a_copy_that_shares_keeps_the_original_from_being_destroyed_renamed_or_started() {
    let env = TestEnvironment::new();
    env.create_small_guest("base", &[]);
    fs::write(rootfs(&env, "base").join("note"), "from base\n").unwrap();
    env.sampan(&["copy", "base", "job", "--snapshot", "--start"])
        .ok();
    let script = [
        "exec",
        "job",
        "--",
        "/bin/busybox",
        "cat",
        "/note",
        "/etc/hostname",
    ];
    assert_eq!(env.sampan(&script).ok().stdout, "from base\njob\n");
    assert!(!env.state().join("job/delta/upper/bin").exists());
    for command in [
        &["destroy", "base"][..],
        &["destroy", "--force", "base"],
        &["rename", "base", "b"],
        // It would change the lower layer of an overlay that is mounted.
        &["start", "base"],
        &["restart", "base"],
    ] {
        let refused = env.sampan(command).failed();
        assert!(
            refused.stderr.contains("container job"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(env.state_of("base"), "stopped");
    env.sampan(&["copy", "base", "goes-on", "--start"]).ok();
    // Also what a snapshot has below it must not change.
    env.sampan(&["stop", "--kill", "job"]).ok();
    env.sampan(&["snapshot", "create", "job", "kept"]).ok();
    let refused = env.sampan(&["start", "base"]).failed();
    let who = "container job, snapshot kept of container job";
    assert!(refused.stderr.contains(who), "{}", refused.stderr);
    env.sampan(&["destroy", "--force", "--snapshots", "job"])
        .ok();
    env.sampan(&["start", "base"]).ok();
    env.sampan(&["stop", "--kill", "base"]).ok();
    env.sampan(&["destroy", "base"]).ok();
}

#[test]
fn what_runs_is_not_copied_and_a_taken_name_stays() {
    let env = TestEnvironment::new();
    env.small_guest("busy");
    let refused = env.sampan(&["copy", "busy", "other"]).failed();
    assert!(
        refused.stderr.contains("sampan stop busy"),
        "{}",
        refused.stderr
    );
    env.sampan(&["stop", "--kill", "busy"]).ok();
    env.create_small_guest("taken", &[]);
    let refused = env.sampan(&["copy", "busy", "taken"]).failed();
    assert!(
        refused.stderr.contains("already exists"),
        "{}",
        refused.stderr
    );
    let refused = env.sampan(&["copy", "bussy", "other"]).failed();
    assert!(
        refused.stderr.contains("did you mean busy"),
        "{}",
        refused.stderr
    );
    let refused = env.sampan(&["copy", "busy", "../other"]);
    assert_ne!(refused.code, 0);
    assert_eq!(env.state_of("other"), "absent");
}

#[test]
fn a_killed_copy_leaves_nothing_behind() {
    let env = TestEnvironment::new();
    env.create_small_guest("one", &["-o", "size=20000000"]);
    for milliseconds in [0, 1, 2, 5, 10, 20, 40, 80] {
        let copying = env.background(&["copy", "one", "two"]);
        // The moment is what is tried out; nothing is waited for.
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        copying.signal(nix::sys::signal::Signal::SIGKILL);
        copying.wait();
        if env.state_of("two") != "absent" {
            env.sampan(&["start", "two"]).ok();
            env.sampan(&["destroy", "--force", "two"]).ok();
        }
    }
    env.sampan(&["copy", "one", "two", "--start"]).ok();
    let left: Vec<_> = fs::read_dir(env.state())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_hooks_of_a_copy_and_of_a_destruction_see_the_files() {
    let env = TestEnvironment::new();
    env.create_small_guest("one", &["--storage", "overlay"]);
    let hook = env.scratch().join("hook");
    let seen = env.scratch().join("seen");
    let script = format!(
        "#!/bin/sh\necho \"$LXC_NAME of ${{LXC_SRC_NAME-nothing}}: $(cat $LXC_ROOTFS_MOUNT/etc/what)\" >>{}\n\
         echo hooked >$LXC_ROOTFS_MOUNT/etc/hooked\n",
        seen.display()
    );
    fs::write(&hook, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&hook, mode).unwrap();
    edit_config(&env, "one", |text| {
        let hook = hook.display();
        format!("{text}\nlxc.hook.clone = {hook}\nlxc.hook.destroy = {hook}\n")
    });
    env.sampan(&["copy", "one", "two", "--start"]).ok();
    let hooked = ["exec", "two", "--", "/bin/busybox", "cat", "/etc/hooked"];
    assert_eq!(env.sampan(&hooked).ok().stdout, "hooked\n");
    env.sampan(&["destroy", "--force", "two"]).ok();
    assert_eq!(
        fs::read_to_string(&seen).unwrap(),
        "two of one: behave\ntwo of nothing: behave\n"
    );
    // A hook that fails keeps the container.
    fs::write(&hook, "#!/bin/sh\nexit 3\n").unwrap();
    env.sampan(&["copy", "one", "three"]).failed();
    env.sampan(&["destroy", "one"]).failed();
    assert_eq!(env.state_of("one"), "stopped");
    fs::write(&hook, "#!/bin/sh\n").unwrap();
}
