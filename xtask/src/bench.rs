//! `cargo xtask bench debian`: measured beside the real peers.

use xshell::{Shell, cmd};

use crate::{Result, is_root, packages};

/// Runs the comparison; `runs` is how often each program is timed.
pub fn debian(shell: &Shell, runs: Option<&str>) -> Result {
    if !is_root()? {
        return Err("bootstrapping needs root: run it with sudo -E env PATH=\"$PATH\"".into());
    }
    packages::install(shell, &packages::BENCH)?;
    cmd!(
        shell,
        "cargo build --release -p sampan -p sampan-template-debian -p sampan-template-busybox -p sampan-tests"
    )
    .run()?;
    let runs = runs.unwrap_or("5");
    cmd!(shell, "target/release/bench-debian {runs}").run()?;
    Ok(())
}
