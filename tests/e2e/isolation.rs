//! What a guest cannot do, among it each weakness that the Debian Administrator's Handbook names.

use std::{fs, path::Path, process::Command};

use sampan_tests::{
    Ran, TestEnvironment,
    elf::{self, Abi},
};

const EPERM: i32 = 1;

fn sh(env: &TestEnvironment, name: &str, script: &str) -> Ran {
    env.sampan(&["exec", name, "--", "sh", "-c", script])
}

fn busybox_path() -> &'static str {
    // The fixture's guest has few links; everything is in busybox itself.
    "b() { /bin/busybox \"$@\"; };"
}

/// Runs a script in which `b PROGRAM` is busybox's.
fn run(env: &TestEnvironment, name: &str, script: &str) -> Ran {
    sh(env, name, &format!("{} {script}", busybox_path()))
}

#[track_caller]
fn refused(env: &TestEnvironment, name: &str, script: &str) -> Ran {
    let ran = run(env, name, script);
    assert_ne!(
        ran.code, 0,
        "{name} can: {script}\n{}{}",
        ran.stdout, ran.stderr
    );
    ran
}

#[test]
fn a_guest_that_wants_more_memory_than_its_limit_is_killed_alone() {
    let env = TestEnvironment::new();
    env.create_small_guest("greedy", &["--memory", "64M", "--start"]);
    env.small_guest("neighbour");
    let ran = run(
        &env,
        "greedy",
        "b dd if=/dev/zero of=/dev/null bs=256M count=1",
    );
    assert_eq!(ran.code, 128 + 9, "{}", ran.stderr);
    for name in ["greedy", "neighbour"] {
        env.sampan(&["exec", name, "--", "true"]).ok();
        assert_eq!(env.state_of(name), "running");
    }
    let info = env
        .sampan(&["info", "greedy", "--format", "json"])
        .ok()
        .json();
    let peak = info["usage"]["memory_peak"].as_u64().unwrap();
    assert!((32 << 20..=64 << 20).contains(&peak), "{info}");
}

#[test]
fn a_guest_that_forks_without_end_reaches_its_own_limit() {
    let env = TestEnvironment::new();
    env.create_small_guest("bomb", &["--pids", "30", "--start"]);
    let script = "i=0; while [ $i -lt 60 ]; do /bin/busybox sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done; wait";
    let ran = refused(&env, "bomb", script);
    assert!(ran.stderr.contains("fork"), "{}", ran.stderr);
    let info = env
        .sampan(&["info", "bomb", "--format", "json"])
        .ok()
        .json();
    let now = info["usage"]["processes"].as_u64().unwrap();
    assert!(now <= 30, "{info}");
    // Where its processes stay, it can be stopped all the same, and then runs again.
    env.sampan(&["stop", "--kill", "bomb"]).ok();
    env.sampan(&["start", "bomb"]).ok();
    env.sampan(&["exec", "bomb", "--", "true"]).ok();
}

#[test]
fn kernel_messages_are_neither_read_nor_written_by_any_guest() {
    let env = TestEnvironment::new();
    env.small_guest("plain");
    env.create_small_guest("root", &["--privileged", "--start"]);
    let marker = format!("sampan-test-{}", std::process::id());
    for name in ["plain", "root"] {
        refused(&env, name, "b dmesg");
        refused(&env, name, "b dmesg -c");
        let ran = run(&env, name, "b timeout 1 b head -c 1 /proc/kmsg");
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
        refused(&env, name, "test -e /dev/kmsg");
        // However it gets hold of a node or of what the masks hide.
        for way in [
            "b mknod /tmp/kmsg c 1 11",
            "b mkdir -p /tmp/d; b mount -t devtmpfs none /tmp/d && b ln -s d/kmsg /tmp/kmsg",
            "b umount /proc/kmsg",
            "b mkdir -p /tmp/p; b mount -t proc none /tmp/p",
        ] {
            run(&env, name, way);
            for file in ["/tmp/kmsg", "/tmp/d/kmsg"] {
                refused(
                    &env,
                    name,
                    &format!("test -c {file} && b timeout 1 b head -c 1 {file}"),
                );
                refused(
                    &env,
                    name,
                    &format!("test -c {file} && echo {marker} >{file}"),
                );
            }
            for file in ["/proc/kmsg", "/tmp/p/kmsg"] {
                let ran = run(&env, name, &format!("b timeout 1 b head -c 1 {file}"));
                assert!(ran.stdout.is_empty(), "{name}, {way}: {}", ran.stdout);
            }
        }
    }
    let messages = Command::new("dmesg").output().unwrap();
    assert!(messages.status.success(), "the host reads its own messages");
    assert!(!String::from_utf8_lossy(&messages.stdout).contains(&marker));
}

