//! Tests that are killed clean up nothing; the next ones do.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use sampan_tests::{TestEnvironment, deadline_of, leaks, processes, sweep};

#[test]
fn what_a_killed_test_left_is_removed_by_the_next_run_and_nothing_of_living_ones() {
    let env = TestEnvironment::new();
    env.small_guest("lives");
    let name = format!("killed{}", std::process::id());
    let mut killed = Command::new(env!("CARGO_BIN_EXE_left-behind"))
        .arg(&name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(killed.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let left = Path::new(line.trim());
    let netns = format!("sampan-e2e-{}-", killed.id());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(left.is_dir(), "it told no directory: {line}");
    assert_eq!(leaks::monitors(left, &name).len(), 1, "a guest runs on");

    sweep();
    // Another run that begins in this moment may be the one that does it.
    deadline_of("all of it is gone", || {
        let running = processes()
            .iter()
            .any(|(_, command)| command.contains(line.trim()));
        let networks = std::fs::read_dir("/run/netns").into_iter().flatten();
        let network = networks
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(&netns));
        let gone = !left.exists()
            && !running
            && !network
            && leaks::leaks(left, &name).is_empty()
            && !mounted(left);
        gone.then_some(())
    });
    assert_eq!(env.state_of("lives"), "running");
}

fn mounted(directory: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.contains(&directory.display().to_string())
}
