//! Limits: set, obeyed, told, lifted; and what a container uses.

use std::{fs, path::Path, process::Command, time::Duration};

use sampan_tests::{Ran, TestEnvironment, wait_until};

const MIB: u64 = 1 << 20;

fn info(env: &TestEnvironment, name: &str) -> serde_json::Value {
    env.sampan(&["info", name, "--format", "json"]).ok().json()
}

fn config(env: &TestEnvironment, name: &str) -> String {
    fs::read_to_string(env.state().join(name).join("config")).unwrap()
}

/// The lines of its config about cgroups.
fn limits_in_config(env: &TestEnvironment, name: &str) -> Vec<String> {
    config(env, name)
        .lines()
        .filter(|line| line.starts_with("lxc.cgroup"))
        .map(str::to_owned)
        .collect()
}

fn sh(env: &TestEnvironment, name: &str, script: &str) -> Ran {
    env.sampan(&["exec", name, "--", "sh", "-c", script])
}

#[test]
fn limits_hold_at_once_and_at_the_next_start_and_go_when_lifted() {
    let env = TestEnvironment::new();
    env.create_small_guest("limited", &["--memory", "64M", "--pids", "100", "--start"]);
    let limits = info(&env, "limited")["limits"].clone();
    assert_eq!(limits["memory"], 64 * MIB);
    assert_eq!(limits["processes"], 100);

    env.sampan(&[
        "set",
        "limited",
        "memory=96M",
        "swap=32M",
        "cpus=1.5",
        "cpu-weight=200",
        "pids=50",
        "cpuset=0",
    ])
    .ok();
    let check = |limits: &serde_json::Value| {
        assert_eq!(limits["memory"], 96 * MIB, "{limits}");
        assert_eq!(limits["swap"], 32 * MIB);
        assert_eq!(limits["cpus"], 1.5);
        assert_eq!(limits["cpu_weight"], 200);
        assert_eq!(limits["processes"], 50);
        assert_eq!(limits["cpuset"], "0");
    };
    check(&info(&env, "limited")["limits"]);
    assert_eq!(sh(&env, "limited", "/bin/busybox nproc").ok().stdout, "1\n");
    env.sampan(&["stop", "--kill", "limited"]).ok();
    assert!(info(&env, "limited")["limits"].is_null());
    env.sampan(&["start", "limited"]).ok();
    check(&info(&env, "limited")["limits"]);

    // Lower, then higher than memory and swap together were.
    env.sampan(&["set", "limited", "memory=48M"]).ok();
    assert_eq!(info(&env, "limited")["limits"]["swap"], 32 * MIB);
    env.sampan(&["set", "limited", "memory=256M"]).ok();
    let limits = info(&env, "limited")["limits"].clone();
    assert_eq!(
        (&limits["memory"], &limits["swap"]),
        (&(256 * MIB).into(), &(32 * MIB).into())
    );

    env.sampan(&[
        "set",
        "limited",
        "memory=",
        "swap=",
        "cpus=",
        "cpu-weight=",
        "pids=",
        "cpuset=",
    ])
    .ok();
    let limits = info(&env, "limited")["limits"].clone();
    for name in ["memory", "swap", "cpus", "processes"] {
        assert!(limits[name].is_null(), "{name}: {limits}");
    }
    assert_eq!(limits["cpu_weight"], 100);
    assert_eq!(limits_in_config(&env, "limited"), Vec::<String>::new());
    env.sampan(&["stop", "--kill", "limited"]).ok();
    env.sampan(&["start", "limited"]).ok();
}

#[test]
fn a_guest_that_reboots_keeps_the_limits_of_today() {
    let env = TestEnvironment::new();
    env.small_guest("again");
    env.sampan(&["set", "again", "pids=77"]).ok();
    let before = info(&env, "again")["init_pid"].clone();
    sh(&env, "again", "/bin/busybox reboot -f");
    let limits = wait_until(Duration::from_secs(30), || {
        let now = info(&env, "again");
        let runs = now["init_pid"].is_number() && now["init_pid"] != before;
        (runs && now["state"] == "running").then(|| now["limits"].clone())
    });
    assert_eq!(limits.expect("it comes back")["processes"], 77);
}

