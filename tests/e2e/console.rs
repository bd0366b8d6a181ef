//! Sessions on consoles and terminals, on a real terminal and through pipes.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use sampan_tests::{Terminal, TestEnvironment, deadline_of, leaks, wait_until};

fn piped(env: &TestEnvironment, arguments: &[&str]) -> Child {
    env.command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a guest that says when its console is raw: before, it would echo.
fn listens(env: &TestEnvironment, name: &str) {
    deadline_of("the guest listens", || {
        let log = env.sampan(&["logs", name]).ok().stdout;
        log.contains("ready").then_some(())
    });
}

/// A child that must not outlive the test.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inside(env: &TestEnvironment, name: &str, script: &str) -> String {
    let ran = env.sampan(&["exec", name, "--", "/bin/sh", "-c", script]);
    ran.ok().stdout
}

const SHELL: &str =
    "export PATH=/bin; trap 'exit 0' PWR; while :; do /bin/busybox setsid -c /bin/sh -i; done";

#[test]
fn a_console_on_a_terminal_takes_keys_shows_output_follows_the_window_and_is_left_by_its_key() {
    let env = TestEnvironment::new();
    env.scripted_guest("person", SHELL, "");
    env.sampan(&["start", "person"]).ok();
    let mut terminal = Terminal::start(&env.command(&["console", "person"]));
    let before =
        "connected to the console of person; Ctrl-a q leaves, Ctrl-a Ctrl-a sends one Ctrl-a";
    terminal.wait_for(before);
    terminal.press("echo one-$((20+3)); busybox stty size\n");
    terminal.wait_for("one-23");
    terminal.wait_for("24 80");
    terminal.resize(33, 101);
    terminal.press("busybox stty size\n");
    terminal.wait_for("33 101");
    // Ctrl-c is the guest's.
    terminal.press("sleep 1000\n");
    terminal.wait_for("sleep 1000");
    deadline_of("the guest sleeps", || {
        inside(&env, "person", "/bin/busybox ps")
            .contains("sleep 1000")
            .then_some(())
    });
    terminal.press("\x03");
    terminal.press("echo two-$((20+4))\n");
    terminal.wait_for("two-24");
    terminal.press("\x01q");
    assert_eq!(terminal.wait(), 0, "{}", terminal.shown());
    terminal.wait_for("left person");
    assert_eq!(env.state_of("person"), "running");
}

#[test]
fn a_terminal_is_as_before_after_the_key_a_signal_and_the_end_of_the_container() {
    let env = TestEnvironment::new();
    env.scripted_guest("restored", SHELL, "");
    env.sampan(&["start", "restored"]).ok();
    let session = |escape: &str| {
        let terminal = Terminal::start(&env.command(&["console", "-e", escape, "restored"]));
        let before = terminal.initial_settings().to_owned();
        deadline_of("the terminal is raw", || {
            (terminal.settings() != before).then_some(())
        });
        (terminal, before)
    };
    let (mut left, before) = session("^]");
    left.press("\x1dq");
    assert_eq!(left.wait(), 0);
    assert_eq!(left.settings(), before);

    for (signal, code) in [
        (Signal::SIGTERM, 143),
        (Signal::SIGINT, 130),
        (Signal::SIGHUP, 129),
    ] {
        let (mut signaled, before) = session("none");
        signaled.signal(signal);
        assert_eq!(signaled.wait(), code);
        assert_eq!(signaled.settings(), before);
    }

    let (mut stopped, before) = session("a");
    env.sampan(&["stop", "--kill", "restored"]).ok();
    assert_eq!(stopped.wait(), 0);
    assert_eq!(stopped.settings(), before);
    stopped.wait_for("the container stopped: restored");
}

