//! The tour in the README is what happens.

use std::process::Command;

use sampan_tests::{Background, TestEnvironment};

/// A command of the tour and what it printed.
struct Step {
    command: String,
    output: Vec<String>,
}

/// The steps of the README's block that begins with `$ sampan create`.
fn steps() -> Vec<Step> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let block = readme
        .split("```")
        .find(|block| {
            block
                .trim_start_matches("console")
                .trim_start()
                .starts_with("$ sampan create")
        })
        .expect("the README has a tour");
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines().skip(1) {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push(Step {
                command: command.to_owned(),
                output: Vec::new(),
            }),
            None if !line.is_empty() => steps.last_mut().unwrap().output.push(line.to_owned()),
            None => {}
        }
    }
    steps
}

/// A line without what differs from run to run: numbers, keys, sizes, directories.
fn shape(line: &str) -> String {
    line.split_whitespace()
        .map(|word| match word {
            "B" | "KiB" | "MiB" | "GiB" | "B/s)" | "KiB/s)" | "MiB/s)" | "GiB/s)" => "B",
            word if word.starts_with('/') => "/",
            word if word.starts_with("http://") => "URL",
            // The tests' containers have no network.
            word if word.parse::<std::net::Ipv4Addr>().is_ok() => "-",
            word if word.chars().any(|c| c.is_ascii_digit()) => "N",
            word => word,
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn every_command_of_the_tour_prints_what_the_readme_says() {
    let env = TestEnvironment::new();
    let steps = steps();
    assert!(steps.len() >= 6, "the tour is short");
    let bin = env.scratch().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let wrapper = format!(
        "#!/bin/sh\nexec {} --root {} \"$@\"\n",
        TestEnvironment::binary().display(),
        env.root().display()
    );
    std::fs::write(bin.join("sampan"), wrapper).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bin.join("sampan"), mode).unwrap();
    for step in steps {
        let mut command = Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-c", &step.command])
            .env("PATH", format!("{}:{path}", bin.display()));
        let ran = Background::start(command, b"").wait();
        let printed: Vec<String> = ran
            .stderr
            .lines()
            .chain(ran.stdout.lines())
            .map(shape)
            .collect();
        for line in &step.output {
            assert!(
                printed.contains(&shape(line)),
                "`{}` did not print `{line}` but:\n{}{}",
                step.command,
                ran.stderr,
                ran.stdout
            );
        }
        assert_eq!(ran.code, 0, "`{}`: {}", step.command, ran.stderr);
    }
}