#[test]
fn a_limit_is_for_the_running_container_its_config_or_both() {
    let env = TestEnvironment::new();
    env.create_small_guest("where", &[]);
    let ran = env
        .sampan(&["set", "--running-only", "where", "pids=20"])
        .failed();
    assert!(ran.stderr.contains("is not running"), "{}", ran.stderr);
    let ran = env.sampan(&["set", "where", "pids=20"]).ok();
    assert!(ran.stderr.contains("next start"), "{}", ran.stderr);
    env.sampan(&["start", "where"]).ok();
    assert_eq!(info(&env, "where")["limits"]["processes"], 20);
    env.sampan(&["set", "--running-only", "where", "pids=30"])
        .ok();
    assert_eq!(info(&env, "where")["limits"]["processes"], 30);
    env.sampan(&["set", "--config-only", "where", "pids=40"])
        .ok();
    assert_eq!(info(&env, "where")["limits"]["processes"], 30);
    assert_eq!(limits_in_config(&env, "where").len(), 1);
    let set = env
        .sampan(&["set", "where", "pids=2", "--format", "json"])
        .ok();
    assert_eq!(
        set.json(),
        serde_json::json!({"running": true, "config": true})
    );
    // Below what it has: the kernel ends nobody, and the person is told.
    let now = info(&env, "where")["usage"]["processes"].as_u64().unwrap();
    let ran = env.sampan(&["set", "where", &format!("pids={now}")]).ok();
    assert!(ran.stderr.contains("no more can start"), "{}", ran.stderr);
}

#[test]
fn what_is_wrong_or_refused_by_the_kernel_changes_nothing() {
    let env = TestEnvironment::new();
    env.small_guest("same");
    env.sampan(&["set", "same", "memory=200M", "pids=90"]).ok();
    // Comments and order are a person's.
    let path = env.state().join("same/config");
    let edited = format!("# mine\n{}\n# the end\n", config(&env, "same"));
    fs::write(&path, &edited).unwrap();
    let before = info(&env, "same")["limits"].clone();
    let unchanged = |what: &str| {
        assert_eq!(config(&env, "same"), edited, "{what}");
        assert_eq!(info(&env, "same")["limits"], before, "{what}");
    };
    for (wrong, word) in [
        ("memory=much", "number of bytes"),
        ("cpus=0", "processors"),
        ("disk=1G", "io-max"),
        ("memory", "NAME=VALUE"),
        ("io-max=/dev/null:rbps=1M", "not a disk"),
        // These only the kernel knows; the limit before them is put back.
        ("cpuset=4000", "processors of this host"),
        ("io-max=4000:7:rbps=1M", "whole disk"),
    ] {
        let ran = env.sampan(&["set", "same", "pids=33", wrong]).failed();
        assert!(ran.stderr.contains(word), "{wrong}: {}", ran.stderr);
        unchanged(wrong);
    }
    if Path::new("/sys/fs/cgroup/memory").exists() {
        // Memory that cannot be taken back: there is no swap for it.
        let swap = fs::read_to_string("/proc/swaps").unwrap();
        assert_eq!(
            swap.lines().count(),
            1,
            "this test wants a host without swap"
        );
        sh(
            &env,
            "same",
            "/bin/busybox dd if=/dev/zero of=/dev/shm/x bs=1M count=40",
        )
        .ok();
        let ran = env.sampan(&["set", "same", "memory=8M"]).failed();
        assert!(
            ran.stderr.contains("cannot take back enough"),
            "{}",
            ran.stderr
        );
        unchanged("memory=8M");
    } else {
        eprintln!(
            "not tried: this host's memory controller is of version 2, which refuses no limit"
        );
    }
    env.sampan(&["set", "same", "pids="]).ok();
    let text = config(&env, "same");
    assert!(
        text.starts_with("# mine\n") && text.ends_with("# the end\n"),
        "{text}"
    );
}

