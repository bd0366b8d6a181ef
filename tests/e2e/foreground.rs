//! `sampan start -F`: what a service manager and a person get.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use sampan_tests::{Background, Terminal, TestEnvironment, deadline_of};

/// Halts when it is asked to, as a guest does.
const POLITE: &str =
    "trap '/bin/busybox poweroff -f' PWR; echo booted; while :; do /bin/sleep 1; done";

fn running(env: &TestEnvironment, name: &str) {
    deadline_of("the container runs", || {
        (env.state_of(name) == "running").then_some(())
    });
}

/// It listens when its shell has set its trap.
fn booted(env: &TestEnvironment, name: &str) {
    running(env, name);
    deadline_of("the guest has booted", || {
        let log = env.sampan(&["logs", name]).ok().stdout;
        log.contains("booted").then_some(())
    });
}

fn manager(socket: UnixDatagram) -> impl Fn() -> String {
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    move || {
        let mut buffer = [0; 1024];
        let count = socket.recv(&mut buffer).expect("a message within a minute");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }
}

#[test]
fn a_service_manager_is_told_when_init_runs_and_when_it_stops() {
    let env = TestEnvironment::new();
    env.scripted_guest("service", POLITE, "");
    let path = env.scratch().join("notify");
    let abstract_name = format!("sampan-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
    let managers = [
        (
            path.display().to_string(),
            UnixDatagram::bind(&path).unwrap(),
        ),
        (
            format!("@{abstract_name}"),
            UnixDatagram::bind_addr(&address).unwrap(),
        ),
    ];
    for (name, socket) in managers {
        let told = manager(socket);
        let mut command = env.command(&["start", "-F", "service"]);
        command.env("NOTIFY_SOCKET", &name);
        let service = Background::start(command, b"");
        let ready = told();
        assert!(ready.starts_with("READY=1\n"), "{ready}");
        assert!(
            ready.contains(&format!("MAINPID={}\n", service.id())),
            "{ready}"
        );
        assert!(ready.contains("STATUS=init is process "), "{ready}");
        booted(&env, "service");
        service.signal(Signal::SIGTERM);
        assert!(told().starts_with("STOPPING=1"));
        let ran = service.wait();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("booted"), "{}", ran.stdout);
        assert_eq!(ran.stderr, "");
        assert_eq!(env.state_of("service"), "stopped");
    }
}

#[test]
fn the_exit_code_is_inits_or_128_and_its_signal() {
    let env = TestEnvironment::new();
    for (name, script, code) in [
        ("seven", "echo some text; /bin/sleep 0.1; exit 7", 7),
        ("zero", "/bin/sleep 0.1; exit 0", 0),
        (
            "halted",
            "/bin/sleep 0.1; /bin/busybox poweroff -f; /bin/sleep 1000",
            0,
        ),
    ] {
        env.scripted_guest(name, script, "sampan.restart = always");
        let ran = env.sampan(&["start", "-F", name]);
        assert_eq!(ran.code, code, "{name}: {}", ran.stderr);
    }
    env.scripted_guest("killed", POLITE, "");
    let service = env.background(&["start", "-F", "killed"]);
    booted(&env, "killed");
    env.sampan(&["stop", "--kill", "killed"]).ok();
    assert_eq!(service.wait().code, 128 + 9);
}

#[test]
fn a_guest_that_does_not_halt_is_killed_by_the_second_signal() {
    let env = TestEnvironment::new();
    let deaf = "trap 'echo asked' PWR; echo booted; while :; do /bin/sleep 0.1; done";
    env.scripted_guest("deaf", deaf, "");
    let service = env.background(&["start", "-F", "deaf"]);
    booted(&env, "deaf");
    service.signal(Signal::SIGTERM);
    deadline_of("it was asked", || {
        let log = env.sampan(&["logs", "deaf"]).ok().stdout;
        log.contains("asked").then_some(())
    });
    assert_eq!(env.state_of("deaf"), "stopping");
    service.signal(Signal::SIGTERM);
    assert_eq!(service.wait().code, 128 + 9);
}

#[test]
fn a_foreground_that_is_killed_takes_its_container_along_and_leaves_nothing() {
    let env = TestEnvironment::new();
    env.scripted_guest("orphan", POLITE, "");
    let service = env.background(&["start", "-F", "orphan"]);
    booted(&env, "orphan");
    let info = env
        .sampan(&["info", "orphan", "--format", "json"])
        .ok()
        .json();
    let init = info["init_pid"].as_i64().unwrap();
    service.signal(Signal::SIGKILL);
    assert_eq!(service.wait().code, 128 + 9);
    let run = env.root().join("run/sampan/orphan");
    // No command of ours looks: the monitor itself tidies up.
    deadline_of("nothing is left", || {
        let init_lives = Path::new(&format!("/proc/{init}")).exists();
        (!init_lives && !run.exists()).then_some(())
    });
    let mine = format!("{}", env.root().display());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&mine));
    env.sampan(&["start", "orphan"]).ok();
}

#[test]
fn a_monitor_that_is_killed_ends_the_foreground_which_says_so_by_its_code() {
    let env = TestEnvironment::new();
    env.scripted_guest("headless", POLITE, "");
    let service = env.background(&["start", "-F", "headless"]);
    booted(&env, "headless");
    let info = env
        .sampan(&["info", "headless", "--format", "json"])
        .ok()
        .json();
    let init = info["init_pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let monitor = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap();
    let killed = Command::new("kill").args(["-9", monitor.trim()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(service.wait().code, 128 + 9);
    assert!(!env.root().join("run/sampan/headless").exists());
}

#[test]
fn on_a_terminal_the_console_is_there_from_the_first_line_and_the_key_asks_it_to_halt() {
    let env = TestEnvironment::new();
    let script = "echo first line; trap '/bin/busybox poweroff -f' PWR; echo booted; \
                  while read l; do echo \"got $l\"; done; while :; do /bin/sleep 1; done";
    env.scripted_guest("seen", script, "");
    let mut terminal = Terminal::start(&env.command(&["start", "-F", "seen"]));
    terminal.wait_for("Ctrl-a q asks it to halt");
    terminal.wait_for("first line");
    terminal.wait_for("booted");
    terminal.press("hello\n");
    terminal.wait_for("got hello");
    terminal.press("\x01q");
    assert_eq!(terminal.wait(), 0, "{}", terminal.shown());
    terminal.wait_for("seen has ended");
    assert_eq!(terminal.settings(), terminal.initial_settings());
}

#[test]
fn a_start_that_fails_in_the_foreground_says_why_and_leaves_nothing() {
    let env = TestEnvironment::new();
    env.create_small_guest("broken", &[]);
    fs::remove_file(env.state().join("broken/rootfs/sbin/init")).unwrap();
    let ran = env.sampan(&["start", "-F", "broken"]).failed();
    assert!(ran.stderr.contains("/sbin/init"), "{}", ran.stderr);
    assert_eq!(env.state_of("broken"), "stopped");
    let mut command = env.command(&["start", "-F", "broken"]);
    command.env("NOTIFY_SOCKET", env.scratch().join("nobody"));
    let ran = Background::start(command, b"").wait().failed();
    assert!(ran.stderr.contains("NOTIFY_SOCKET"), "{}", ran.stderr);
    let ran = env.sampan(&["start", "-F", "broken", "broken"]).failed();
    assert!(ran.stderr.contains("only one"), "{}", ran.stderr);
}
