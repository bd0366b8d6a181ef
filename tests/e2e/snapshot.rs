//! Snapshots: their list, and what goes wrong.

use std::fs;

use sampan_tests::TestEnvironment;

#[test]
fn snapshots_are_listed_with_comment_time_and_size_and_removed() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    env.sampan(&["snapshot", "create", "web"]).ok();
    env.sampan(&[
        "snapshot",
        "create",
        "web",
        "before",
        "--comment",
        "an \"upgrade\"",
    ])
    .ok();
    let rows = env
        .sampan(&["snapshot", "ls", "web", "--format", "json"])
        .ok()
        .json();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let row = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "before")
        .unwrap();
    assert_eq!(row["comment"], "an \"upgrade\"");
    assert_eq!(row["storage"], "dir");
    assert!(row["size"].as_u64().unwrap() > 100_000);
    assert!(row["created_at"].as_u64().unwrap() > 1_500_000_000);

    let refused = env
        .sampan(&["snapshot", "create", "web", "before"])
        .failed();
    assert!(
        refused.stderr.contains("snapshot rm web before"),
        "{}",
        refused.stderr
    );
    let refused = env
        .sampan(&["snapshot", "restore", "web", "befor"])
        .failed();
    assert!(
        refused.stderr.contains("did you mean before"),
        "{}",
        refused.stderr
    );
    for bad in ["../web", "a/b", ""] {
        assert_ne!(env.sampan(&["snapshot", "create", "web", bad]).code, 0);
        assert_ne!(env.sampan(&["snapshot", "rm", "web", bad]).code, 0);
    }
    let refused = env.sampan(&["destroy", "web"]).failed();
    assert!(
        refused.stderr.contains("before, snap0"),
        "{}",
        refused.stderr
    );
    env.sampan(&["snapshot", "rm", "web", "snap0", "before"])
        .ok();
    env.sampan(&["destroy", "web"]).ok();
}

#[test]
fn a_restored_config_is_that_of_the_snapshot_and_an_interrupted_one_changes_nothing() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let path = env.state().join("web/config");
    let before = fs::read_to_string(&path).unwrap();
    env.sampan(&["snapshot", "create", "web"]).ok();
    fs::write(&path, before.clone() + "lxc.environment = A=b\n").unwrap();
    // What a killed restoration leaves: a tree that no config names.
    fs::create_dir_all(env.state().join("web/rootfs-2/bin")).unwrap();
    fs::write(env.state().join("web/rootfs/mark"), "").unwrap();
    env.sampan(&["start", "web"]).ok();
    env.sampan(&["stop", "--kill", "web"]).ok();
    env.sampan(&["snapshot", "restore", "web", "snap0"]).ok();
    let after = fs::read_to_string(&path).unwrap();
    assert!(!after.contains("A=b"), "{after}");
    let trees: Vec<String> = fs::read_dir(env.state().join("web"))
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("rootfs"))
        .collect();
    assert_eq!(trees.len(), 1, "{trees:?}");
    assert!(
        !env.state()
            .join("web")
            .join(&trees[0])
            .join("mark")
            .exists()
    );
    // The next one gets the old name again.
    env.sampan(&["snapshot", "restore", "web", "snap0"]).ok();
    let again = fs::read_to_string(&path).unwrap();
    assert_eq!(again, before);
}