/// The guest writes more than 100 MB of numbered lines; every byte arrives, in order.
#[test]
fn a_hundred_megabytes_arrive_through_the_console_byte_for_byte() {
    let env = TestEnvironment::new();
    // It begins when it is told to, so that the session sees all of it.
    let script = "/bin/busybox stty raw -echo; echo ready; read n; /bin/busybox awk -v n=$n 'BEGIN{for(i=1;i<=n;i++) printf \"%099d\\n\", i}'; \
                  echo end; read go";
    env.scripted_guest("flood", script, "");
    env.sampan(&["start", "flood"]).ok();
    for (sessions, lines) in [(1, 1_050_000), (2, 100_000)] {
        if sessions == 2 {
            env.sampan(&["stop", "--kill", "flood"]).ok();
            fs::remove_file(env.root().join("var/log/sampan/flood.console")).unwrap();
            env.sampan(&["start", "flood"]).ok();
        }
        listens(&env, "flood");
        let mut all: Vec<Kept> = (0..sessions)
            .map(|_| Kept(piped(&env, &["console", "flood"])))
            .collect();
        let readers: Vec<_> = all
            .iter_mut()
            .map(|session| {
                let stdout = session.0.stdout.take().unwrap();
                std::thread::spawn(move || check_lines(stdout))
            })
            .collect();
        deadline_of("every session is there", || {
            (sessions_of(&env, "flood") == sessions).then_some(())
        });
        let begun = Instant::now();
        all[0]
            .0
            .stdin
            .as_mut()
            .unwrap()
            .write_all(format!("{lines}\n").as_bytes())
            .unwrap();
        let done = wait_until(Duration::from_secs(240), || {
            readers
                .iter()
                .all(|reader| reader.is_finished())
                .then_some(())
        });
        assert!(done.is_some(), "it does not arrive");
        for reader in readers {
            assert_eq!(reader.join().unwrap(), lines);
        }
        let rate = lines as f64 / 10_000.0 / begun.elapsed().as_secs_f64();
        eprintln!("{sessions} sessions: {rate:.0} MB/s each");
    }
}

/// How many processes `sampan console` of this test wait for the guest.
fn sessions_of(env: &TestEnvironment, name: &str) -> usize {
    let root = env.root().display().to_string();
    let mut count = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // The monitor has handed over: the process has the terminal open.
        let has = line.contains(&root)
            && line.contains(&format!("console {name}"))
            && fs::read_dir(entry.path().join("fd")).is_ok_and(|fds| {
                fds.flatten().any(|fd| {
                    fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("ptmx"))
                })
            });
        count += usize::from(has);
    }
    count
}

fn check_lines(stream: impl std::io::Read) -> u64 {
    let mut lines = BufReader::with_capacity(1 << 20, stream);
    let mut line = Vec::new();
    let mut count = 0;
    loop {
        line.clear();
        lines.read_until(b'\n', &mut line).unwrap();
        if line == b"end\n" {
            return count;
        }
        count += 1;
        let expected = format!("{count:099}\n");
        assert_eq!(String::from_utf8_lossy(&line), expected, "line {count}");
    }
}

#[test]
fn a_pasted_megabyte_arrives_in_a_file_of_the_guest() {
    let env = TestEnvironment::new();
    let script = "/bin/busybox stty raw -echo; echo ready; /bin/busybox head -c 1048576 >/tmp/pasted; \
                  echo done; read go";
    env.scripted_guest("paste", script, "");
    let text: Vec<u8> = (0..1_048_576_u32).map(|n| (n % 251) as u8).collect();
    env.sampan(&["start", "paste"]).ok();
    let mut session = Kept(piped(&env, &["console", "paste"]));
    // What it showed before is in the log: it listens.
    deadline_of("it listens", || {
        let log = env.sampan(&["logs", "paste"]).ok().stdout;
        log.contains("ready").then_some(())
    });
    let mut stdin = session.0.stdin.take().unwrap();
    let pasted = text.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&pasted).map(|()| stdin));
    let mut lines = BufReader::new(session.0.stdout.take().unwrap()).lines();
    let done = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("done")));
    assert!(done.is_some(), "the session ended early");
    drop(writer.join().unwrap().unwrap());
    let seen = fs::read(env.state().join("paste/rootfs/tmp/pasted")).unwrap();
    assert!(
        seen == text,
        "{} bytes differ from what was sent",
        seen.len()
    );
}

