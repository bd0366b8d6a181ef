//! Containers: their life, and the truth about it.

use std::{fs, path::Path, process::Command, time::Duration};

use nix::sys::signal::Signal;
use sampan_tests::{Background, TestEnvironment, deadline_of, wait_until};

fn info(env: &TestEnvironment, name: &str) -> serde_json::Value {
    env.sampan(&["info", name, "--format", "json"]).ok().json()
}

fn init_of(env: &TestEnvironment, name: &str) -> i64 {
    info(env, name)["init_pid"]
        .as_i64()
        .expect("a running init")
}

fn cgroups_of(name: &str, root: &Path) -> Vec<String> {
    // The cgroup's name carries the container's; two tests may use the same one, so only those
    // whose processes are gone with the test count.
    let _ = root;
    let listed = Command::new("find")
        .args([
            "/sys/fs/cgroup",
            "-maxdepth",
            "4",
            "-type",
            "d",
            "-name",
            &format!("{name}-*"),
        ])
        .output()
        .unwrap();
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_container_starts_runs_a_command_and_stops_without_a_trace() {
    let env = TestEnvironment::new();
    env.small_guest("trace-free");
    assert_eq!(env.state_of("trace-free"), "running");
    let init = init_of(&env, "trace-free");
    let ran = env
        .sampan(&["exec", "trace-free", "--", "cat", "/etc/hostname"])
        .ok();
    assert_eq!(ran.stdout, "trace-free\n");
    assert!(!cgroups_of("trace-free", env.root()).is_empty());

    env.sampan(&["stop", "--kill", "trace-free"]).ok();
    assert_eq!(env.state_of("trace-free"), "stopped");
    assert!(!Path::new(&format!("/proc/{init}")).exists());
    assert_eq!(cgroups_of("trace-free", env.root()), Vec::<String>::new());
    let run = env.root().join("run/sampan/trace-free");
    assert!(
        !run.join("control").exists() && !run.exists(),
        "{} is left",
        run.display()
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(env.root().to_str().unwrap()));
}

#[test]
fn exec_passes_on_exact_exit_codes() {
    let env = TestEnvironment::new();
    env.small_guest("codes");
    for code in [0, 1, 2, 77, 125, 255] {
        let ran = env.sampan(&["exec", "codes", "--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(ran.code, code, "{}", ran.stderr);
    }
    let ran = env.sampan(&["exec", "codes", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(ran.code, 128 + 15);
    let ran = env.sampan(&["exec", "codes", "--", "no-such-command"]);
    assert_eq!(ran.code, 127, "{}", ran.stderr);
    assert!(ran.stderr.contains("no-such-command"), "{}", ran.stderr);
    let ran = env.sampan(&["exec", "codes", "--", "/etc/passwd"]);
    assert_eq!(ran.code, 126, "{}", ran.stderr);
}

#[test]
fn a_hundred_megabytes_go_through_exec_unchanged() {
    let env = TestEnvironment::new();
    env.small_guest("pipes");
    let mut state = 88172645463325252_u64;
    let input: Vec<u8> = (0..100 << 17)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    let output = env.scratch().join("output");
    let mut command = env.command(&["exec", "pipes", "--", "cat"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(fs::File::create(&output).unwrap())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &input).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert!(
        fs::read(&output).unwrap() == input,
        "the stream was changed"
    );
}

#[test]
fn signals_to_exec_reach_the_command() {
    let env = TestEnvironment::new();
    env.small_guest("signals");
    let script = "trap 'exit 42' TERM; echo ready >/tmp/ready; while :; do sleep 0.1; done";
    let running = env.background(&["exec", "signals", "--", "sh", "-c", script]);
    deadline_of("the command runs", || {
        let seen = env.sampan(&["exec", "signals", "--", "cat", "/tmp/ready"]);
        (seen.code == 0).then_some(())
    });
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code, 42);
}

#[test]
fn no_two_containers_share_a_user_id() {
    let env = TestEnvironment::new();
    env.small_guest("one");
    env.small_guest("two");
    let uid = |name: &str| info(&env, name)["host_uid"].as_u64().unwrap();
    let (one, two) = (uid("one"), uid("two"));
    assert!(one.abs_diff(two) >= 65_536, "{one} and {two}");
    for (name, uid) in [("one", one), ("two", two)] {
        assert_ne!(uid, 0);
        let status = fs::read_to_string(format!("/proc/{}/status", init_of(&env, name))).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("Uid:"))
            .unwrap();
        assert!(line.contains(&uid.to_string()), "{line}");
        let config = fs::read_to_string(env.state().join(name).join("config")).unwrap();
        assert!(
            config.contains(&format!("lxc.idmap = u 0 {uid} 65536")),
            "{config}"
        );
    }
}

#[test]
fn a_guest_has_namespaces_of_its_own() {
    let env = TestEnvironment::new();
    env.small_guest("apart");
    let init = init_of(&env, "apart");
    for kind in ["mnt", "pid", "uts", "ipc", "net", "cgroup", "user"] {
        let ours = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let its = fs::read_link(format!("/proc/{init}/ns/{kind}")).unwrap();
        assert_ne!(ours, its, "{kind} is shared");
    }
    let ran = env
        .sampan(&["exec", "apart", "--", "/bin/busybox", "ip", "link"])
        .ok();
    let links = ran
        .stdout
        .lines()
        .filter(|line| line.contains("mtu"))
        .count();
    assert_eq!(links, 1, "only loopback: {}", ran.stdout);
    assert!(ran.stdout.contains("LOOPBACK,UP"), "{}", ran.stdout);
}

#[test]
fn the_host_is_out_of_reach_from_inside() {
    let env = TestEnvironment::new();
    env.small_guest("inside");
    let refused = |script: &str| {
        let ran = env.sampan(&["exec", "inside", "--", "/bin/busybox", "sh", "-c", script]);
        assert_ne!(ran.code, 0, "`{script}` was possible: {}", ran.stdout);
    };
    // Kernel messages, neither read nor written.
    refused("/bin/busybox dmesg");
    refused("test -e /dev/kmsg");
    refused("/bin/busybox head -c 1 /proc/kmsg | grep -q .");
    refused("echo x > /proc/sysrq-trigger");
    refused("echo x > /proc/sys/kernel/core_pattern");
    refused("echo 1 > /sys/kernel/mm/ksm/run");
    refused("/bin/busybox mknod /tmp/sda b 8 0");
    // busybox's date prints the date and succeeds even if it could not set it.
    refused(
        "/bin/busybox date -s 2000-01-01 2>&1 | grep -qv \"can't set date\" && test $(/bin/busybox date +%Y) = 2000",
    );
    refused("/bin/busybox mount -t ext4 /dev/vda /mnt");
}

#[test]
fn the_memory_limit_holds_by_either_key() {
    let env = TestEnvironment::new();
    for (name, key) in [
        ("modern", "lxc.cgroup2.memory.max = 64M"),
        ("handbook", "lxc.cgroup.memory.limit_in_bytes = 64M"),
    ] {
        env.create_small_guest(name, &[]);
        let config = env.state().join(name).join("config");
        let mut text = fs::read_to_string(&config).unwrap();
        text.push_str(&format!("{key}\n"));
        fs::write(&config, text).unwrap();
        env.sampan(&["start", name]).ok();
        assert_eq!(info(&env, name)["memory_limit"], 64 << 20);
        // tail keeps the last line, which never ends.
        let eat = "/bin/busybox tail -n 1 /dev/zero";
        let ran = env.sampan(&["exec", name, "--", "/bin/busybox", "sh", "-c", eat]);
        assert_eq!(ran.code, 128 + 9, "it was not killed: {}", ran.stderr);
        assert_eq!(env.state_of(name), "running", "init must not be the victim");
    }
}

#[test]
fn the_limit_of_processes_holds() {
    let env = TestEnvironment::new();
    env.create_small_guest("crowd", &[]);
    let config = env.state().join("crowd/config");
    let mut text = fs::read_to_string(&config).unwrap();
    text.push_str("lxc.cgroup2.pids.max = 20\n");
    fs::write(&config, text).unwrap();
    env.sampan(&["start", "crowd"]).ok();
    let fork =
        "i=0; while test $i -lt 60; do /bin/sleep 60 </dev/null >/dev/null 2>&1 & i=$((i+1)); done";
    let ran = env.sampan(&["exec", "crowd", "--", "sh", "-c", fork]);
    assert_ne!(ran.code, 0, "60 processes were possible");
    assert!(ran.stderr.contains("fork"), "{}", ran.stderr);
}

#[test]
fn ls_tells_the_truth_when_init_is_killed_from_outside() {
    let env = TestEnvironment::new();
    env.small_guest("victim");
    let init = init_of(&env, "victim");
    Command::new("kill")
        .args(["-9", &init.to_string()])
        .status()
        .unwrap();
    deadline_of("the container is seen to be stopped", || {
        (env.state_of("victim") == "stopped").then_some(())
    });
    env.sampan(&["start", "victim"]).ok();
    assert_eq!(env.state_of("victim"), "running");
}

#[test]
fn ls_tells_the_truth_when_the_monitor_is_killed() {
    let env = TestEnvironment::new();
    env.small_guest("orphan");
    let init = init_of(&env, "orphan");
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let monitor = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap()
        .trim();
    Command::new("kill").args(["-9", monitor]).status().unwrap();
    deadline_of("init dies with its monitor", || {
        (!Path::new(&format!("/proc/{init}")).exists()).then_some(())
    });
    assert_eq!(env.state_of("orphan"), "stopped");
    env.sampan(&["start", "orphan"]).ok();
    env.sampan(&["exec", "orphan", "--", "true"]).ok();
}

#[test]
fn a_guest_that_does_not_listen_is_killed_after_the_timeout() {
    let env = TestEnvironment::new();
    env.create_small_guest("deaf", &[]);
    // An init that ignores every polite signal.
    let init = env.state().join("deaf/rootfs/sbin/init");
    fs::remove_file(&init).unwrap();
    let script = "#!/bin/sh\ntrap '' PWR INT TERM USR1 USR2 HUP\necho deaf\nwhile :; do /bin/sleep 1000; done\n";
    fs::write(&init, script).unwrap();
    fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    env.sampan(&["start", "deaf"]).ok();
    let begun = std::time::Instant::now();
    let ran = env.sampan(&["stop", "--timeout", "1", "deaf"]).ok();
    assert!(ran.stderr.contains("killed"), "{}", ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(env.state_of("deaf"), "stopped");
    let ran = env.sampan(&["logs", "deaf"]).ok();
    assert!(ran.stdout.contains("deaf"), "{}", ran.stdout);
}

#[test]
fn a_guest_cannot_lead_the_host_through_its_links() {
    let env = TestEnvironment::new();
    env.create_small_guest("liar", &[]);
    let outside = env.scratch().join("outside");
    fs::create_dir(&outside).unwrap();
    let rootfs = env.state().join("liar/rootfs");
    for name in ["dev", "proc", "sys"] {
        fs::remove_dir(rootfs.join(name)).unwrap();
        std::os::unix::fs::symlink(&outside, rootfs.join(name)).unwrap();
    }
    // It may start or not; what is outside stays as it was.
    let ran = env.sampan(&["start", "liar"]);
    assert!(
        ran.code == 0 || ran.stderr.contains("error:"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        outside.read_dir().unwrap().count(),
        0,
        "something was made outside"
    );
}

#[test]
fn a_privileged_container_cannot_read_the_kernel_log_either() {
    let env = TestEnvironment::new();
    env.create_small_guest("root", &["--privileged"]);
    env.sampan(&["start", "root"]).ok();
    assert_eq!(info(&env, "root")["privileged"], true);
    let ran = env.sampan(&["exec", "root", "--", "/bin/busybox", "dmesg"]);
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    let ran = env.sampan(&[
        "exec",
        "root",
        "--",
        "/bin/busybox",
        "head",
        "-c",
        "1",
        "/proc/kmsg",
    ]);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
}

#[test]
fn twelve_containers_by_four_clients_at_once() {
    let env = TestEnvironment::new();
    env.create_small_guest("first", &[]);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let env = &env;
            scope.spawn(move || {
                for number in 0..3 {
                    let name = format!("c{client}-{number}");
                    env.small_guest(&name);
                    let ran = env
                        .sampan(&["exec", &name, "--", "cat", "/etc/hostname"])
                        .ok();
                    assert_eq!(ran.stdout.trim(), name);
                    env.sampan(&["destroy", "--force", &name]).ok();
                }
            });
        }
    });
    let rows = env.sampan(&["ls", "--format", "json"]).ok().json();
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
}

#[test]
fn of_two_starts_at_once_one_wins_and_the_other_says_why() {
    let env = TestEnvironment::new();
    env.create_small_guest("raced", &[]);
    let both = [
        env.background(&["start", "raced"]),
        env.background(&["start", "raced"]),
    ];
    let mut codes: Vec<_> = both
        .into_iter()
        .map(|one| {
            let ran = one.wait();
            assert!(
                ran.code == 0 || ran.stderr.contains("already running"),
                "{}",
                ran.stderr
            );
            ran.code
        })
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 1]);
}

#[test]
fn a_shell_on_a_terminal_has_a_terminal_inside() {
    let env = TestEnvironment::new();
    env.small_guest("term");
    let tmux = |arguments: &[&str]| {
        let socket = env.scratch().join("tmux");
        Command::new("tmux")
            .arg("-S")
            .arg(&socket)
            .args(arguments)
            .output()
            .unwrap()
    };
    let binary = TestEnvironment::binary();
    let root = env.root().display().to_string();
    let command = format!(
        "{} --root {root} shell term; echo left with $?",
        binary.display()
    );
    tmux(&[
        "-f",
        "/dev/null",
        "new-session",
        "-d",
        "-x",
        "90",
        "-y",
        "30",
        "sh",
        "-c",
        &format!("{command}; read line"),
    ]);
    let screen = || String::from_utf8_lossy(&tmux(&["capture-pane", "-p"]).stdout).into_owned();
    tmux(&[
        "send-keys",
        "/bin/busybox tty; /bin/busybox stty size",
        "Enter",
    ]);
    let seen = wait_until(Duration::from_secs(20), || {
        let screen = screen();
        (screen.contains("/dev/pts/") && screen.contains("30 90")).then_some(())
    });
    assert!(seen.is_some(), "{}", screen());
    tmux(&["send-keys", "exit 7", "Enter"]);
    let left = wait_until(Duration::from_secs(20), || {
        screen().contains("left with 7").then_some(())
    });
    let last = screen();
    tmux(&["kill-server"]);
    assert!(left.is_some(), "{last}");
}

#[test]
fn what_is_not_known_in_a_config_is_refused_by_line_and_key() {
    let env = TestEnvironment::new();
    env.create_small_guest("typo", &[]);
    let config = env.state().join("typo/config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}lxc.utsname.wrong = x\n")).unwrap();
    let ran = env.sampan(&["start", "typo"]).failed();
    let line = text.lines().count() + 1;
    assert!(ran.stderr.contains("lxc.utsname.wrong"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(&format!("config:{line}")),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_container_can_be_made_anywhere_with_path() {
    let env = TestEnvironment::new();
    let path = env.scratch().join("elsewhere");
    let path = path.to_str().unwrap();
    let program = "program=/bin/busybox";
    env.sampan(&[
        "-P", path, "create", "far", "-t", "naughty", "-o", program, "--start",
    ])
    .ok();
    assert_eq!(env.state_of("far"), "absent");
    let ran = Background::start(
        env.command(&["-P", path, "exec", "far", "--", "cat", "/etc/hostname"]),
        b"",
    )
    .wait()
    .ok();
    assert_eq!(ran.stdout, "far\n");
    env.sampan(&["-P", path, "destroy", "--force", "far"]).ok();
}
