//! Configuration: what a container's keys mean, and changing them.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use sampan_tests::{Background, Ran, Terminal, TestEnvironment};

pub(crate) fn config_of(env: &TestEnvironment, name: &str) -> PathBuf {
    env.state().join(name).join("config")
}

pub(crate) fn text_of(env: &TestEnvironment, name: &str) -> String {
    fs::read_to_string(config_of(env, name)).unwrap()
}

fn append(env: &TestEnvironment, name: &str, lines: &str) {
    let text = text_of(env, name);
    fs::write(config_of(env, name), format!("{text}{lines}")).unwrap();
}

#[track_caller]
pub(crate) fn get(env: &TestEnvironment, name: &str, key: &str) -> String {
    env.sampan(&["config", "get", name, key]).ok().stdout
}

/// `sampan config edit` with this shell script as the editor; `$1` is the file.
fn edit_with(env: &TestEnvironment, name: &str, script: &str) -> Command {
    let editor = env.scratch().join("editor");
    fs::write(&editor, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = env.command(&["config", "edit", name]);
    command
        .env("TMPDIR", env.scratch())
        .env_remove("VISUAL")
        .env("EDITOR", editor);
    command
}

fn edit(env: &TestEnvironment, name: &str, script: &str) -> Ran {
    Background::start(edit_with(env, name, script), b"").wait()
}

fn copies(env: &TestEnvironment) -> Vec<String> {
    let names = fs::read_dir(env.scratch()).unwrap().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".conf"))
        .collect()
}

