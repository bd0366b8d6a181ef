//! `sampan run`: one command, and nothing left.

use std::{fs, path::Path, time::Duration};

use nix::sys::signal::Signal;
use sampan_tests::{Terminal, TestEnvironment, deadline_of, wait_until};

/// The arguments of a `run` of the host's static busybox.
fn arguments<'a>(more: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["-q", "run", "-t", "naughty", "-o", "program=/bin/busybox"];
    all.extend(more);
    if !command.is_empty() {
        all.push("--");
        all.extend(command);
    }
    all
}

fn containers(env: &TestEnvironment) -> usize {
    let rows = env.sampan(&["ls", "--format", "json"]).ok().json();
    rows.as_array().map_or(0, Vec::len)
}

/// What is in the state directory, without asking sampan, which would tidy up.
fn on_disk(env: &TestEnvironment) -> Vec<String> {
    fs::read_dir(env.state())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("events") && !name.starts_with("lock"))
        .filter(|name| env.state().join(name).join("config").exists())
        .collect()
}

#[test]
fn a_command_has_its_streams_its_exit_code_and_leaves_nothing() {
    let env = TestEnvironment::new();
    let script = "cat; echo to-stderr >&2; /bin/busybox id -u; exit 3";
    let ran = env.sampan_with(
        &arguments(&[], &["sh", "-c", script]),
        b"line\n\x00\x01\xff\n",
    );
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("line\n\0\x01"), "{:?}", ran.stdout);
    assert!(ran.stdout.ends_with("\n0\n"), "{:?}", ran.stdout);
    assert_eq!(ran.stderr, "to-stderr\n");
    assert_eq!(on_disk(&env), Vec::<String>::new());

    let killed = env.sampan(&arguments(&[], &["sh", "-c", "kill -TERM $$"]));
    assert_eq!(killed.code, 128 + 15, "{}", killed.stderr);
    let absent = env.sampan(&arguments(&[], &["no-such-command"]));
    assert_eq!(absent.code, 127, "{}", absent.stderr);
    assert!(
        absent.stderr.contains("no-such-command"),
        "{}",
        absent.stderr
    );
    let no_program = env.sampan(&arguments(&[], &["/etc/passwd"]));
    assert_eq!(no_program.code, 126, "{}", no_program.stderr);
    assert_eq!(on_disk(&env), Vec::<String>::new());
    assert_eq!(containers(&env), 0);
}

#[test]
fn ten_megabytes_pass_through_a_pipe_on_both_sides() {
    let env = TestEnvironment::new();
    let text: Vec<u8> = (0..10_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let ran = env.sampan_with(&arguments(&[], &["cat"]), &text).ok();
    assert!(
        ran.stdout.as_bytes() == text,
        "{} bytes came back",
        ran.stdout.len()
    );
}

#[test]
fn its_first_process_reaps_orphans_hides_the_host_and_needs_nothing_inside() {
    let env = TestEnvironment::new();
    let script = "
        (/bin/sleep 0.05 & ) ; (/bin/sleep 0.05 & ) ; /bin/sleep 0.5
        echo zombies $(/bin/busybox ps -o stat | /bin/busybox grep -c Z)
        echo name $(cat /proc/1/comm)
        echo line $(/bin/busybox tr -d '\\0' </proc/1/cmdline)
        echo mine $$ $PPID
        cat /proc/1/environ >/dev/null 2>&1 || echo environ hidden
        (: >>/proc/1/exe) 2>/dev/null || echo program hidden
        /bin/busybox ls /proc/1/fd 2>/dev/null | /bin/busybox wc -l
        /bin/sleep 1000 & exit 0";
    let ran = env.sampan(&arguments(&[], &["sh", "-c", script])).ok();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "zombies 0",
            "name init",
            "line",
            "mine 2 1",
            "environ hidden",
            "program hidden",
            "0"
        ],
        "{}",
        ran.stderr
    );
}

#[test]
fn on_a_terminal_the_command_has_one_and_ctrl_c_is_the_commands() {
    let env = TestEnvironment::new();
    let mut terminal = Terminal::start(&env.command(&arguments(&[], &["sh", "-i"])));
    terminal.press("busybox tty; busybox stty size; echo is-$((1+1))\n");
    terminal.wait_for("/dev/console");
    terminal.wait_for("24 80");
    terminal.wait_for("is-2");
    terminal.press("sleep 1000\n");
    terminal.wait_for("sleep 1000");
    let asleep = wait_until(Duration::from_secs(30), || {
        terminal.press("\x03");
        terminal.press("echo on-$((2+2))\n");
        terminal.shown().contains("on-4").then_some(())
    });
    assert!(asleep.is_some(), "{}", terminal.shown());
    terminal.press("\nexit 9\n");
    assert_eq!(terminal.wait(), 9, "{}", terminal.shown());
    assert_eq!(on_disk(&env), Vec::<String>::new());
}

