//! Developer commands: `cargo xtask COMMAND`. One file per command.

#![forbid(unsafe_code)]

mod bench;
mod docs;
mod fixtures;
mod fuzz;
mod packages;
mod test;
mod tour;

use std::{path::PathBuf, process::ExitCode};

use xshell::Shell;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  try        build a release, make a Debian container, start it, look inside
  test       install what the tests need, then format, lint and run every test
  bench debian [RUNS]
             bootstrap beside mmdebstrap and debootstrap: medians, ratios, the time of each stage
  docs       write docs/config.md from the table of keys
  bench runtime [RUNS] [create]
             create, start, exec, ls and kill beside LXC: medians, ratios, memory
             (with `create`: the rows of that alone)
  bench network [RUNS]
             addresses, streams and names beside LXC's bridge and dnsmasq
  fixtures   build the libraries that the end-to-end tests load
  fuzz       [--seconds N] [TARGET…]: feed the parsers what nobody thought of
";

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["try"] => in_workspace(tour::run),
        ["test"] => in_workspace(test::run),
        ["bench", "debian"] => in_workspace(|shell| bench::debian(shell, None)),
        ["bench", "debian", runs] => in_workspace(|shell| bench::debian(shell, Some(runs))),
        ["docs"] => in_workspace(docs::run),
        ["bench", "runtime", rest @ ..] => in_workspace(|shell| bench::runtime(shell, rest)),
        ["bench", "network"] => in_workspace(|shell| bench::network(shell, None)),
        ["bench", "network", runs] => in_workspace(|shell| bench::network(shell, Some(runs))),
        ["fixtures"] => in_workspace(fixtures::run),
        ["fuzz", rest @ ..] => in_workspace(|shell| fuzz::run(shell, rest)),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn in_workspace(command: impl FnOnce(&Shell) -> Result) -> Result {
    let shell = Shell::new()?;
    shell.change_dir(workspace());
    command(&shell)
}

/// The workspace's directory.
fn workspace() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// Whether this process is root's.
fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}