#[test]
fn a_key_is_set_got_and_unset_and_counts_from_the_next_start() {
    let env = TestEnvironment::new();
    env.small_guest("web");
    let before = text_of(&env, "web");
    let ran = env
        .sampan(&["config", "set", "web", "lxc.uts.name", "www"])
        .ok();
    assert!(
        ran.stderr.contains("counts from its next start"),
        "{}",
        ran.stderr
    );
    assert_eq!(get(&env, "web", "lxc.uts.name"), "www\n");
    assert_eq!(get(&env, "web", "lxc.utsname"), "www\n");
    let name = |env: &TestEnvironment| {
        env.sampan(&["exec", "web", "--", "sh", "-c", "hostname"])
            .ok()
            .stdout
    };
    assert_eq!(name(&env), "web\n");
    env.sampan(&["stop", "--kill", "web"]).ok();
    let ran = env
        .sampan(&["config", "set", "web", "lxc.environment", "A=b", "C=d"])
        .ok();
    assert_eq!(ran.stderr, "changed the config of web\n");
    env.sampan(&["config", "set", "web", "lxc.environment", "E=f", "--add"])
        .ok();
    assert_eq!(get(&env, "web", "lxc.environment"), "A=b\nC=d\nE=f\n");
    env.sampan(&["start", "web"]).ok();
    assert_eq!(name(&env), "www\n");
    env.sampan(&["config", "unset", "web", "lxc.environment"])
        .ok();
    env.sampan(&["config", "set", "web", "lxc.uts.name", "web"])
        .ok();
    assert_eq!(text_of(&env, "web"), before);
    let ran = env
        .sampan(&["config", "get", "web", "lxc.environment"])
        .failed();
    assert!(
        ran.stderr
            .contains("lxc.environment is not set in the config of web"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_cannot_be_obeyed_is_refused_with_its_line_and_nothing_changes() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let before = text_of(&env, "web");
    let line = before.lines().count() + 1;
    for (key, value, words) in [
        (
            "lxc.uts.nam",
            "a",
            "lxc.uts.nam is not supported: there is no such key\nhint: did you mean lxc.uts.name",
        ),
        (
            "lxc.prlimit.nofile",
            "many",
            "lxc.prlimit.nofile = many is not a limit of getrlimit(2)",
        ),
        (
            "lxc.net.1.veth.n_rxqueues",
            "1",
            "lxc.net.1.veth.n_rxqueues is not supported",
        ),
        // 1 is what happens anyway.
        (
            "lxc.keyring.session",
            "0",
            "lxc.keyring.session is not supported",
        ),
        (
            "lxc.include",
            "/no/such/file",
            "lxc.include = /no/such/file: could not read /no/such/file: No such file",
        ),
    ] {
        let ran = env.sampan(&["config", "set", "web", key, value]).failed();
        let words = format!("config:{line}: {words}");
        assert!(ran.stderr.contains(&words), "{words}\n{}", ran.stderr);
        assert_eq!(text_of(&env, "web"), before);
    }
    env.sampan(&["config", "set", "web", "lxc.keyring.session", "1"])
        .ok();
    env.sampan(&["config", "unset", "web", "lxc.keyring.session"])
        .ok();
    assert_eq!(text_of(&env, "web"), before);
    for (key, value) in [
        ("nonsense", "x"),
        ("lxc.uts.name", "a\nlxc.arch = b"),
        ("lxc.a b", "x"),
    ] {
        env.sampan(&["config", "set", "web", key, value]).failed();
        assert_eq!(text_of(&env, "web"), before);
    }
    let ran = env
        .sampan(&["config", "set", "web", "lxc.arch", "x", "y"])
        .failed();
    assert!(ran.stderr.contains("holds one value"), "{}", ran.stderr);
    let ran = env
        .sampan(&["config", "unset", "web", "lxc.rootfs.path"])
        .failed();
    assert!(
        ran.stderr.contains("lxc.rootfs.path is missing"),
        "{}",
        ran.stderr
    );
    assert_eq!(text_of(&env, "web"), before);
}

#[test]
fn a_handbook_config_is_understood_and_edited_in_its_own_words() {
    let env = TestEnvironment::new();
    env.create_small_guest("old", &[]);
    let text = text_of(&env, "old")
        .replace("lxc.uts.name", "lxc.utsname")
        .replace("lxc.rootfs.path = dir:", "lxc.rootfs = ")
        .replace("lxc.idmap", "lxc.id_map")
        .replace("lxc.net.0.type", "lxc.network.type")
        .replace("lxc.tty.max", "lxc.tty")
        .replace("lxc.pty.max", "lxc.pts")
        .replace("lxc.signal.halt", "lxc.haltsignal");
    let text = format!("# from the book\n{text}lxc.limit.nofile = 100\nsome words\n");
    fs::write(config_of(&env, "old"), &text).unwrap();
    env.sampan(&["config", "set", "old", "lxc.uts.name", "book"])
        .ok();
    let expected = text.replace("lxc.utsname = old", "lxc.utsname = book");
    assert_eq!(text_of(&env, "old"), expected);
    assert_ne!(expected, text);

    let shown = env.sampan(&["config", "show", "old"]).ok();
    assert_eq!(shown.stderr, "");
    for line in [
        "lxc.uts.name = book",
        "lxc.net.0.type = empty",
        "lxc.prlimit.nofile = 100",
    ] {
        assert!(
            shown.stdout.lines().any(|l| l == line),
            "{line}\n{}",
            shown.stdout
        );
    }
    assert!(!shown.stdout.contains("lxc.utsname"), "{}", shown.stdout);
    env.sampan(&["start", "old"]).ok();
    let limit = env
        .sampan(&[
            "exec",
            "old",
            "--",
            "sh",
            "-c",
            "hostname; cat /proc/1/limits",
        ])
        .ok();
    assert!(limit.stdout.starts_with("book\n"), "{}", limit.stdout);
    let nofile = limit
        .stdout
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    assert_eq!(nofile.split_whitespace().nth(3), Some("100"), "{nofile}");
}

#[test]
fn a_config_with_a_fault_can_still_be_changed_elsewhere() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    append(&env, "web", "lxc.network.veth.n_rxqueues = 1\n");
    let ran = env
        .sampan(&["config", "set", "web", "lxc.uts.name", "x"])
        .ok();
    assert!(
        ran.stderr
            .contains("lxc.net.0.veth.n_rxqueues is not supported"),
        "{}",
        ran.stderr
    );
    assert_eq!(get(&env, "web", "lxc.uts.name"), "x\n");
    let ran = env.sampan(&["config", "show", "web"]).ok();
    assert!(ran.stderr.contains("warning: "), "{}", ran.stderr);
    env.sampan(&["start", "web"]).failed();
    env.sampan(&["config", "unset", "web", "lxc.net.0.veth.n_rxqueues"])
        .ok();
    env.sampan(&["start", "web"]).ok();
}

#[test]
fn included_files_count_and_their_faults_are_told_by_their_own_place() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let shared = env.scratch().join("shared.d");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("20-b.conf"), "lxc.environment = WHO=b\n").unwrap();
    fs::write(
        shared.join("10-a.conf"),
        "lxc.environment = WHO=a\nlxc.utsname = shared\n",
    )
    .unwrap();
    fs::write(shared.join("README"), "lxc.nonsense = 1\n").unwrap();
    fs::write(env.state().join("web/own"), "lxc.environment = OWN=1\n").unwrap();
    let include = shared.to_str().unwrap();
    env.sampan(&["config", "set", "web", "lxc.include", include, "own"])
        .ok();
    env.sampan(&["start", "web"]).ok();
    let script = "hostname; tr '\\0' '\\n' < /proc/1/environ | grep -E '^(WHO|OWN)='";
    let ran = env.sampan(&["exec", "web", "--", "sh", "-c", script]).ok();
    assert_eq!(ran.stdout, "shared\nWHO=b\nOWN=1\n");

    let rows = env
        .sampan(&["config", "show", "web", "--format", "json"])
        .ok()
        .json();
    let row = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["key"] == "lxc.uts.name")
        .unwrap();
    assert_eq!(row["file"], shared.join("10-a.conf").to_str().unwrap());
    assert_eq!(
        (&row["line"], &row["written"]),
        (&2.into(), &"lxc.utsname".into())
    );
    let shown = env
        .sampan(&["config", "show", "web", "--verbose"])
        .ok()
        .stdout;
    let origin = format!(
        "# {}:2, as lxc.utsname\nlxc.uts.name = shared\n",
        shared.join("10-a.conf").display()
    );
    assert!(shown.contains(&origin), "{shown}");

    // What is set after an included value wins; what only the included file has is not unset here.
    env.sampan(&["config", "set", "web", "lxc.uts.name", "mine"])
        .ok();
    assert_eq!(get(&env, "web", "lxc.uts.name"), "mine\n");
    let ran = env
        .sampan(&["config", "unset", "web", "lxc.cap.keep"])
        .failed();
    assert!(
        ran.stderr.contains("lxc.cap.keep is not set"),
        "{}",
        ran.stderr
    );
    env.sampan(&["config", "unset", "web", "lxc.uts.name"]).ok();
    let ran = env
        .sampan(&["config", "unset", "web", "lxc.uts.name"])
        .failed();
    assert!(ran.stderr.contains("10-a.conf:2"), "{}", ran.stderr);

    env.sampan(&["stop", "--kill", "web"]).ok();
    fs::write(shared.join("20-b.conf"), "\nlxc.tty.max = many\n").unwrap();
    let ran = env.sampan(&["start", "web"]).failed();
    let place = format!(
        "{}:2: lxc.tty.max = many is not",
        shared.join("20-b.conf").display()
    );
    assert!(ran.stderr.contains(&place), "{}", ran.stderr);
    fs::write(
        shared.join("20-b.conf"),
        format!("lxc.include = {include}\n"),
    )
    .unwrap();
    let ran = env.sampan(&["start", "web"]).failed();
    assert!(
        ran.stderr.contains("20-b.conf:1: lxc.include") && ran.stderr.contains("circle"),
        "{}",
        ran.stderr
    );
    assert_eq!(env.state_of("web"), "stopped");
}

