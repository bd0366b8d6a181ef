//! `cargo xtask try`: from a fresh clone to a running Debian container.

use std::time::{Duration, Instant};

use xshell::{Shell, cmd};

use crate::{Result, is_root, workspace};

const NAME: &str = "demo";
/// How long a guest may take to boot on a slow machine.
const BOOT_TIME: Duration = Duration::from_secs(120);

/// Builds, creates, starts, looks inside, and says what to type next.
pub fn run(shell: &Shell) -> Result {
    cmd!(
        shell,
        "cargo build --release -p sampan -p sampan-template-debian -p sampan-template-busybox"
    )
    .run()?;
    let binary = workspace().join("target/release/sampan");
    let root = workspace().join("target/try");
    // Only what follows needs root.
    let sudo: &[&str] = if is_root()? { &[] } else { &["sudo"] };
    let sampan = |arguments: &[&str]| {
        let mut words: Vec<String> = sudo.iter().map(ToString::to_string).collect();
        words.push(binary.display().to_string());
        words.extend(["--root".to_owned(), root.display().to_string()]);
        words.extend(arguments.iter().map(ToString::to_string));
        let (program, rest) = words.split_at(1);
        let program = &program[0];
        cmd!(shell, "{program} {rest...}")
    };
    let containers = sampan(&["ls", "--format", "json"]).quiet().read()?;
    if containers.contains(&format!("\"name\": \"{NAME}\"")) {
        println!("There is a `{NAME}` from last time; it is destroyed and made anew.");
        sampan(&["destroy", "--force", NAME]).run()?;
    }
    // Of this clone alone: another one, or an installed Sampan, has networks too.
    let network = format!("try-{:06x}", fingerprint(&root.display().to_string()));
    if sampan(&["network", "show", &network])
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_err()
    {
        sampan(&["network", "create", &network]).run()?;
    }
    let create = [
        "create",
        NAME,
        "-t",
        "debian",
        "--network",
        &network,
        "--start",
    ];
    sampan(&create).run()?;
    let state = wait_for_systemd(|| {
        let ask = [
            "exec",
            NAME,
            "--",
            "systemctl",
            "is-system-running",
            "--wait",
        ];
        let command = sampan(&ask);
        command.quiet().ignore_status().ignore_stderr().read()
    })?;
    println!("systemd says: {state}");
    if state.trim() != "running" {
        sampan(&["exec", NAME, "--", "systemctl", "--failed", "--no-pager"])
            .ignore_status()
            .run()?;
        return Err(format!("systemd in `{NAME}` says `{}`, not `running`", state.trim()).into());
    }
    sampan(&["exec", NAME, "--", "cat", "/etc/os-release"]).run()?;
    sampan(&["exec", NAME, "--", "apt-get", "update"]).run()?;
    sampan(&["ls"]).run()?;

    let words = if sudo.is_empty() { "" } else { "sudo " };
    let command = format!("{words}{} --root {}", binary.display(), root.display());
    println!(
        "
`{NAME}` runs. What next:

    {command} shell {NAME}
    {command} stop {NAME}
    {command} destroy {NAME}
    {command} network rm {network}
"
    );
    Ok(())
}

/// FNV-1a, 24 bits of it: the same for the same text.
fn fingerprint(text: &str) -> u32 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash & 0x00ff_ffff
}

/// Asks until systemd answers: before its bus is there nobody does.
fn wait_for_systemd(mut ask: impl FnMut() -> xshell::Result<String>) -> Result<String> {
    let end = Instant::now() + BOOT_TIME;
    loop {
        let answer = ask()?;
        if !matches!(answer.trim(), "" | "offline") || Instant::now() > end {
            return Ok(answer.trim().to_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
