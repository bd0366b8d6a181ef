//! `cargo xtask fuzz [--seconds N] [TARGET…]`: libFuzzer over every parser of what others wrote.
//!
//! Needs a C++ compiler and today's toolchain, no nightly: the passes that record which code an
//! input reached are LLVM's, and rustc hands options on to it. `cargo xtask test` only replays the
//! corpus, since instrumented dependencies take minutes to build.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use xshell::{Shell, cmd};

use crate::{Result, workspace};

/// How long each target runs unless told otherwise.
const SECONDS: u64 = 10;

/// More memory than this is a finding.
const MEMORY_MIB: u32 = 2048;

/// One input that takes longer than this is a finding, in seconds.
const INPUT_SECONDS: u32 = 20;

/// Coverage of edges, as libFuzzer reads it; checks that release builds leave out.
const INSTRUMENTATION: &str = "-C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C codegen-units=1 -C debug-assertions=on -C overflow-checks=on";

/// Builds with instrumentation and runs the targets, one after another.
pub fn run(shell: &Shell, arguments: &[&str]) -> Result {
    let (seconds, targets) = parse(arguments, &known()?)?;
    compiler(shell)?;
    let host = host(shell)?;
    let directory = workspace().join("target/fuzz");
    {
        // Not `--bins`: what is no target has no libFuzzer in it to report to.
        let bins: Vec<String> = targets
            .iter()
            .flat_map(|target| ["--bin".to_owned(), target.clone()])
            .collect();
        let _flags = shell.push_env("RUSTFLAGS", INSTRUMENTATION);
        // With --target, so that build scripts and macros are not instrumented.
        cmd!(
            shell,
            "cargo build --release {bins...} --manifest-path fuzz/Cargo.toml --target {host} --target-dir {directory}"
        )
        .run()?;
    }
    for target in &targets {
        let binary = directory.join(&host).join("release").join(target);
        fuzz(&binary, &directory, target, seconds)?;
    }
    println!("{} targets, {seconds} s each, no finding", targets.len());
    Ok(())
}

/// Runs each target over its corpus, once and without instrumentation.
pub fn replay(shell: &Shell) -> Result {
    compiler(shell)?;
    let directory = workspace().join("target/fuzz-replay");
    let shared = workspace().join("target/build-fixtures");
    {
        let _build = shell.push_env("CARGO_BUILD_BUILD_DIR", &shared);
        cmd!(
            shell,
            "cargo build --quiet --bins --manifest-path fuzz/Cargo.toml --target-dir {directory}"
        )
        .run()?;
    }
    for target in known()? {
        let inputs = files(&corpus(&target))?;
        if inputs.is_empty() {
            return Err(format!("fuzz/corpus/{target} has no input").into());
        }
        let output = Command::new(directory.join("debug").join(&target))
            .args(&inputs)
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            let tail = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{tail}\nthe fuzz target {target} fails on its corpus").into());
        }
    }
    Ok(())
}

fn fuzz(binary: &Path, directory: &Path, target: &str, seconds: u64) -> Result {
    // What is found goes to the first directory; the seeds are only read.
    let grown = directory.join("corpus").join(target);
    let findings = directory.join("findings").join(target);
    fs::create_dir_all(&grown)?;
    fs::create_dir_all(&findings)?;
    let before = files(&findings)?;
    eprintln!("$ {target}, {seconds} s");
    let status = Command::new(binary)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-verbosity=1", "-print_final_stats=1"])
        .args([&grown, &corpus(target)])
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    let found = files(&findings)?
        .into_iter()
        .find(|file| !before.contains(file));
    let again = found.map_or_else(String::new, |file| {
        let (binary, file) = (binary.display(), file.display());
        format!("\nthe input is {file}; see it again with\n    {binary} {file}")
    });
    Err(format!("the fuzz target {target} ended with {status}{again}").into())
}

/// Seconds and targets.
fn parse(arguments: &[&str], known: &[String]) -> Result<(u64, Vec<String>)> {
    let mut seconds = SECONDS;
    let mut targets = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if *word == "--seconds" {
            let number = words.next().and_then(|number| number.parse().ok());
            seconds = number
                .filter(|number| *number > 0)
                .ok_or("--seconds needs a number")?;
        } else if known.iter().any(|target| target == word) {
            targets.push((*word).to_owned());
        } else {
            let known = known.join(", ");
            return Err(format!("there is no fuzz target `{word}`; there are {known}").into());
        }
    }
    if targets.is_empty() {
        targets = known.to_vec();
    }
    Ok((seconds, targets))
}

/// Every file in fuzz/targets is a target.
fn known() -> Result<Vec<String>> {
    let mut names: Vec<String> = files(&workspace().join("fuzz/targets"))?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn corpus(target: &str) -> PathBuf {
    workspace().join("fuzz/corpus").join(target)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

fn compiler(shell: &Shell) -> Result {
    let there = std::env::var_os("CXX").is_some()
        || cmd!(shell, "c++ --version")
            .quiet()
            .ignore_stdout()
            .run()
            .is_ok();
    if there {
        return Ok(());
    }
    Err("libFuzzer is built by a C++ compiler, and there is none: apt-get install g++".into())
}

/// The triple of this machine.
fn host(shell: &Shell) -> Result<String> {
    let version = cmd!(shell, "rustc --version --verbose").quiet().read()?;
    let line = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.ok_or("rustc does not name its host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_targets_are_read_and_others_refused() {
        let known = ["deb".to_owned(), "tar".to_owned()];
        assert_eq!(parse(&[], &known).unwrap(), (SECONDS, known.to_vec()));
        let (seconds, targets) = parse(&["--seconds", "3", "tar"], &known).unwrap();
        assert_eq!((seconds, targets), (3, vec!["tar".to_owned()]));
        for bad in [&["tarr"][..], &["--seconds"], &["--seconds", "0"]] {
            assert!(parse(bad, &known).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_target_is_built_and_has_seeds() {
        let manifest = fs::read_to_string(workspace().join("fuzz/Cargo.toml")).unwrap();
        for target in known().unwrap() {
            let path = format!("path = \"targets/{target}.rs\"");
            assert!(
                manifest.contains(&path),
                "{target} is not in fuzz/Cargo.toml"
            );
            assert!(
                !files(&corpus(&target)).unwrap().is_empty(),
                "{target} has no seed"
            );
        }
    }
}
