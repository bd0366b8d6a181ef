//! `cargo xtask test`: everything that must hold before a change lands.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use xshell::{Shell, cmd};

use crate::{Result, fixtures, fuzz, is_root, packages, workspace};

/// Runs all of it, cheap things first.
pub fn run(shell: &Shell) -> Result {
    if !is_root()? {
        return Err(
            "the tests make real containers: run them as root, for example with\n    sudo -E env PATH=\"$PATH\" cargo xtask test"
                .into(),
        );
    }
    packages::install(shell, &packages::TEST)?;
    cmd!(shell, "cargo fmt --all --check").run()?;
    cmd!(
        shell,
        "cargo clippy --workspace --all-targets --all-features -- -D warnings"
    )
    .run()?;
    let mut count = Count::default();
    run_tests(&["--workspace", "--exclude", "sampan-tests"], &mut count)?;
    fuzz::replay(shell)?;
    cmd!(
        shell,
        "cargo build -p sampan -p sampan-template-debian -p sampan-template-busybox"
    )
    .run()?;
    fixtures::run(shell)?;
    run_tests(&["-p", "sampan-tests"], &mut count)?;
    if count.ignored > 0 {
        return Err(format!("{} tests were skipped; none may be", count.ignored).into());
    }
    println!("{} passed, 0 failed", count.passed);
    Ok(())
}

#[derive(Default)]
struct Count {
    passed: u32,
    ignored: u32,
}

/// Runs `cargo test`, shows its output and counts.
fn run_tests(arguments: &[&str], count: &mut Count) -> Result {
    eprintln!("$ cargo test {}", arguments.join(" "));
    let mut child = Command::new("cargo")
        .arg("test")
        .args(arguments)
        .current_dir(workspace())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("cargo test has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        // test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; …
        if line.starts_with("test result:") {
            count.passed += number_before(&line, " passed");
            count.ignored += number_before(&line, " ignored");
        }
    }
    if !child.wait()?.success() {
        return Err(format!("cargo test {} failed", arguments.join(" ")).into());
    }
    Ok(())
}

fn number_before(line: &str, word: &str) -> u32 {
    line.split_once(word)
        .and_then(|(before, _)| before.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted() {
        let line = "test result: ok. 31 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out";
        assert_eq!(number_before(line, " passed"), 31);
        assert_eq!(number_before(line, " ignored"), 2);
        assert_eq!(number_before("nothing here", " passed"), 0);
    }
}