#[test]
fn a_disk_s_rates_are_set_and_lifted_one_disk_at_a_time() {
    let env = TestEnvironment::new();
    env.small_guest("disks");
    let disk = fs::read_to_string("/proc/partitions")
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3).map(str::to_owned))
        .find(|name| Path::new("/sys/block").join(name).exists())
        .expect("a machine has a disk");
    let number = fs::read_to_string(format!("/sys/block/{disk}/dev")).unwrap();
    let number = number.trim();
    let rates = format!("io-max=/dev/{disk}:rbps=10M,wiops=50");
    env.sampan(&["set", "disks", &rates]).ok();
    let lines = limits_in_config(&env, "disks");
    let said = lines.join("\n");
    assert!(said.contains(number) && said.contains("10485760"), "{said}");
    let found = in_cgroup("disks", &["blkio.throttle.read_bps_device", "io.max"]);
    assert!(found.contains("10485760"), "{found}");
    env.sampan(&["stop", "--kill", "disks"]).ok();
    env.sampan(&["start", "disks"]).ok();
    let found = in_cgroup("disks", &["blkio.throttle.write_iops_device", "io.max"]);
    assert!(found.contains("50"), "{found}");
    env.sampan(&["set", "disks", &format!("io-max={number}:")])
        .ok();
    assert_eq!(limits_in_config(&env, "disks"), Vec::<String>::new());
    let found = in_cgroup("disks", &["blkio.throttle.read_bps_device", "io.max"]);
    assert!(!found.contains("10485760"), "{found}");
}

/// What stands in the first of these files of a container's cgroups.
fn in_cgroup(name: &str, files: &[&str]) -> String {
    for file in files {
        let controller = file.split('.').next().unwrap();
        for root in [
            format!("/sys/fs/cgroup/{controller}"),
            "/sys/fs/cgroup".to_owned(),
        ] {
            let ours = fs::read_dir(format!("{root}/sampan"));
            for entry in ours.into_iter().flatten().flatten() {
                let is_it = entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(&format!("{name}-"));
                if let (true, Ok(text)) = (is_it, fs::read_to_string(entry.path().join(file))) {
                    return text;
                }
            }
        }
    }
    panic!("no cgroup of {name} has one of {files:?}");
}

#[test]
fn limits_of_either_vocabulary_are_obeyed_and_what_has_no_equal_is_refused() {
    let env = TestEnvironment::new();
    env.create_small_guest("words", &[]);
    let path = env.state().join("words/config");
    let plain = config(&env, "words");
    let with = |lines: &str| fs::write(&path, format!("{plain}{lines}")).unwrap();
    for lines in [
        "lxc.cgroup2.memory.max = 64M\nlxc.cgroup2.memory.swap.max = 16M\nlxc.cgroup2.cpu.max = 50000 100000\nlxc.cgroup2.pids.max = 70\n",
        "lxc.cgroup.memory.memsw.limit_in_bytes = 80M\nlxc.cgroup.memory.limit_in_bytes = 64M\nlxc.cgroup.cpu.cfs_quota_us = 50000\nlxc.cgroup.pids.max = 70\n",
    ] {
        with(lines);
        env.sampan(&["start", "words"]).ok();
        let limits = info(&env, "words")["limits"].clone();
        assert_eq!(limits["memory"], 64 * MIB, "{limits}");
        assert_eq!(limits["swap"], 16 * MIB);
        assert_eq!(limits["cpus"], 0.5);
        assert_eq!(limits["processes"], 70);
        env.sampan(&["stop", "--kill", "words"]).ok();
    }
    let (refused, nearest) = if Path::new("/sys/fs/cgroup/memory").exists() {
        (
            "lxc.cgroup2.memory.high = 64M",
            "lxc.cgroup.memory.soft_limit_in_bytes",
        )
    } else {
        (
            "lxc.cgroup.memory.soft_limit_in_bytes = 64M",
            "lxc.cgroup2.memory.low",
        )
    };
    with(&format!("{refused}\n"));
    let ran = env.sampan(&["start", "words"]).failed();
    let line = plain.lines().count() + 1;
    assert!(
        ran.stderr.contains(&format!("config:{line}")),
        "{}",
        ran.stderr
    );
    let file = refused
        .split(" = ")
        .next()
        .unwrap()
        .split_once('.')
        .unwrap()
        .1;
    let file = file.split_once('.').unwrap().1;
    assert!(ran.stderr.contains(file), "{}", ran.stderr);
    assert!(ran.stderr.contains(nearest), "{}", ran.stderr);
    with("lxc.cgroup.freezer.state = FROZEN\n");
    let ran = env.sampan(&["start", "words"]).failed();
    assert!(ran.stderr.contains("never start"), "{}", ran.stderr);
}