#[test]
fn each_tty_is_for_one_session_and_the_refusal_says_who_has_it() {
    let env = TestEnvironment::new();
    let script = "for n in 1 2; do (exec </dev/tty$n >/dev/tty$n; echo this is $n; \
                  while read l; do echo \"$n got $l\"; done) & done; trap 'exit 0' PWR; while :; do sleep 1; done";
    env.scripted_guest("many", script, "lxc.tty.max = 2");
    env.sampan(&["start", "many"]).ok();
    let mut first = Terminal::start(&env.command(&["console", "-t", "auto", "many"]));
    first.wait_for("connected to tty 1 of many");
    let second = Terminal::start(&env.command(&["console", "-t", "auto", "many"]));
    second.wait_for("connected to tty 2 of many");
    first.press("a\n");
    first.wait_for("1 got a");
    second.press("b\n");
    second.wait_for("2 got b");
    assert!(!second.shown().contains("got a"));

    let none = env.sampan(&["console", "-t", "auto", "many"]).failed();
    let users = format!("by processes {}, {}", first.id(), second.id());
    assert!(none.stderr.contains(&users), "{}", none.stderr);
    let taken = env.sampan(&["console", "-t", "2", "many"]).failed();
    let user = format!("tty 2 is in use by process {}", second.id());
    assert!(taken.stderr.contains(&user), "{}", taken.stderr);
    let absent = env.sampan(&["console", "-t", "3", "many"]).failed();
    assert!(absent.stderr.contains("only 1 to 2"), "{}", absent.stderr);

    first.press("\x01q");
    assert_eq!(first.wait(), 0);
    let again = wait_until(Duration::from_secs(20), || {
        let again = Terminal::start(&env.command(&["console", "-t", "1", "many"]));
        again.wait_for("tty 1");
        again.shown().contains("connected").then_some(again)
    });
    again.expect("tty 1 is free again").press("\x01q");
}

#[test]
fn a_viewer_that_is_stuck_is_let_go_while_guest_and_log_go_on() {
    let env = TestEnvironment::new();
    let script = "/bin/busybox stty raw -echo; echo ready; read go; /bin/busybox seq 1 400000; echo all; read go";
    env.scripted_guest("stuck", script, "");
    env.sampan(&["start", "stuck"]).ok();
    listens(&env, "stuck");
    let mut idle = Kept(piped(&env, &["console", "stuck"]));
    deadline_of("the session is there", || {
        (sessions_of(&env, "stuck") == 1).then_some(())
    });
    // Its output is never read.
    idle.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    deadline_of("the guest has written everything", || {
        let last = env.sampan(&["logs", "-n", "1", "stuck"]).ok().stdout;
        (last.trim() == "all").then_some(())
    });
    // The monitor answers, and the session says what became of it once it is read.
    assert_eq!(env.state_of("stuck"), "running");
    let ran = idle.0.stdout.take().map(std::io::read_to_string);
    assert!(ran.is_some_and(|text| text.unwrap().starts_with("1\n2\n")));
    let status = wait_until(Duration::from_secs(20), || idle.0.try_wait().unwrap());
    assert_eq!(status.and_then(|status| status.code()), Some(1));
    let words = std::io::read_to_string(idle.0.stderr.take().unwrap()).unwrap();
    assert!(words.contains("sampan logs stuck"), "{words}");
}

/// Bytes that a process has written, and its processor time in seconds.
fn spent(pid: u32) -> (u64, f64) {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    let second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .unwrap()
        .unwrap();
    (
        written.unwrap().parse().unwrap(),
        ticks as f64 / second as f64,
    )
}

