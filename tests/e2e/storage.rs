//! One list of behaviours for every kind of storage, and what only some of them do.

use std::{fs, process::Command};

use sampan_tests::TestEnvironment;

/// The command in the guest; its output.
#[track_caller]
fn inside(env: &TestEnvironment, name: &str, script: &str) -> String {
    env.sampan(&["exec", name, "--", "/bin/busybox", "sh", "-c", script])
        .ok()
        .stdout
}

fn info(env: &TestEnvironment, name: &str) -> serde_json::Value {
    env.sampan(&["info", name, "--format", "json"]).ok().json()
}

/// What a person does with a container, whatever its storage.
#[track_caller]
fn lives_its_life(env: &TestEnvironment, kind: &str, arguments: &[&str]) {
    let mut arguments = arguments.to_vec();
    arguments.push("--start");
    env.create_small_guest("one", &arguments);
    assert_eq!(info(env, "one")["storage"], kind);
    let script = "umask 022; mkdir -p /srv/d && cd /srv/d && echo first >f && ln f g && ln -s f l && \
                  chown 33:44 f && chmod 4750 f && mkfifo p && chmod 1777 . && rm /etc/what && \
                  busybox stat -c '%u:%g %a' / f .";
    assert_eq!(
        inside(env, "one", script),
        "0:0 755\n33:44 4750\n0:0 1777\n"
    );
    env.sampan(&["stop", "--kill", "one"]).ok();

    // A copy has everything, and an identity of its own.
    env.sampan(&["copy", "one", "two", "--start"]).ok();
    let script = "cd /srv/d; cat f; busybox stat -c '%u:%g %a %h' f; test f -ef g && test -p p && \
                  busybox readlink l; test -e /etc/what || echo gone; cat /etc/hostname";
    let seen = inside(env, "two", script);
    assert_eq!(seen, "first\n33:44 4750 2\nf\ngone\ntwo\n");
    assert_ne!(info(env, "one")["host_uid"], info(env, "two")["host_uid"]);
    inside(env, "two", "echo changed >/srv/d/f");
    env.sampan(&["stop", "--kill", "two"]).ok();

    // A snapshot keeps what was; the copy's change did not reach the original.
    env.sampan(&[
        "snapshot",
        "create",
        "one",
        "then",
        "--comment",
        "as it was",
    ])
    .ok();
    env.sampan(&["start", "one"]).ok();
    assert_eq!(inside(env, "one", "cat /srv/d/f"), "first\n");
    inside(
        env,
        "one",
        "echo second >/srv/d/f; rm /srv/d/p; echo x >/new",
    );
    env.sampan(&["snapshot", "restore", "one", "then"]).failed();
    env.sampan(&["stop", "--kill", "one"]).ok();
    env.sampan(&["snapshot", "restore", "one", "then", "--as", "three"])
        .ok();
    env.sampan(&["snapshot", "restore", "one", "then"]).ok();
    for (name, host_name) in [("one", "one"), ("three", "three")] {
        env.sampan(&["start", name]).ok();
        let script = "cat /srv/d/f; test -p /srv/d/p && test ! -e /new && cat /etc/hostname";
        assert_eq!(inside(env, name, script), format!("first\n{host_name}\n"));
        env.sampan(&["stop", "--kill", name]).ok();
    }

    // Another name, and then another restoration.
    env.sampan(&["rename", "one", "uno"]).ok();
    env.sampan(&["snapshot", "restore", "uno", "then"]).ok();
    env.sampan(&["start", "uno"]).ok();
    assert_eq!(inside(env, "uno", "cat /srv/d/f"), "first\n");
    env.sampan(&["destroy", "--force", "uno"]).failed();
    env.sampan(&["destroy", "--force", "--snapshots", "uno"])
        .ok();
    for name in ["two", "three"] {
        env.sampan(&["destroy", name]).ok();
    }
    let left: Vec<_> = fs::read_dir(env.state())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name != ".images")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_container_in_a_directory_lives_its_life() {
    let env = TestEnvironment::new();
    lives_its_life(&env, "dir", &[]);
}

#[test]
fn a_container_on_an_overlay_lives_its_life() {
    let env = TestEnvironment::new();
    lives_its_life(&env, "overlay", &["--storage", "overlay"]);
}

#[test]
fn a_privileged_container_on_an_overlay_lives_its_life() {
    let env = TestEnvironment::new();
    env.create_small_guest("one", &["--storage", "overlay", "--privileged", "--start"]);
    inside(&env, "one", "echo x >/new; rm /etc/what");
    env.sampan(&["stop", "--kill", "one"]).ok();
    let upper = info(&env, "one")["rootfs"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(format!("{upper}/new")).unwrap(), "x\n");
    env.sampan(&["copy", "one", "two", "--start"]).ok();
    let script = "cat /new; test -e /etc/what || echo gone";
    assert_eq!(inside(&env, "two", script), "x\ngone\n");
}