#[test]
fn root_of_a_privileged_guest_cannot_open_the_host_s_devices() {
    let env = TestEnvironment::new();
    env.create_small_guest("root", &["--privileged", "--start"]);
    run(
        &env,
        "root",
        "b mkdir -p /tmp/d /tmp/c; b mount -t devtmpfs none /tmp/d",
    )
    .ok();
    // The version 1 list can be lifted from inside; what holds then is the program.
    run(
        &env,
        "root",
        "b mount -t cgroup -o devices none /tmp/c && echo a >/tmp/c/devices.allow",
    );
    let disks: Vec<String> = fs::read_dir("/sys/block")
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!disks.is_empty());
    for name in disks
        .iter()
        .map(String::as_str)
        .chain(["mem", "port", "kmsg"])
    {
        if !Path::new("/dev").join(name).exists() {
            continue;
        }
        run(&env, "root", &format!("test -e /tmp/d/{name}")).ok();
        let ran = refused(&env, "root", &format!("b head -c 1 /tmp/d/{name}"));
        assert!(ran.stderr.contains("not permitted"), "{}", ran.stderr);
    }
    run(&env, "root", "b head -c 1 /tmp/d/zero").ok();
}

#[test]
fn numeric_ids_of_two_containers_never_meet() {
    let env = TestEnvironment::new();
    let shared = env.scratch().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(
        &shared,
        std::os::unix::fs::PermissionsExt::from_mode(0o1777),
    )
    .unwrap();
    // On the way to it there is nothing to hide.
    for directory in [env.scratch(), env.root()] {
        fs::set_permissions(
            directory,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
    }
    let mut ranges = Vec::new();
    for name in ["one", "two"] {
        env.create_small_guest(name, &[]);
        let config = env.state().join(name).join("config");
        let text = fs::read_to_string(&config).unwrap();
        let entry = format!(
            "lxc.mount.entry = {} shared none bind,create=dir 0 0\n",
            shared.display()
        );
        fs::write(&config, format!("{text}{entry}")).unwrap();
        env.sampan(&["start", name]).ok();
        let info = env.sampan(&["info", name, "--format", "json"]).ok().json();
        let map = fs::read_to_string(format!("/proc/{}/uid_map", info["init_pid"])).unwrap();
        let numbers: Vec<u64> = map.split_whitespace().map(|n| n.parse().unwrap()).collect();
        assert_eq!((numbers[0], numbers.len()), (0, 3), "{map}");
        assert!(numbers[1] > 65_536, "root inside is nobody outside: {map}");
        ranges.push(numbers[1]..numbers[1] + numbers[2]);
    }
    assert!(
        ranges[0].end <= ranges[1].start || ranges[1].end <= ranges[0].start,
        "{ranges:?}"
    );

    run(
        &env,
        "one",
        "echo secret >/shared/file && b chmod 600 /shared/file",
    )
    .ok();
    run(&env, "one", "b cat /shared/file").ok();
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(shared.join("file")).unwrap());
    assert_eq!(u64::from(owner), ranges[0].start);
    let ran = refused(&env, "two", "b cat /shared/file");
    assert!(ran.stderr.contains("denied"), "{}", ran.stderr);
    refused(&env, "two", "b rm -f /shared/file");
    refused(&env, "two", "b chmod 666 /shared/file");
    // The same number inside is another one outside, also for signals.
    let two = env.background(&["exec", "two", "--", "/bin/busybox", "sleep", "1000"]);
    let seen = run(&env, "one", "b ps").ok().stdout;
    assert!(!seen.contains("sleep 1000"), "{seen}");
    drop(two);
}

