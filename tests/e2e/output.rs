//! What people and programs get to see: documented JSON, bars on a terminal, lines in a pipe.

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, SystemTime},
};

use sampan_tests::{TestEnvironment, wait_until};

/// The field names that docs/json.md has in the row of a command, those in brackets left out.
fn documented(command: &str) -> BTreeSet<String> {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let row = docs
        .lines()
        .find(|line| line.starts_with(&format!("| `{command}` |")))
        .unwrap_or_else(|| panic!("docs/json.md has no row for {command}"));
    let mut value = row.rsplit_once(" | ").unwrap().1.to_owned();
    while let (Some(open), Some(close)) = (value.find('('), value.find(')')) {
        value.replace_range(open..=close, "");
    }
    value
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn fields(value: &serde_json::Value) -> BTreeSet<String> {
    let object = match value {
        serde_json::Value::Array(rows) => &rows[0],
        value => value,
    };
    object.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn json_has_the_documented_fields_and_no_others() {
    let env = TestEnvironment::new();
    env.small_guest("web");
    env.create_small_guest("kept", &[]);
    env.sampan(&["snapshot", "create", "kept", "then", "--comment", "why"])
        .ok();
    // Nothing of it is brought up.
    env.sampan(&["network", "create", "lab"]).ok();
    env.create_small_guest("served", &["--network", "lab"]);
    env.sampan(&["forward", "served", "28080:80"]).ok();
    for (arguments, row) in [
        (&["network", "ls"][..], "network show NAME"),
        (&["network", "show", "lab"], "network show NAME"),
        (&["forward", "ls"], "forward ls"),
        (&["info", "web"], "info NAME"),
        (&["config", "get", "web", "lxc.arch"], "config get NAME KEY"),
        (&["config", "show", "web"], "config get NAME KEY"),
        (&["template", "ls"], "template ls"),
        (&["template", "show", "naughty"], "template show NAME"),
        (&["image", "ls"], "image ls"),
        (&["image", "verify"], "image verify"),
        (&["wait", "web", "--state", "running"], "wait"),
        (&["autostart", "--list", "-a", "-A"], "autostart --list"),
        (&["set", "web", "pids=100"], "set"),
        (&["snapshot", "ls", "kept"], "snapshot ls NAME"),
    ] {
        let json = env
            .sampan(&[arguments, &["--format", "json"]].concat())
            .ok()
            .json();
        assert_eq!(fields(&json), documented(row), "{arguments:?}");
    }
    let snapshots = ["snapshot", "ls", "kept", "--format", "json"];
    let snapshot = &env.sampan(&snapshots).ok().json()[0];
    assert_eq!(snapshot["name"], "then");
    assert_eq!(snapshot["comment"], "why");
    assert_eq!(snapshot["storage"], "dir");
    assert!(snapshot["size"].as_u64().unwrap() > 100_000);
    let made = snapshot["created_at"].as_u64().unwrap();
    let age = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() - made;
    assert!(age < 600, "made {age} seconds ago");
    let ls = env.sampan(&["ls", "--format", "json"]).ok().json();
    assert_eq!(fields(&ls), documented("info NAME"));
    let build = ["image", "build", "-t", "naughty", "--format", "json"];
    let built = fields(&env.sampan(&build).ok().json());
    let mut expected = documented("image ls");
    expected.insert("built".to_owned());
    assert_eq!(built, expected);
    let tree = env.scratch().join("tree");
    let output = ["--output", tree.to_str().unwrap()];
    let written = env.sampan(&[&build[..], &output].concat()).ok().json();
    assert_eq!(fields(&written), documented("image build --output"));
}

#[test]
fn progress_is_a_bar_on_a_terminal_and_lines_with_rates_elsewhere() {
    let env = TestEnvironment::new();
    let build = ["image", "build", "-t", "naughty", "-o", "size=60000000"];
    let ran = env.sampan(&build).ok();
    for task in ["writing: 57.22 MiB in ", "packing: 57.22 MiB in "] {
        let line = ran.stderr.lines().find(|line| line.starts_with(task));
        assert!(
            line.is_some_and(|line| line.ends_with("/s)")),
            "{}",
            ran.stderr
        );
    }
    assert!(!ran.stderr.contains('\u{1b}'), "a pipe got terminal codes");
    let quiet = env
        .sampan(&[&["-q"], &build[..], &["--refresh"]].concat())
        .ok();
    assert_eq!(quiet.stderr, "");

    let socket = env.scratch().join("tmux");
    let tmux = |arguments: &[&str]| {
        Command::new("tmux")
            .arg("-S")
            .arg(&socket)
            .args(arguments)
            .output()
            .unwrap()
    };
    let mut command = env.command(&[&build[..], &["--refresh"]].concat());
    let line: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fixtures/lib");
    let line = format!(
        "SAMPAN_TEMPLATE_PATH={} {}; read line",
        path.display(),
        line.join(" ")
    );
    command.env_clear();
    tmux(&[
        "-f",
        "/dev/null",
        "new-session",
        "-d",
        "-x",
        "100",
        "-y",
        "30",
        &line,
    ]);
    let screen = || String::from_utf8_lossy(&tmux(&["capture-pane", "-p"]).stdout).into_owned();
    let seen = wait_until(Duration::from_secs(60), || {
        let bar = screen();
        let bar = bar.lines().find(|line| line.starts_with("writing  "))?;
        (bar.contains("[=") && bar.contains("/57.22 MiB") && bar.contains("MiB/s")).then_some(())
    });
    let last = screen();
    let done = wait_until(Duration::from_secs(60), || {
        screen().contains("sha256:").then_some(())
    });
    tmux(&["kill-server"]);
    assert!(seen.is_some(), "no bar was seen; at last:\n{last}");
    assert!(done.is_some());
}
