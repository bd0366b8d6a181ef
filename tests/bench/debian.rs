//! `cargo xtask bench debian`: Sampan beside mmdebstrap and debootstrap.
//!
//! All fetch from one caching mirror on loopback, in alternating runs, with a fresh output and an
//! empty cache each time. The machine's noise is the same for all of them: what counts are the
//! ratios of the medians.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sampan_tests::{
    CachingMirror,
    measure::{median, proportional, target},
    processes_below,
};

const SUITE: &str = "trixie";

/// A comparison, and the ratio that it is to reach.
struct Row {
    name: &'static str,
    goal: f64,
    ours: fn(&Bench, &Path) -> Command,
    peer: fn(&Bench, &Path) -> Command,
    /// The output's name in a fresh directory.
    output: &'static str,
}

const ROWS: [Row; 4] = [
    Row {
        name: "minbase to a directory, vs mmdebstrap",
        goal: 0.25,
        ours: |bench, at| bench.sampan("minbase", at),
        peer: |bench, at| bench.mmdebstrap("minbase", at),
        output: "tree",
    },
    Row {
        name: "minbase to .tar.zst, vs mmdebstrap",
        goal: 0.25,
        ours: |bench, at| bench.sampan("minbase", at),
        peer: |bench, at| bench.mmdebstrap("minbase", at),
        output: "image.tar.zst",
    },
    Row {
        name: "minbase vs debootstrap",
        goal: 0.15,
        ours: |bench, at| bench.sampan("minbase", at),
        peer: |bench, at| bench.debootstrap(at),
        output: "tree",
    },
    Row {
        name: "standard vs mmdebstrap",
        goal: 0.35,
        ours: |bench, at| bench.sampan("standard", at),
        // What debootstrap calls its default is "debootstrap" or "important" there.
        peer: |bench, at| bench.mmdebstrap("important", at),
        output: "tree",
    },
];

/// The row whose runs are also watched for memory.
const WATCHED: usize = 0;
const MEMORY_GOAL: f64 = 1.0;

fn main() {
    let runs: usize = std::env::args()
        .nth(1)
        .map_or(5, |word| word.parse().expect("a number of runs"));
    let bench = Bench::new();
    // So that the mirror has everything before anybody is timed.
    for row in &ROWS {
        bench.run(row, row.ours);
        bench.run(row, row.peer);
    }
    let mut rows = Vec::new();
    let mut memory = (Vec::new(), Vec::new());
    for (index, row) in ROWS.iter().enumerate() {
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let mine = bench.run(row, row.ours);
            let theirs = bench.run(row, row.peer);
            ours.push(mine.seconds);
            peer.push(theirs.seconds);
            if index == WATCHED {
                memory.0.push(mine.peak_mib);
                memory.1.push(theirs.peak_mib);
            }
        }
        rows.push((row.name, row.goal, "s", median(ours), median(peer)));
    }
    rows.push((
        "peak memory vs mmdebstrap's whole process tree",
        MEMORY_GOAL,
        "MiB",
        median(memory.0),
        median(memory.1),
    ));
    println!(
        "{SUITE}, medians of {runs} alternating runs each, empty caches, one mirror on loopback\n"
    );
    println!(
        "{:<48} {:>11} {:>12} {:>6} {:>6}",
        "row", "sampan", "peer", "ratio", "goal"
    );
    let mut json = Vec::new();
    for (name, goal, unit, ours, peer) in &rows {
        let ratio = ours / peer;
        let met = if ratio <= *goal { "" } else { "  missed" };
        println!(
            "{name:<48} {ours:>7.2} {unit:<4}{peer:>7.2} {unit:<4}{ratio:>6.2} {goal:>6.2}{met}"
        );
        json.push(serde_json::json!({
            "row": name, "goal": goal, "unit": unit, "sampan": ours, "peer": peer, "ratio": ratio,
            "met": ratio <= *goal, "runs": runs,
        }));
    }
    println!("\nminbase to .tar.zst with warm downloads, medians of {runs} runs");
    let stages = bench.stages(runs);
    for (stage, seconds) in &stages {
        println!("{stage:<48} {seconds:>6.2} s");
    }
    let path = target().join("bench/debian.json");
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory for results");
    let stages: BTreeMap<_, _> = stages.into_iter().collect();
    let json = serde_json::json!({ "suite": SUITE, "rows": json, "stages": stages });
    fs::write(&path, format!("{json:#}\n")).expect("the results' file");
    println!("\nwritten to {}", path.display());
}

struct Bench {
    mirror: CachingMirror,
    scratch: tempfile::TempDir,
    sampan: PathBuf,
}

struct Measured {
    seconds: f64,
    peak_mib: f64,
}