#[test]
fn a_guest_taken_over_reaches_nothing_of_the_host() {
    let env = TestEnvironment::new();
    env.small_guest("taken");
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let core_pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let pid = std::process::id();
    for script in [
        "b mknod /tmp/disk b 254 0",
        "b mkdir -p /tmp/d; b mount -t devtmpfs none /tmp/d",
        "b mkdir -p /tmp/d; b mount -t debugfs none /tmp/d",
        // Its own directories of version 1 it may see, but they are not its own.
        "b mkdir -p /tmp/m; b mount -t cgroup -o memory none /tmp/m; echo -1 >/tmp/m/memory.limit_in_bytes",
        "b mkdir -p /tmp/v; b mount -t cgroup -o devices none /tmp/v; echo a >/tmp/v/devices.allow",
        "b mkdir -p /tmp/v; b mkdir /tmp/v/sub",
        "b hwclock -w",
        "echo h >/proc/sysrq-trigger",
        "echo x >/proc/sys/kernel/core_pattern",
        "echo 1 >/proc/sys/kernel/sysrq",
        "echo 1 >/proc/sys/vm/drop_caches",
        "echo 100 >/sys/kernel/mm/ksm/sleep_millisecs",
        "b chroot /proc/1/root/../../../.. test -e /var/lib/dpkg",
        "b nice -n -20 true",
        "echo -1000 >/proc/self/oom_score_adj",
        // Its limits are the host's.
        "echo 1 >/sys/fs/cgroup/cgroup.max.depth",
        "b sysctl -w kernel.dmesg_restrict=0",
        "b swapoff -a && test -e /proc/swaps && false",
    ] {
        refused(&env, "taken", script);
    }
    // The remount of a read-only part, where it works, opens nothing.
    run(
        &env,
        "taken",
        "b umount /proc/sysrq-trigger /proc/sys; b mount -o remount,rw /proc",
    );
    refused(&env, "taken", "echo h >/proc/sysrq-trigger");
    refused(&env, "taken", "echo x >/proc/sys/kernel/core_pattern");
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(),
        core_pattern
    );

    // It says that it failed, and exits with 0.
    let ran = run(&env, "taken", "b date -s 2001-01-01");
    assert!(ran.stderr.contains("can't set date"), "{}", ran.stderr);
    run(&env, "taken", "b hostname taken-over").ok();
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        host_name
    );
    // Of processes it sees its own, and no others to signal or trace.
    let seen = run(
        &env,
        "taken",
        "cd /proc; for p in [0-9]*; do b cat $p/comm 2>/dev/null; done",
    )
    .ok();
    assert!(
        !seen.stdout.contains("sampan") && seen.stdout.lines().count() < 8,
        "{}",
        seen.stdout
    );
    refused(
        &env,
        "taken",
        &format!("b kill -0 {pid} && test -e /proc/{pid}"),
    );
    let cgroup = run(&env, "taken", "b cat /proc/1/cgroup").ok().stdout;
    assert!(cgroup.lines().any(|line| line == "0::/"), "{cgroup}");
}

/// Paths that OCI runtimes mask, with what this kernel lacks left out.
fn masked() -> Vec<&'static str> {
    let all = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/kmsg",
        "/sys/firmware",
        "/sys/kernel/debug",
        "/sys/kernel/tracing",
        "/sys/kernel/security",
        "/sys/devices/virtual/powercap",
    ];
    let found: Vec<_> = all
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .collect();
    assert!(found.len() > 4, "{found:?}");
    found
}

#[test]
fn what_oci_runtimes_mask_is_empty_and_what_they_lock_is_read_only() {
    let env = TestEnvironment::new();
    env.small_guest("plain");
    env.create_small_guest("root", &["--privileged", "--start"]);
    for name in ["plain", "root"] {
        for path in masked() {
            let script = if Path::new(path).is_dir() {
                format!("test -d {path} && test -z \"$(b ls -A {path})\"")
            } else {
                format!("test -c {path} && test -z \"$(b head -c 1 {path})\"")
            };
            let ran = run(&env, name, &script);
            assert_eq!(ran.code, 0, "{name}: {path} is not masked: {}", ran.stderr);
        }
        for path in [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
            "/sys",
        ] {
            if !Path::new(path).exists() {
                continue;
            }
            let mounts = run(&env, name, "b cat /proc/self/mounts").ok().stdout;
            let mount = mounts
                .lines()
                .rfind(|line| line.split(' ').nth(1) == Some(path));
            let options = mount
                .and_then(|line| line.split(' ').nth(3))
                .unwrap_or("no mount");
            assert!(options.starts_with("ro"), "{name}: {path} is {options}");
        }
    }
}

#[test]
fn refused_system_calls_are_refused_to_64_bit_x32_and_32_bit_programs() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("not tried: the programs of this test are for amd64");
        return;
    }
    let env = TestEnvironment::new();
    env.create_small_guest("calls", &["--privileged", "--start"]);
    let rootfs = env.state().join("calls/rootfs");
    // amd64 and i386: kexec_load, open_by_handle_at, init_module, finit_module, delete_module of
    // LXC's list; then syslog, bpf, perf_event_open, userfaultfd; kexec_file_load is amd64's alone.
    let calls = [
        (246, Some(283)),
        (304, Some(342)),
        (175, Some(128)),
        (313, Some(350)),
        (176, Some(129)),
        (103, Some(103)),
        (321, Some(357)),
        (298, Some(336)),
        (323, Some(374)),
        (320, None),
    ];
    let mut tried = 0;
    for (amd64, i386) in calls {
        // The number of kexec_load differs in x32.
        let x32 = if amd64 == 246 { 528 } else { amd64 };
        let programs = [
            (Abi::Amd64, Some(amd64)),
            (Abi::X32, Some(x32)),
            (Abi::I386, i386),
        ];
        for (abi, number) in programs {
            let Some(number) = number else { continue };
            let name = format!("call-{abi:?}-{number}");
            elf::write_caller(&rootfs.join(&name), abi, number);
            // On the host it gets further: what refuses it inside is the filter.
            if abi != Abi::X32 {
                let outside = Command::new(rootfs.join(&name)).status().unwrap();
                assert!(
                    ![None, Some(0), Some(EPERM)].contains(&outside.code()),
                    "{name}: {outside}"
                );
            }
            let ran = env.sampan(&["exec", "calls", "--", &format!("/{name}")]);
            assert_eq!(ran.code, EPERM, "{name}: {}", ran.stderr);
            tried += 1;
        }
    }
    assert_eq!(tried, 29);
    // The default list of LXC is what it was when this test was written.
    if let Ok(text) = fs::read_to_string("/usr/share/lxc/config/common.seccomp") {
        let refused = text
            .lines()
            .filter(|line| line.ends_with(" errno 1"))
            .count();
        assert_eq!(refused, 5, "LXC refuses more now:\n{text}");
    }
}