#[test]
fn device_rules_hold_in_their_order() {
    let env = TestEnvironment::new();
    env.create_small_guest("devices", &[]);
    let path = env.state().join("devices/config");
    let plain = config(&env, "devices");
    let rules = "lxc.cgroup2.devices.deny = a\nlxc.cgroup2.devices.allow = c 1:3 rwm\n\
                 lxc.cgroup.devices.allow = c 5:* rwm\nlxc.cgroup.devices.allow = c 136:* rwm\n\
                 lxc.cgroup.devices.allow = c 1:9 r\n";
    fs::write(&path, format!("{plain}{rules}")).unwrap();
    env.sampan(&["start", "devices"]).ok();
    sh(&env, "devices", "exec 3<>/dev/null").ok();
    sh(&env, "devices", "exec 3</dev/urandom").ok();
    for script in [
        "exec 3>/dev/urandom",
        "exec 3</dev/zero",
        "exec 3</dev/full",
    ] {
        let ran = sh(&env, "devices", script);
        assert_ne!(ran.code, 0, "{script}");
        assert!(ran.stderr.contains("ermitted"), "{}", ran.stderr);
    }
    env.sampan(&["stop", "--kill", "devices"]).ok();
    fs::write(
        &path,
        format!("{plain}lxc.cgroup.devices.allow = c 1-3 r\n"),
    )
    .unwrap();
    let ran = env.sampan(&["start", "devices"]).failed();
    assert!(ran.stderr.contains("not a device rule"), "{}", ran.stderr);
}