#[test]
fn a_container_in_an_image_file_lives_its_life() {
    let env = TestEnvironment::new();
    lives_its_life(&env, "loop", &["--size", "48M"]);
}

#[test]
fn a_container_on_btrfs_lives_its_life() {
    let env = TestEnvironment::on_disk("btrfs", 512 << 20);
    lives_its_life(&env, "btrfs", &[]);
}

#[test]
fn a_size_is_a_limit_and_everybody_sees_it() {
    let disk = TestEnvironment::on_disk("btrfs", 512 << 20);
    for (env, kind) in [(TestEnvironment::new(), "loop"), (disk, "btrfs")] {
        env.create_small_guest("small", &["--size", "40M", "--start"]);
        let shown = info(&env, "small");
        assert_eq!(shown["storage"], kind);
        assert_eq!(shown["size_limit"], 40 << 20);
        let script =
            "busybox dd if=/dev/urandom of=/large bs=1M count=80 2>&1; busybox sync; rm /large";
        let said = inside(&env, "small", script);
        let full = said.contains("No space left") || said.contains("quota exceeded");
        assert!(full, "{kind}: {said}");
        env.sampan(&["stop", "--kill", "small"]).ok();
        env.sampan(&["copy", "small", "other", "--start"]).ok();
        assert_eq!(info(&env, "other")["size_limit"], 40 << 20);
        let said = inside(&env, "other", script);
        let full = said.contains("No space left") || said.contains("quota exceeded");
        assert!(full, "the copy of {kind}: {said}");
    }
}

#[test]
fn an_overlay_copies_nothing_and_what_it_lies_on_cannot_go() {
    let env = TestEnvironment::new();
    env.create_small_guest("one", &["--storage", "overlay"]);
    env.create_small_guest("two", &["--storage", "overlay"]);
    let layers = env.state().join(".images");
    assert_eq!(fs::read_dir(&layers).unwrap().count(), 1);
    let delta = env.state().join("one/delta/upper");
    let names: Vec<_> = fs::read_dir(&delta)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["etc"], "only what the template changed");

    let refused = env.sampan(&["image", "rm", "naughty"]).failed();
    assert!(
        refused.stderr.contains("container one, container two"),
        "{}",
        refused.stderr
    );
    env.sampan(&["snapshot", "create", "one"]).ok();
    env.sampan(&["destroy", "two"]).ok();
    let refused = env.sampan(&["image", "rm", "naughty"]).failed();
    assert!(
        refused.stderr.contains("snapshot snap0 of container one"),
        "{}",
        refused.stderr
    );
    env.sampan(&["destroy", "--snapshots", "one"]).ok();
    env.sampan(&["image", "rm", "naughty"]).ok();
    assert_eq!(fs::read_dir(&layers).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    let env = TestEnvironment::new();
    for (arguments, why) in [
        (&["--storage", "zfs"][..], "dir, overlay, btrfs or loop"),
        (&["--storage", "dir", "--size", "1G"], "cannot be limited"),
        (
            &["--storage", "overlay", "--size", "1G"],
            "cannot be limited",
        ),
        (&["--storage", "loop"], "needs a size"),
        (&["--storage", "btrfs"], "is not on btrfs"),
        (&["--size", "1M"], "too small"),
        (&["--size", "many"], "such as 10G"),
        // The image is larger than that.
        (&["-o", "size=30000000", "--size", "24M"], "No space left"),
    ] {
        let mut all = vec![
            "create",
            "bad",
            "-t",
            "naughty",
            "-o",
            "program=/bin/busybox",
        ];
        all.extend(arguments);
        let ran = env.sampan(&all);
        assert_ne!(ran.code, 0, "{arguments:?}");
        assert!(ran.stderr.contains(why), "{arguments:?}: {}", ran.stderr);
        assert_eq!(env.state_of("bad"), "absent");
    }
    let left: Vec<_> = fs::read_dir(env.state())
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_full_disk_in_the_middle_of_a_copy_leaves_nothing() {
    let env = TestEnvironment::on_disk("ext4", 110 << 20);
    // Room for the image and one container, not for two.
    env.create_small_guest("one", &["-o", "size=38000000"]);
    let ran = env.sampan(&["copy", "one", "two"]).failed();
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
    let ran = env.sampan(&["snapshot", "create", "one"]).failed();
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
    let left = Command::new("find")
        .arg(env.state())
        .args(["-name", ".new-*"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    assert_eq!(env.state_of("two"), "absent");
    env.sampan(&["start", "one"]).ok();
}
