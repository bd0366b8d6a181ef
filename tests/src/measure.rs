//! What the measurements share.

use std::{
    io::{Read, Seek},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// The middle of some figures; of an even number, the mean of both.
///
/// # Panics
/// Without any.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// A process's share of memory (Pss of proc_pid_smaps_rollup(5)), in KiB; 0 of one that is gone.
pub fn proportional(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

/// Runs a command to its end, which must be a success; returns the seconds it took.
///
/// # Panics
/// When it fails, with what it wrote to standard error.
#[track_caller]
pub fn seconds(mut command: Command) -> f64 {
    // A file, as a pipe would have to be emptied while the clock runs.
    let mut errors = tempfile::tempfile().expect("a temporary file");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.try_clone().expect("a second descriptor"));
    let begun = Instant::now();
    let status = command.status();
    let taken = begun.elapsed().as_secs_f64();
    let status = status.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    if !status.success() {
        let mut words = String::new();
        // Both descriptors share one position: where the command stopped writing.
        let _ = errors.rewind();
        let _ = errors.read_to_string(&mut words);
        panic!("{command:?} failed: {status}\n{words}");
    }
    taken
}

/// The workspace's target directory.
pub fn target() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).join("target")
}