#[test]
fn processor_time_is_limited_and_counted() {
    let env = TestEnvironment::new();
    env.small_guest("busy");
    env.small_guest("idle");
    env.sampan(&["set", "busy", "cpus=0.2"]).ok();
    let loops = env.background(&["exec", "busy", "--", "sh", "-c", "while :; do :; done"]);
    let top = |more: &[&str]| {
        let rows = env.sampan(&[&["top", "-n", "1", "--format", "json"], more].concat());
        rows.ok().json()
    };
    // A busy machine gives it less, never more.
    let seen = wait_until(Duration::from_secs(60), || {
        let rows = top(&["--delay", "1"]);
        let first = &rows[0];
        assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
        let percent = first["cpu_percent"].as_f64().unwrap();
        assert!(percent < 30.0, "{rows}");
        (first["name"] == "busy" && percent > 3.0).then_some(())
    });
    assert!(seen.is_some(), "it hardly ran at all");
    let rows = top(&["--sort", "name", "--reverse", "--delay", "0.1"]);
    assert_eq!(
        (&rows[0]["name"], &rows[1]["name"]),
        (&"idle".into(), &"busy".into())
    );
    let rows = top(&["--delay", "0.1", "id*"]);
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
    drop(loops);
    let usage = info(&env, "busy")["usage"].clone();
    assert!(usage["cpu_usec"].as_u64().unwrap() > 10_000, "{usage}");
    assert!(
        usage["memory_peak"].as_u64() >= usage["memory"].as_u64(),
        "{usage}"
    );
    assert!(usage["processes"].as_u64().unwrap() >= 1);
    let text = env.sampan(&["info", "busy"]).ok().stdout;
    for word in [
        "memory:",
        "cpu time:",
        "processors:",
        "the time of 0.2",
        "processes:",
    ] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn ls_shows_what_is_asked_for() {
    let env = TestEnvironment::new();
    env.small_guest("web1");
    env.create_small_guest("web2", &[]);
    env.create_small_guest("db", &[]);
    let path = env.state().join("db/config");
    let more = "lxc.start.auto = 1\nlxc.group = production\nlxc.group = slow\n";
    fs::write(&path, format!("{}{more}", config(&env, "db"))).unwrap();
    let names = |arguments: &[&str]| {
        let ran = env.sampan(&[&["ls", "-1"], arguments].concat()).ok();
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["db", "web1", "web2"]);
    assert_eq!(names(&["--running"]), ["web1"]);
    assert_eq!(names(&["--stopped", "web*"]), ["web2"]);
    assert_eq!(names(&["--running", "--stopped", "web?"]), ["web1", "web2"]);
    assert_eq!(names(&["-g", "production"]), ["db"]);
    assert_eq!(
        names(&["-g", "prod"]),
        Vec::<String>::new(),
        "whole names only"
    );
    let ran = env
        .sampan(&["ls", "-F", "name,autostart,groups", "db"])
        .ok();
    assert_eq!(
        ran.stdout,
        "NAME  AUTOSTART  GROUPS\ndb    yes        production, slow\n"
    );
    let ran = env.sampan(&["ls", "-F", "colour"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("autostart"), "{}", ran.stderr);
}

#[test]
fn ls_tells_addresses_without_entering_the_container() {
    let env = TestEnvironment::new();
    env.create_small_guest("addressed", &["--privileged", "--start"]);
    // There is no network but loopback yet; an address beyond it counts all the same.
    let init = info(&env, "addressed")["init_pid"].to_string();
    let inside = |arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["-t", &init, "-n", "ip"]).args(arguments);
        assert!(command.status().unwrap().success(), "{command:?}");
    };
    inside(&["link", "add", "test0", "type", "bridge"]);
    inside(&["address", "add", "192.0.2.7/24", "dev", "test0"]);
    inside(&["address", "add", "2001:db8::7/64", "dev", "test0", "nodad"]);
    inside(&["link", "set", "test0", "up"]);
    let ips = info(&env, "addressed")["ips"].clone();
    assert_eq!(ips, serde_json::json!(["192.0.2.7", "2001:db8::7"]));
    let ran = env.sampan(&["ls", "-F", "ipv4,ipv6"]).ok();
    assert!(ran.stdout.contains("192.0.2.7"), "{}", ran.stdout);
}

#[test]
fn top_is_live_on_a_terminal_and_gives_it_back() {
    let env = TestEnvironment::new();
    env.small_guest("shown");
    // A server for each: the one that ends may still hold its socket.
    let tmux = |socket: &str, arguments: &[&str]| {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(env.scratch().join(socket))
            .args(arguments)
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    };
    struct Server<'a>(&'a dyn Fn(&[&str]) -> String);
    impl Drop for Server<'_> {
        fn drop(&mut self) {
            (self.0)(&["kill-server"]);
        }
    }
    let command = format!(
        "trap : INT; echo before; stty -g >{0}/stty1; {1} --root {2} top --delay 0.2; stty -g >{0}/stty2; echo left with $?; read line",
        env.scratch().display(),
        TestEnvironment::binary().display(),
        env.root().display()
    );
    for (socket, leave) in [("one", "q"), ("two", "C-c")] {
        let tmux = |arguments: &[&str]| tmux(socket, arguments);
        tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "20",
            "sh",
            "-c",
            &command,
        ]);
        let _server = Server(&tmux);
        let screen = || tmux(&["capture-pane", "-p"]);
        let shows = |what: &str, is: &dyn Fn(&str) -> bool| {
            let seen = wait_until(Duration::from_secs(30), || is(&screen()).then_some(()));
            assert!(seen.is_some(), "{what}:\n{}", screen());
        };
        shows("a row", &|text| {
            text.contains("CPU%") && text.contains("shown")
        });
        assert!(!screen().contains("before"), "it has a screen of its own");
        tmux(&["send-keys", "m"]);
        tmux(&["send-keys", leave]);
        shows("what was there", &|text| {
            text.contains("before") && text.contains("left with 0")
        });
        let settings = |n: u8| fs::read_to_string(env.scratch().join(format!("stty{n}"))).unwrap();
        assert_eq!(settings(1), settings(2), "the terminal's settings");
    }
}