#[test]
fn signals_are_the_commands_and_nothing_is_left_after_them() {
    let env = TestEnvironment::new();
    for (signal, code) in [(Signal::SIGINT, 42), (Signal::SIGTERM, 43)] {
        let script = "trap 'exit 42' INT; trap 'exit 43' TERM; echo ready >/tmp/ready; \
                      while :; do /bin/sleep 0.05; done";
        let run = env.background(&arguments(&["--name", "signalled"], &["sh", "-c", script]));
        let ready = env.state().join("signalled/delta/upper/tmp/ready");
        deadline_of("the command runs", || ready.exists().then_some(()));
        run.signal(signal);
        let ran = run.wait();
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert_eq!(on_disk(&env), Vec::<String>::new());
    }
}

#[test]
fn a_run_that_is_killed_leaves_nothing() {
    let env = TestEnvironment::new();
    let script = "echo ready >/tmp/ready; while :; do /bin/sleep 1000; done";
    let run = env.background(&arguments(&["--name", "killed"], &["sh", "-c", script]));
    let ready = env.state().join("killed/delta/upper/tmp/ready");
    deadline_of("the command runs", || ready.exists().then_some(()));
    let info = env
        .sampan(&["info", "killed", "--format", "json"])
        .ok()
        .json();
    let init = info["init_pid"].as_i64().unwrap();
    run.signal(Signal::SIGKILL);
    run.wait();
    deadline_of("its monitor removes everything", || {
        (!Path::new(&format!("/proc/{init}")).exists() && on_disk(&env).is_empty()).then_some(())
    });

    // Killed together with its monitor: then the next command does it.
    let run = env.background(&arguments(&["--name", "killed"], &["sh", "-c", script]));
    deadline_of("the command runs", || ready.exists().then_some(()));
    let info = env
        .sampan(&["info", "killed", "--format", "json"])
        .ok()
        .json();
    let init = info["init_pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let monitor = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap();
    let both = [monitor.trim().to_owned(), run.id().to_string()];
    let killed = std::process::Command::new("kill")
        .arg("-9")
        .args(&both)
        .status();
    assert!(killed.unwrap().success());
    run.wait();
    deadline_of("init is gone", || {
        (!Path::new(&format!("/proc/{init}")).exists()).then_some(())
    });
    assert_eq!(containers(&env), 0);
    assert_eq!(on_disk(&env), Vec::<String>::new());
}

#[test]
fn a_command_can_run_in_a_stopped_container_in_place_of_its_init_and_the_container_stays() {
    let env = TestEnvironment::new();
    env.create_small_guest("kept", &[]);
    let ran = env
        .sampan(&[
            "run",
            "kept",
            "-e",
            "A=b",
            "-w",
            "/tmp",
            "--",
            "sh",
            "-c",
            "echo $A $PWD; echo x >/root/x",
        ])
        .ok();
    assert_eq!(ran.stdout, "b /tmp\n");
    assert_eq!(env.state_of("kept"), "stopped");
    assert!(env.state().join("kept/rootfs/root/x").exists());
    env.sampan(&["start", "kept"]).ok();
    let ran = env.sampan(&["run", "kept", "--", "true"]).failed();
    assert!(ran.stderr.contains("already running"), "{}", ran.stderr);

    let config = env.state().join("kept/config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        format!("{text}lxc.execute.cmd = /bin/busybox echo from the config\n"),
    )
    .unwrap();
    env.sampan(&["stop", "--kill", "kept"]).ok();
    let ran = env.sampan(&["run", "kept"]).ok();
    assert_eq!(ran.stdout, "from the config\n");

    env.create_small_guest("root", &["--privileged"]);
    let ran = env.sampan(&["run", "root", "--", "true"]).failed();
    assert!(ran.stderr.contains("privileged"), "{}", ran.stderr);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let env = TestEnvironment::new();
    assert_eq!(env.sampan(&["run", "--", "true"]).code, 2);
    assert_eq!(env.sampan(&["run", "web", "-t", "naughty"]).code, 2);
    assert_eq!(env.sampan(&["run", "web", "--name", "x"]).code, 2);
    let ran = env
        .sampan(&arguments(&["--memory", "lots"], &["true"]))
        .failed();
    assert!(ran.stderr.contains("lots"), "{}", ran.stderr);
    assert_eq!(on_disk(&env), Vec::<String>::new());
}

#[test]
fn an_ephemeral_container_is_gone_when_it_has_stopped() {
    let env = TestEnvironment::new();
    env.scripted_guest(
        "short",
        "trap 'exit 0' PWR; while :; do /bin/sleep 1; done",
        "lxc.ephemeral = 1",
    );
    // It is not removed before it has run.
    assert_eq!(env.state_of("short"), "stopped");
    env.sampan(&["start", "short"]).ok();
    env.sampan(&["stop", "--kill", "short"]).ok();
    assert_eq!(env.state_of("short"), "absent");
}
