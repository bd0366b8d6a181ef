//! Another name: everything follows, and an interrupted renaming is told truly.

use std::fs;

use sampan_tests::TestEnvironment;

#[test]
fn logs_paths_and_host_name_follow_a_renaming() {
    let env = TestEnvironment::new();
    env.small_guest("old");
    let refused = env.sampan(&["rename", "old", "new"]).failed();
    assert!(
        refused.stderr.contains("sampan stop old"),
        "{}",
        refused.stderr
    );
    env.sampan(&["stop", "--kill", "old"]).ok();
    let uid = env.sampan(&["info", "old", "--format", "json"]).ok().json()["host_uid"].clone();
    env.sampan(&["rename", "old", "new"]).ok();
    assert_eq!(env.state_of("old"), "absent");
    let info = env.sampan(&["info", "new", "--format", "json"]).ok().json();
    assert_eq!(info["host_uid"], uid, "its ids stay");
    let logs = env.root().join("var/log/sampan");
    assert!(logs.join("new.log").exists() && !logs.join("old.log").exists());
    let config = fs::read_to_string(env.state().join("new/config")).unwrap();
    assert!(!config.contains("/old/"), "{config}");
    env.sampan(&["start", "new"]).ok();
    let name = ["exec", "new", "--", "/bin/busybox", "hostname"];
    assert_eq!(env.sampan(&name).ok().stdout, "new\n");

    env.create_small_guest("third", &[]);
    let refused = env.sampan(&["rename", "third", "new"]).failed();
    assert!(
        refused.stderr.contains("already exists"),
        "{}",
        refused.stderr
    );
    env.sampan(&["rename", "third", "third"]).failed();
    env.sampan(&["rename", "third", "-x"]);
    assert_eq!(env.state_of("third"), "stopped");
}

#[test]
fn a_killed_renaming_leaves_one_container_that_starts() {
    let env = TestEnvironment::new();
    env.create_small_guest("a", &[]);
    let (mut name, mut other) = ("a", "b");
    for microseconds in (0..30).map(|step| step * 500) {
        let renaming = env.background(&["rename", name, other]);
        // The moment is what is tried out; nothing is waited for.
        std::thread::sleep(std::time::Duration::from_micros(microseconds));
        renaming.signal(nix::sys::signal::Signal::SIGKILL);
        renaming.wait();
        let rows = env.sampan(&["ls", "--format", "json"]).ok().json();
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 1, "{rows:?}");
        if rows[0]["name"] == other {
            std::mem::swap(&mut name, &mut other);
        }
        assert_eq!(rows[0]["name"], name);
        let rootfs = env.state().join(name).join("rootfs");
        assert_eq!(rows[0]["rootfs"], rootfs.to_str().unwrap());
    }
    env.sampan(&["start", name]).ok();
    assert!(!env.state().join(name).join("renaming.json").exists());
}

#[test]
fn a_renaming_that_stopped_half_way_is_finished_by_the_next_command() {
    let env = TestEnvironment::new();
    env.create_small_guest("old", &[]);
    let state = env.state();
    let config = fs::read_to_string(state.join("old/config")).unwrap();
    let new = config
        .replace("/old/", "/new/")
        .replace("lxc.uts.name = old", "lxc.uts.name = new");
    let note = serde_json::json!({"from": "old", "to": "new", "config": new});
    fs::write(state.join("old/renaming.json"), note.to_string()).unwrap();
    // Before the directory has its new name, the note says nothing.
    assert_eq!(env.state_of("old"), "stopped");
    env.sampan(&["start", "old"]).ok();
    env.sampan(&["stop", "--kill", "old"]).ok();
    fs::write(state.join("old/renaming.json"), note.to_string()).unwrap();
    fs::rename(state.join("old"), state.join("new")).unwrap();
    let info = env.sampan(&["info", "new", "--format", "json"]).ok().json();
    assert_eq!(info["rootfs"], state.join("new/rootfs").to_str().unwrap());
    env.sampan(&["start", "new"]).ok();
    assert!(!state.join("new/renaming.json").exists());
    let text = fs::read_to_string(state.join("new/config")).unwrap();
    assert_eq!(text, new);
}
