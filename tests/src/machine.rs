//! What a test may leave behind on the machine: nothing.

use std::path::{Path, PathBuf};

/// What of a test's world is still there, in words; empty when all is gone.
pub fn leftovers(root: &Path) -> Vec<String> {
    let root = root.display().to_string();
    let mut found = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in mounts.lines().filter(|line| line.contains(&root)) {
        found.push(format!("a mount: {line}"));
    }
    for device in std::fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
    {
        let file = device.path().join("loop/backing_file");
        let file = std::fs::read_to_string(file).unwrap_or_default();
        if file.contains(&root) {
            let name = device.file_name();
            found.push(format!("a loop device: {} of {file}", name.display()));
        }
    }
    for (pid, command) in processes() {
        if command.contains(&root) {
            found.push(format!("process {pid}: {command}"));
        }
    }
    found
}

/// Where something is mounted in this directory, as the kernel writes it, in the order of mounting.
pub fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .filter(|path| path.starts_with(directory))
        .collect()
}

/// A process and all that it started, as far as their parents are still there.
pub fn processes_below(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at).copied() {
        at += 1;
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                text.split_whitespace()
                    .filter_map(|word| word.parse::<u32>().ok()),
            );
        }
    }
    found
}

/// All processes and their command lines.
pub fn processes() -> Vec<(u32, String)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let command = std::fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            (pid != std::process::id()).then_some((pid, command))
        })
        .collect()
}
