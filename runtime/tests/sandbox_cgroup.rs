//! The cgroup of a sandbox. Needs root. One test only: it counts what this process has.

#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use sampan_runtime::IdRange;
use sampan_runtime::sandbox::Sandbox;

/// The cgroups of this process's sandboxes, in all hierarchies.
fn cgroups() -> Vec<PathBuf> {
    let prefix = format!("sandbox.{}.", std::process::id());
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    found.push(entry.path());
                }
                directories.push(entry.path());
            }
        }
    }
    found
}

fn sandbox(program: &str) -> Sandbox {
    let (_, write) = std::io::pipe().unwrap();
    let mut sandbox = Sandbox::new(program, write.into(), IdRange::random_for_build());
    sandbox.arguments = vec!["-c".into(), "while :; do read x < /dev/zero; done".into()];
    sandbox
}

#[test]
fn every_sandbox_has_a_cgroup_with_a_limit_and_leaves_none() {
    assert!(sandbox("/no/such").spawn().is_err());
    assert_eq!(cgroups(), Vec::<PathBuf>::new(), "after a failed start");

    // Found out by the child, when everything else is in place: no program.
    assert!(sandbox("/etc/passwd").spawn().is_err());
    assert_eq!(cgroups(), Vec::<PathBuf>::new(), "after a failed start");

    let mut process = sandbox("/bin/sh").spawn().unwrap();
    let directories = cgroups();
    assert!(!directories.is_empty());
    let limits: Vec<String> = directories
        .iter()
        .filter_map(|directory| fs::read_to_string(directory.join("pids.max")).ok())
        .collect();
    let controllers = fs::read_to_string("/proc/cgroups").unwrap();
    if controllers.lines().any(|line| line.starts_with("pids")) {
        assert_eq!(limits, ["4096\n"]);
    }
    process.kill();
    assert!(!process.wait().unwrap().success());
    drop(process);
    assert_eq!(cgroups(), Vec::<PathBuf>::new());
}
