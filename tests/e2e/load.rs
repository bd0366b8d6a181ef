//! Many containers and many clients at once.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use sampan_tests::{TestEnvironment, leaks};

const CONTAINERS: usize = 50;
const CLIENTS: usize = 8;

/// Does something for each container, by all clients at once, each taking the next one.
fn by_clients(work: impl Fn(&str) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CONTAINERS {
                        return;
                    }
                    work(&name(number));
                }
            });
        }
    });
}

fn name(number: usize) -> String {
    format!("load{}x{number}", std::process::id())
}

#[test]
fn fifty_containers_are_created_started_entered_and_destroyed_by_eight_clients_at_once() {
    let env = TestEnvironment::new();
    // Nobody has built the image yet: all clients ask for it at once.
    by_clients(|name| env.create_small_guest(name, &[]));
    by_clients(|name| {
        env.sampan(&["start", name]).ok();
        let ran = env.sampan(&["exec", name, "--", "cat", "/etc/hostname"]);
        assert_eq!(ran.ok().stdout.trim(), name);
    });

    let rows = env.sampan(&["ls", "--format", "json"]).ok().json();
    let rows = rows.as_array().expect("a list");
    assert_eq!(rows.len(), CONTAINERS);
    assert!(rows.iter().all(|row| row["state"] == "running"), "{rows:?}");
    let different = |field: &str| -> BTreeSet<u64> {
        rows.iter().filter_map(|row| row[field].as_u64()).collect()
    };
    assert_eq!(different("init_pid").len(), CONTAINERS);
    assert_eq!(different("host_uid").len(), CONTAINERS, "ids are shared");

    // Half of them by two commands, half by one; nobody's end is another's.
    by_clients(|name| {
        if name.ends_with(['0', '2', '4', '6', '8']) {
            env.sampan(&["stop", "--kill", name]).ok();
            env.sampan(&["destroy", name]).ok();
        } else {
            env.sampan(&["destroy", "--force", name]).ok();
        }
    });
    let rows = env.sampan(&["ls", "--format", "json"]).ok().json();
    assert_eq!(rows.as_array().map(Vec::len), Some(0));
    for number in 0..CONTAINERS {
        let left = leaks::leaks(env.root(), &name(number));
        assert!(left.is_empty(), "of {}: {left:?}", name(number));
    }
    let left: Vec<_> = env.state().read_dir().unwrap().flatten().collect();
    assert!(
        left.iter()
            .all(|entry| entry.file_name().to_string_lossy().starts_with(".lock")),
        "{left:?}"
    );
}

#[test]
fn of_eight_clients_that_start_or_destroy_one_container_exactly_one_succeeds() {
    let env = TestEnvironment::new();
    env.create_small_guest("one", &[]);
    let succeeded = |arguments: &[&str], words: &[&str]| {
        let successes = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let ran = env.sampan(arguments);
                    if ran.code == 0 {
                        successes.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    let known = words.iter().any(|word| ran.stderr.contains(word));
                    assert!(known, "{}", ran.stderr);
                });
            }
        });
        successes.into_inner()
    };
    assert_eq!(succeeded(&["start", "one"], &["already running"]), 1);
    env.sampan(&["exec", "one", "--", "true"]).ok();
    env.sampan(&["stop", "--kill", "one"]).ok();
    let gone = ["there is no container"];
    assert_eq!(succeeded(&["destroy", "one"], &gone), 1);
    assert_eq!(env.state_of("one"), "absent");
}
