//! `cargo xtask bench debian`, `… runtime` and `… network`: measured beside the real peers.

use xshell::{Shell, cmd};

use crate::{Result, is_root, packages};

/// Bootstraps Debian; `runs` is how often each program is timed.
pub fn debian(shell: &Shell, runs: Option<&str>) -> Result {
    let runs = runs.as_slice();
    run(shell, &packages::BENCH_DEBIAN, "bench-debian", runs)
}

/// Creates, starts, enters, lists and kills containers; `words` are how often, and which rows.
pub fn runtime(shell: &Shell, words: &[&str]) -> Result {
    run(shell, &packages::BENCH_RUNTIME, "bench-runtime", words)
}

/// Starts, pings, sends and asks for names; `runs` as above.
pub fn network(shell: &Shell, runs: Option<&str>) -> Result {
    run(
        shell,
        &packages::BENCH_NETWORK,
        "bench-network",
        runs.as_slice(),
    )
}

fn run(shell: &Shell, peers: &[(&str, &str)], program: &str, words: &[&str]) -> Result {
    if !is_root()? {
        return Err("this needs root: run it with sudo -E env PATH=\"$PATH\"".into());
    }
    packages::install(shell, peers)?;
    cmd!(
        shell,
        "cargo build --release -p sampan -p sampan-template-debian -p sampan-template-busybox -p sampan-tests"
    )
    .run()?;
    cmd!(shell, "target/release/{program} {words...}").run()?;
    Ok(())
}