#[test]
fn a_guest_that_floods_its_console_is_slowed_down_unless_somebody_looks() {
    let env = TestEnvironment::new();
    const LINE: &str = "0123456789012345678901234567890123456789012345678901234567890123";
    let script = format!("/bin/busybox yes {LINE}");
    env.scripted_guest("noisy", &script, "");
    env.sampan(&["start", "noisy"]).ok();
    let monitor = leaks::monitors(env.root(), "noisy")[0];
    let until = |bytes: u64| {
        deadline_of("the guest has written more", || {
            (spent(monitor).0 >= bytes).then_some(())
        });
    };
    // Past what it may write at once.
    until(20 << 20);
    let ((written, busy), begun) = (spent(monitor), Instant::now());
    until(written + (4 << 20));
    let (took, busy) = (begun.elapsed().as_secs_f64(), spent(monitor).1 - busy);
    assert!(took >= 3.0, "4 MiB in {took} s");
    assert!(
        busy < took / 2.0,
        "the monitor was busy for {busy} s of {took}"
    );
    // It still does its other work.
    assert_eq!(env.state_of("noisy"), "running");

    let mut session = Kept(piped(&env, &["console", "noisy"]));
    let mut lines = BufReader::new(session.0.stdout.take().unwrap()).lines();
    let begun = Instant::now();
    // It begins in the middle of a line.
    lines.next().unwrap().unwrap();
    for number in 1..1_000_000 {
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line.trim_end(), LINE, "line {number}");
    }
    let rate = 66.0 / begun.elapsed().as_secs_f64();
    eprintln!("with a viewer: {rate:.0} MB/s");
    assert!(rate > 2.0, "with a viewer: {rate} MB/s");
    drop(session);
    env.sampan(&["stop", "--kill", "noisy"]).ok();
}

#[test]
fn a_console_of_what_does_not_run_is_refused_in_words() {
    let env = TestEnvironment::new();
    env.create_small_guest("quiet", &[]);
    let ran = env.sampan(&["console", "quiet"]).failed();
    assert!(ran.stderr.contains("is not running"), "{}", ran.stderr);
    env.sampan(&["start", "quiet"]).ok();
    let ran = env.sampan(&["console", "-t", "1", "quiet"]).failed();
    assert!(ran.stderr.contains("lxc.tty.max"), "{}", ran.stderr);
    let ran = env.sampan(&["console", "-t", "x", "quiet"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn logs_follow_through_a_rotation_and_a_restart_until_the_container_is_destroyed() {
    let env = TestEnvironment::new();
    let script = "/bin/busybox seq 1 700000; echo end; read go";
    env.scripted_guest("told", script, "");
    let mut follower = Kept(piped(&env, &["logs", "-f", "told"]));
    let mut lines = BufReader::new(follower.0.stdout.take().unwrap()).lines();
    let (told, ends) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for _ in 0..2 {
            for number in 1..=700_000 {
                assert_eq!(lines.next().unwrap().unwrap(), number.to_string());
            }
            assert_eq!(lines.next().unwrap().unwrap(), "end");
            told.send(()).unwrap();
        }
        assert!(lines.next().is_none(), "something after the end");
    });
    for boot in 1..=2 {
        env.sampan(&["start", "told"]).ok();
        let end = ends.recv_timeout(Duration::from_secs(120));
        assert!(end.is_ok(), "boot {boot} is not followed to its end");
        env.sampan(&["stop", "--kill", "told"]).ok();
        let rotated = env.root().join("var/log/sampan/told.console.1");
        assert!(rotated.exists(), "boot {boot} did not fill the log");
    }
    env.sampan(&["destroy", "told"]).ok();
    reader.join().unwrap();
    let status = wait_until(Duration::from_secs(60), || follower.0.try_wait().unwrap());
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}

#[test]
fn a_config_can_bound_the_console_log_and_put_it_elsewhere() {
    let env = TestEnvironment::new();
    let log = env.scratch().join("my.log");
    let config = format!(
        "lxc.console.logfile = {}\nlxc.console.size = 4096\nlxc.console.rotate = 1",
        log.display()
    );
    let script = "/bin/busybox seq 1 5000; echo end; read go";
    env.scripted_guest("bounded", script, &config);
    env.sampan(&["start", "bounded"]).ok();
    deadline_of("the guest has written everything", || {
        let last = env.sampan(&["logs", "-n", "1", "bounded"]).ok().stdout;
        (last.trim() == "end").then_some(())
    });
    for name in ["my.log", "my.log.1"] {
        let size = fs::metadata(env.scratch().join(name)).unwrap().len();
        assert!((1..=4096).contains(&size), "{name} has {size} bytes");
    }
}