#[test]
fn an_edited_text_is_taken_whole_or_kept_beside() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let before = text_of(&env, "web");
    let ran = edit(&env, "web", "exit 0").ok();
    assert_eq!(ran.stderr, "the config of web is as it was\n");
    let ran = edit(
        &env,
        "web",
        "echo '# mine' >> \"$1\"; stat -c %a \"$1\" >&2",
    )
    .ok();
    assert_eq!(ran.stderr, "600\nchanged the config of web\n");
    assert_eq!(text_of(&env, "web"), format!("{before}# mine\n"));
    assert_eq!(copies(&env), Vec::<String>::new());

    // Without a terminal nobody is asked.
    let before = text_of(&env, "web");
    let ran = edit(&env, "web", "echo 'lxc.tty.max = many' >> \"$1\"").failed();
    let line = before.lines().count() + 1;
    assert!(
        ran.stderr
            .contains(&format!("config:{line}: lxc.tty.max = many")),
        "{}",
        ran.stderr
    );
    assert_eq!(text_of(&env, "web"), before);
    let [kept] = &copies(&env)[..] else {
        panic!("{:?}", copies(&env))
    };
    assert!(ran.stderr.contains(kept), "{}", ran.stderr);
    let kept = env.scratch().join(kept);
    assert_eq!(
        fs::read_to_string(&kept).unwrap(),
        format!("{before}lxc.tty.max = many\n")
    );
    fs::remove_file(kept).unwrap();

    let ran = edit(&env, "web", "exit 3").failed();
    assert!(
        ran.stderr.contains("failed") && !ran.stderr.contains("what you wrote"),
        "{}",
        ran.stderr
    );
    assert_eq!(copies(&env), Vec::<String>::new());

    // Somebody else's change meanwhile is not lost.
    let other = format!(
        "{} --root {} config set web lxc.tty.max 1 || exit 9; echo '# late' >> \"$1\"",
        TestEnvironment::binary().display(),
        env.root().display()
    );
    let ran = edit(&env, "web", &other).failed();
    assert!(
        ran.stderr.contains("changed by somebody else meanwhile"),
        "{}",
        ran.stderr
    );
    assert_eq!(get(&env, "web", "lxc.tty.max"), "1\n");
    assert_eq!(copies(&env).len(), 1);
}

