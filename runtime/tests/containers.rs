//! Containers, for real: made from a static busybox, started, entered, stopped. Needs root, and
//! Debian's `busybox-static`.
//!
//! `exec` speaks over the standard streams, so it is driven through `examples/container.rs`.

#![forbid(unsafe_code)]

mod place;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use place::{Place, example, kill, options, ready, text, until};
use sampan_runtime::{ErrorKind, Reason, State, StopOptions, Stopped};

fn signal(pid: i32, signal: &str) {
    let status = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

fn parent_of(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn a_container_starts_runs_commands_halts_and_leaves_nothing() {
    let place = Place::new();
    let web = place.make("web", &[]);
    let pid = web.start(&options()).unwrap();
    ready(&web);
    assert_eq!(web.state().unwrap(), State::Running);
    assert_eq!(web.init_pid().unwrap(), Some(pid));

    let output = place.exec(
        "web",
        &["sh", "-c", "id -u; hostname; env; ip link show lo"],
    );
    let output = text(&output.stdout);
    assert!(output.starts_with("0\nweb\n"), "{output}");
    assert!(
        output.contains("container=lxc") && output.contains("LOOPBACK,UP"),
        "{output}"
    );
    assert!(
        !output.contains("CARGO"),
        "the caller's environment leaked: {output}"
    );

    let again = web.start(&options()).unwrap_err();
    assert_eq!(again.reason(), Reason::Running);
    assert_eq!(web.destroy(false).unwrap_err().reason(), Reason::Running);

    let outcome = web.stop(&StopOptions::default()).unwrap();
    assert_eq!(outcome, Stopped::Halted);
    assert_eq!(place.leftovers(), Vec::<String>::new());
    assert_eq!(web.state().unwrap(), State::Stopped);
    assert_eq!(web.stop(&kill()).unwrap_err().reason(), Reason::NotRunning);
    web.destroy(false).unwrap();
    assert!(!web.dir().exists());
}

#[test]
fn exit_codes_and_streams_pass_exactly() {
    let place = Place::new();
    let web = place.make("web", &[]);
    web.start(&options()).unwrap();
    ready(&web);
    let code = |command: &[&str]| place.exec("web", command).status.code();
    assert_eq!(code(&["sh", "-c", "exit 42"]), Some(42));
    assert_eq!(code(&["sh", "-c", "kill -TERM $$"]), Some(128 + 15));
    let missing = place.exec("web", &["no-such-command"]);
    assert!(text(&missing.stderr).contains("no such command"));

    let output = place.exec("web", &["sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("out\n".into(), "err\n".into())
    );

    let input = place.dir.path().join("input");
    let bytes: Vec<u8> = (0..100u32 << 20).map(|n| (n ^ (n >> 9)) as u8).collect();
    fs::write(&input, &bytes).unwrap();
    let stdin = fs::File::open(&input).unwrap();
    let output = place.exec_with("web", &["cat"], stdin.into());
    assert!(output.stdout == bytes, "100 MB came back changed");
}

#[test]
fn a_signal_to_exec_reaches_the_command() {
    let place = Place::new();
    let web = place.make("web", &[]);
    web.start(&options()).unwrap();
    ready(&web);
    let mut command = Command::new(example("container"))
        .arg(place.dir.path())
        .args([
            "exec",
            "web",
            "sh",
            "-c",
            "trap 'echo got it; exit 3' TERM; echo up; while :; do sleep 0.05; done",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = std::io::BufReader::new(command.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert_eq!(line, "up\n");
    signal(command.id() as i32, "-TERM");
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert_eq!(line, "up\ngot it\n");
    assert_eq!(command.wait().unwrap().code(), Some(3));
}

#[test]
fn the_guest_reads_no_kernel_log_and_writes_no_kernel_setting() {
    let place = Place::new();
    let web = place.make("web", &[]);
    web.start(&options()).unwrap();
    ready(&web);
    let dmesg = place.exec("web", &["dmesg"]);
    assert!(text(&dmesg.stderr).contains("not permitted"), "{dmesg:?}");
    let output = place.exec(
        "web",
        &[
            "sh",
            "-c",
            "ls /dev; for f in /proc/sys/kernel/panic /proc/sysrq-trigger /sys/kernel/mm/ksm/run; \
             do (echo 0 > $f) 2>/dev/null && echo wrote $f; done; cat /proc/kmsg /proc/timer_list",
        ],
    );
    let output = text(&output.stdout);
    assert!(
        !output.contains("wrote") && !output.contains("kmsg"),
        "{output}"
    );
    for device in ["console", "null", "ptmx", "pts", "shm", "tty", "urandom"] {
        assert!(
            output.lines().any(|line| line == device),
            "{device} not in {output}"
        );
    }
}

#[test]
fn a_memory_limit_in_either_vocabulary_kills_what_exceeds_it() {
    let place = Place::new();
    for (name, key) in [
        ("one", "lxc.cgroup.memory.limit_in_bytes"),
        ("two", "lxc.cgroup2.memory.max"),
    ] {
        let container = place.make(name, &[(key, "32M")]);
        container.start(&options()).unwrap();
        ready(&container);
        assert_eq!(container.info().unwrap().memory_limit, Some(32 << 20));
        let greedy = place.exec(name, &["tail", "/dev/zero"]);
        assert_eq!(greedy.status.code(), Some(137), "{name}");
        assert_eq!(container.state().unwrap(), State::Running);
    }
}

#[test]
fn a_killed_monitor_takes_its_container_along_and_start_works_again() {
    let place = Place::new();
    let web = place.make("web", &[]);
    let pid = web.start(&options()).unwrap();
    ready(&web);
    signal(parent_of(pid), "-KILL");
    until("the end of the container", || {
        web.state().unwrap() == State::Stopped
    });
    until("the end of its processes", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
    assert_eq!(web.state().unwrap(), State::Stopped);
    assert_eq!(place.leftovers(), Vec::<String>::new());
    web.start(&options()).unwrap();
    assert_eq!(web.stop(&kill()).unwrap(), Stopped::Killed);
}

#[test]
fn an_init_killed_from_outside_is_a_stopped_container() {
    let place = Place::new();
    let web = place.make("web", &[]);
    let pid = web.start(&options()).unwrap();
    signal(pid, "-KILL");
    until("the end of the container", || {
        web.state().unwrap() == State::Stopped
    });
    assert_eq!(place.leftovers(), Vec::<String>::new());
    web.start(&options()).unwrap();
}

#[test]
fn a_reboot_starts_it_again_under_the_same_monitor() {
    let place = Place::new();
    let web = place.make("web", &[]);
    let pid = web.start(&options()).unwrap();
    let monitor = parent_of(pid);
    ready(&web);
    signal(pid, "-USR2");
    until("the new init", || {
        web.init_pid().unwrap().is_some_and(|now| now != pid)
    });
    let now = web.init_pid().unwrap().unwrap();
    assert_eq!(parent_of(now), monitor);
}

#[test]
fn one_that_ignores_its_halt_signal_is_killed_after_the_timeout() {
    let place = Place::new();
    let web = place.make("web", &[("lxc.signal.halt", "SIGWINCH")]);
    web.start(&options()).unwrap();
    ready(&web);
    let begun = Instant::now();
    let outcome = web.stop(&StopOptions {
        timeout: Duration::from_millis(300),
        ..StopOptions::default()
    });
    assert_eq!(outcome.unwrap(), Stopped::KilledAfterTimeout);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn of_concurrent_starts_one_wins_and_the_others_are_told() {
    let place = Place::new();
    let web = place.make("web", &[]);
    let results: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| web.start(&options())))
            .collect();
        starts.into_iter().map(|s| s.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.reason(), Reason::Running, "{error:?}");
    }
}

#[test]
fn two_containers_have_different_ids() {
    let place = Place::new();
    let uid = |name: &str| {
        let container = place.make(name, &[]);
        let pid = container.start(&options()).unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        line.unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    let (one, two) = (uid("one"), uid("two"));
    assert_ne!(one, two);
    assert!(one >= 0x0010_0000 && two >= 0x0010_0000);
}

#[test]
fn a_failed_start_names_the_step_and_leaves_nothing() {
    let place = Place::new();
    for (name, line, part) in [
        ("a", ("lxc.init.cmd", "/no/such/init"), "/no/such/init"),
        (
            "b",
            ("lxc.mount.entry", "/no/source x none bind 0 0"),
            "/no/source",
        ),
        ("c", ("lxc.cgroup2.nonsense.max", "1"), "nonsense"),
        (
            "d",
            ("lxc.hook.start", "/no/such/hook"),
            "lxc.hook.start = /no/such/hook",
        ),
        (
            "e",
            ("lxc.sched.core", "1"),
            "lxc.sched.core is not supported",
        ),
    ] {
        let container = place.make(name, &[line]);
        let error = container.start(&options()).unwrap_err();
        assert!(error.chain().contains(part), "{}", error.chain());
        assert_ne!(error.kind(), ErrorKind::Internal, "{error:?}");
    }
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn mount_entries_show_and_hide_as_they_say() {
    let place = Place::new();
    let data = place.dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "shared").unwrap();
    let bind = format!("{} srv/data none bind,ro,create=dir 0 0", data.display());
    let web = place.make(
        "web",
        &[
            ("lxc.mount.entry", &bind),
            (
                "lxc.mount.entry",
                "/no/source opt none bind,optional,create=dir 0 0",
            ),
            (
                "lxc.mount.entry",
                "tmpfs scratch tmpfs size=1m,create=dir 0 0",
            ),
        ],
    );
    web.start(&options()).unwrap();
    ready(&web);
    let output = place.exec(
        "web",
        &[
            "sh",
            "-c",
            "cat /srv/data/file; echo x > /srv/data/file; echo y > /scratch/f && echo fine",
        ],
    );
    assert_eq!(text(&output.stdout), "sharedfine\n");
    assert!(text(&output.stderr).contains("Read-only file system"));
}

#[test]
fn an_fstab_and_the_options_of_entries_are_obeyed() {
    let place = Place::new();
    let at = |name: &str| place.dir.path().join(name).display().to_string();
    for name in ["data", "mine", "fstab-data"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("data/file"), "").unwrap();
    let fstab = format!(
        "# a comment\n{} srv/fstab none rbind,ro,create=dir 0 0\ntmpfs srv/tmp tmpfs nodev,noexec,size=1m,create=dir\n",
        at("fstab-data")
    );
    fs::write(at("fstab"), fstab).unwrap();
    let entries = [
        format!(
            "{} srv/flags none bind,nosuid,nodev,noexec,noatime,create=dir",
            at("data")
        ),
        format!("{} srv/file none bind,create=file", at("data/file")),
        format!(
            "{} srv/mine none bind,create=dir,idmap=container",
            at("mine")
        ),
        "/srv/tmp srv/again none bind,relative,ro,create=dir".to_owned(),
        format!("{} srv/shared none bind,create=dir,rshared", at("data")),
    ];
    let mut lines: Vec<(&str, &str)> = entries
        .iter()
        .map(|e| ("lxc.mount.entry", &e[..]))
        .collect();
    let fstab = at("fstab");
    lines.push(("lxc.mount.fstab", &fstab));
    let web = place.make("web", &lines);
    web.start(&options()).unwrap();
    ready(&web);
    let script = "touch /srv/mine/from-inside; cat /proc/self/mountinfo";
    let output = text(&place.exec("web", &["sh", "-c", script]).stdout);
    let flags = |target: &str| {
        let line = output
            .lines()
            .find(|line| line.split(' ').nth(4) == Some(target));
        line.unwrap_or_else(|| panic!("{target} is not in {output}"))
            .to_owned()
    };
    assert!(flags("/srv/fstab").contains(" ro,"), "{output}");
    assert!(
        flags("/srv/tmp").contains(" rw,nodev,noexec,relatime"),
        "{output}"
    );
    assert!(
        flags("/srv/flags").contains(" rw,nosuid,nodev,noexec,noatime"),
        "{output}"
    );
    assert!(
        flags("/srv/again").contains(" ro,nodev,noexec,relatime"),
        "{output}"
    );
    assert!(flags("/srv/shared").contains(" shared:"), "{output}");
    flags("/srv/file");
    // Root inside is root on the disk of this one mount.
    let made = fs::metadata(at("mine/from-inside")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 0);

    web.stop(&kill()).unwrap();
    fs::write(at("fstab"), "proc proc proc\n/a b ext4 rw\n").unwrap();
    let error = web.start(&options()).unwrap_err().chain();
    assert!(error.contains("/fstab:2: "), "{error}");
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn links_in_a_hostile_rootfs_do_not_reach_the_host() {
    let place = Place::new();
    let web = place.make("web", &[]);
    let victim = place.dir.path().join("victim");
    fs::create_dir(&victim).unwrap();
    let rootfs = web.settings().unwrap().rootfs;
    fs::remove_dir(rootfs.join("dev")).unwrap();
    let up = "../".repeat(20);
    symlink(format!("{up}{}", victim.display()), rootfs.join("dev")).unwrap();
    let error = web.start(&options()).unwrap_err();
    assert!(error.chain().contains("/dev"), "{}", error.chain());
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
}