impl Bench {
    fn new() -> Self {
        Self {
            mirror: CachingMirror::start(),
            scratch: tempfile::Builder::new()
                .prefix("sampan-bench-")
                .tempdir_in("/var/tmp")
                .expect("a scratch directory"),
            sampan: target().join("release/sampan"),
        }
    }

    fn sampan(&self, variant: &str, output: &Path) -> Command {
        let mut command = Command::new(&self.sampan);
        let root = output.with_file_name("root");
        command.args(["--root".as_ref(), root.as_os_str()]);
        command
            .args(["image", "build", "-t", "debian", "--output"])
            .arg(output);
        command.args([
            "-o",
            &format!("suite={SUITE}"),
            "-o",
            &format!("variant={variant}"),
        ]);
        command.args(["-o", &format!("mirror={}", self.mirror.debian())]);
        // The peers take packages of the base suite only.
        command.args(["-o", "updates=false", "-o", "security=false"]);
        command
    }

    fn mmdebstrap(&self, variant: &str, output: &Path) -> Command {
        let mut command = Command::new("mmdebstrap");
        command.arg(format!("--variant={variant}"));
        command.arg(SUITE).arg(output).arg(self.mirror.debian());
        command
    }

    fn debootstrap(&self, output: &Path) -> Command {
        let mut command = Command::new("debootstrap");
        command.args(["--variant=minbase", SUITE]).arg(output);
        command.arg(self.mirror.debian());
        command
    }

    /// One run with a fresh output, which stays: whoever runs while a removed tree is discarded
    /// from the disk would pay for it.
    fn run(&self, row: &Row, command: fn(&Self, &Path) -> Command) -> Measured {
        let directory = tempfile::tempdir_in(self.scratch.path())
            .expect("a fresh directory")
            .keep();
        // For apt's own user.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("its mode");
        let output = directory.join(row.output);
        nix::unistd::sync();
        let measured = measure(command(self, &output));
        assert!(output.exists(), "{} made nothing", row.name);
        eprintln!(
            "{}: {:.2} s, {:.0} MiB",
            row.name, measured.seconds, measured.peak_mib
        );
        measured
    }

    /// How long each stage of a build takes whose packages are all in the download cache.
    fn stages(&self, runs: usize) -> Vec<(String, f64)> {
        let directory = tempfile::tempdir_in(self.scratch.path()).expect("a fresh directory");
        let mut taken: Vec<(String, Vec<f64>)> = Vec::new();
        for run in 0..=runs {
            let output = directory.path().join(format!("{run}.tar.zst"));
            let mut command = self.sampan("minbase", &output);
            command.args(["-v", "--refresh"]);
            let begun = Instant::now();
            let ran = command.output().expect("sampan");
            assert!(
                ran.status.success(),
                "{}",
                String::from_utf8_lossy(&ran.stderr)
            );
            let whole = begun.elapsed().as_secs_f64();
            if run == 0 {
                // It filled the cache.
                continue;
            }
            let text = String::from_utf8_lossy(&ran.stderr).into_owned();
            let mut of_run: Vec<(String, f64)> = Vec::new();
            for line in text.lines() {
                let Some((stage, took)) = line.split_once(" took ") else {
                    continue;
                };
                let Some(seconds) = took.strip_suffix(" s").and_then(|s| s.parse().ok()) else {
                    continue;
                };
                // Unpacking and configuring come once for each set of packages.
                match of_run.iter_mut().find(|(name, _)| name == stage) {
                    Some((_, sum)) => *sum += seconds,
                    None => of_run.push((stage.to_owned(), seconds)),
                }
            }
            let named: f64 = of_run.iter().map(|(_, seconds)| seconds).sum();
            of_run.push(("everything else".to_owned(), whole - named));
            of_run.push(("the whole".to_owned(), whole));
            for (stage, seconds) in of_run {
                match taken.iter_mut().find(|(name, _)| *name == stage) {
                    Some((_, all)) => all.push(seconds),
                    None => taken.push((stage, vec![seconds])),
                }
            }
        }
        taken
            .into_iter()
            .map(|(stage, all)| (stage, median(all)))
            .collect()
    }
}

/// Runs a command to its end, looking at the memory of it and all it starts.
fn measure(mut command: Command) -> Measured {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait().expect("its status") {
            assert!(status.success(), "{command:?} failed: {status}");
            break;
        }
        let now: u64 = processes_below(child.id())
            .into_iter()
            .map(proportional)
            .sum();
        peak = peak.max(now);
        std::thread::park_timeout(Duration::from_millis(25));
    }
    Measured {
        seconds: begun.elapsed().as_secs_f64(),
        peak_mib: peak as f64 / 1024.0,
    }
}