#[test]
fn on_a_terminal_a_refused_text_may_be_edited_again() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let script = "if grep -q many \"$1\"; then sed -i s/many/2/ \"$1\"; \
                  else sed -i 's/^lxc.tty.max.*/lxc.tty.max = many/' \"$1\"; fi";
    let mut terminal = Terminal::start(&edit_with(&env, "web", script));
    terminal.wait_for("Edit it again? [Y/n]");
    assert!(
        terminal
            .shown()
            .contains("lxc.tty.max = many is not a number"),
        "{}",
        terminal.shown()
    );
    terminal.press("\n");
    assert_eq!(terminal.wait(), 0, "{}", terminal.shown());
    assert_eq!(get(&env, "web", "lxc.tty.max"), "2\n");

    let mut terminal = Terminal::start(&edit_with(&env, "web", script));
    terminal.wait_for("Edit it again? [Y/n]");
    terminal.press("n\n");
    assert_eq!(terminal.wait(), 1, "{}", terminal.shown());
    terminal.wait_for("what you wrote is in");
    assert_eq!(get(&env, "web", "lxc.tty.max"), "2\n");
}

#[test]
fn of_many_edits_at_once_none_is_lost() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let running: Vec<Background> = (0..12)
        .map(|n| {
            let value = format!("N{n}=1");
            env.background(&["config", "set", "web", "lxc.environment", &value, "--add"])
        })
        .collect();
    for background in running {
        background.wait().ok();
    }
    let mut lines: Vec<String> = get(&env, "web", "lxc.environment")
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    let mut expected: Vec<String> = (0..12).map(|n| format!("N{n}=1")).collect();
    expected.sort();
    assert_eq!(lines, expected);
    let left: Vec<_> = fs::read_dir(env.state().join("web"))
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("tmp")),
        "{left:?}"
    );
}

#[test]
fn what_a_killed_edit_left_goes_with_the_next() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let half = env.state().join("web/config.tmp-00000001");
    fs::write(&half, "lxc.").unwrap();
    env.sampan(&["config", "set", "web", "lxc.uts.name", "a"])
        .ok();
    assert!(!half.exists());
}

#[test]
fn where_the_hosts_mounts_are_shared_a_container_starts_and_its_mounts_stay_inside() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let data = env.scratch().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let entry = format!("{} srv none bind,create=dir 0 0", data.display());
    env.sampan(&["config", "set", "web", "lxc.mount.entry", &entry, "--add"])
        .ok();
    let sampan = env.command(&["start", "web"]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "shared"])
        .arg(sampan.get_program())
        .args(sampan.get_args());
    Background::start(command, b"").wait().ok();
    let script = "mkdir -p /srv/below /inner && mount -t tmpfs leak /srv/below && mount -t tmpfs leak /inner && echo mounted";
    let ran = env.sampan(&["exec", "web", "--", "sh", "-c", script]).ok();
    assert_eq!(ran.stdout, "mounted\n");
    let init = env.sampan(&["info", "web", "--format", "json"]).ok().json()["init_pid"].clone();
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let monitor = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap()
        .trim();
    let seen = fs::read_to_string(format!("/proc/{monitor}/mountinfo")).unwrap();
    assert!(
        seen.contains("shared:"),
        "the mounts of the monitor are not shared:\n{seen}"
    );
    assert!(!seen.contains("leak"), "{seen}");
}