#[test]
fn a_32_bit_program_runs_in_a_container() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("not tried: only amd64 has programs of i386");
        return;
    }
    let env = TestEnvironment::new();
    env.small_guest("old");
    let rootfs = env.state().join("old/rootfs");
    for (name, abi) in [("exit-32", Abi::I386), ("exit-64", Abi::Amd64)] {
        elf::write_exit(&rootfs.join(name), abi, 42);
        let ran = env.sampan(&["exec", "old", "--", &format!("/{name}")]);
        assert_eq!(ran.code, 42, "{name}: {}", ran.stderr);
    }
}

#[test]
fn capabilities_are_no_more_than_lxc_s_defaults_leave() {
    let env = TestEnvironment::new();
    env.create_small_guest("root", &["--privileged", "--start"]);
    let numbers = [
        ("mac_admin", 33),
        ("mac_override", 32),
        ("sys_time", 25),
        ("sys_module", 16),
        ("sys_rawio", 17),
        ("mknod", 27),
        ("syslog", 34),
    ];
    let lxc = fs::read_to_string("/usr/share/lxc/config/common.conf").unwrap_or_else(|e| {
        eprintln!("LXC is not installed ({e}): comparing with the list of LXC 5.0.2");
        "lxc.cap.drop = mac_admin mac_override sys_time sys_module sys_rawio\n".to_owned()
    });
    let line = lxc
        .lines()
        .find_map(|line| line.strip_prefix("lxc.cap.drop = "));
    for word in line.expect("a list").split_whitespace() {
        assert!(
            numbers.iter().any(|(name, _)| *name == word),
            "LXC drops {word} now"
        );
    }
    // Of init and of a command run from outside.
    for file in ["/proc/1/status", "/proc/self/status"] {
        let text = run(&env, "root", &format!("b grep CapBnd {file}"))
            .ok()
            .stdout;
        let mask = u64::from_str_radix(text.trim_start_matches("CapBnd:").trim(), 16).unwrap();
        for (name, number) in numbers {
            assert_eq!(mask & (1 << number), 0, "{name} in {file}");
        }
    }
    // Whatever a config keeps, kernel messages are not among it.
    env.sampan(&["stop", "--kill", "root"]).ok();
    let config = env.state().join("root/config");
    let text = fs::read_to_string(&config).unwrap();
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("lxc.cap.drop"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&config, text).unwrap();
    env.sampan(&["start", "root"]).ok();
    refused(&env, "root", "b dmesg");
    let text = run(&env, "root", "b grep CapBnd /proc/1/status")
        .ok()
        .stdout;
    let mask = u64::from_str_radix(text.trim_start_matches("CapBnd:").trim(), 16).unwrap();
    assert_eq!(mask & (1 << 34), 0, "syslog");
    assert_ne!(mask & (1 << 25), 0, "the rest is as the config says");
}

#[test]
fn a_guest_gets_none_of_the_keys_of_whoever_started_it() {
    let env = TestEnvironment::new();
    env.small_guest("keys");
    // The mask goes, and what is behind it shows the keys that the reader may see.
    run(&env, "keys", "b umount /proc/keys").ok();
    let inside = run(&env, "keys", "b cat /proc/keys").ok().stdout;
    let session = |text: &str| {
        text.lines()
            .filter(|line| line.contains("keyring") && line.contains("_ses"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let outside = fs::read_to_string("/proc/keys").unwrap();
    let shared: Vec<_> = session(&inside)
        .into_iter()
        .filter(|line| session(&outside).contains(line))
        .collect();
    assert!(shared.is_empty(), "{shared:?}");
}
