//! Containers made by Sampan, with every kind of setting: the same probes, in the container and on
//! the host, answer the same whether `sampan start` or Debian's `lxc-start` booted it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use sampan_tests::{Lxc, TestEnvironment, deadline_of};

/// A question to a running container.
enum Probe {
    /// What a shell inside prints, errors included.
    Inside(&'static str),
    /// What the host sees of its init.
    Host(fn(i32) -> String),
}
use Probe::{Host, Inside};

struct Case<'a> {
    name: &'a str,
    create: &'a [&'a str],
    /// Appended to the config.
    lines: &'a str,
    /// Each with what its answer must contain.
    probes: &'a [(Probe, &'a str)],
}

/// Boots it with both, and asks.
#[track_caller]
fn same_in_both(case: &Case<'_>) {
    let env = TestEnvironment::new();
    let lxc = Lxc::new(&env);
    env.create_small_guest(case.name, case.create);
    configure(&env, case.name, case.lines);
    same_answers(&env, &lxc, case.name, case.probes);
}

#[track_caller]
fn configure(env: &TestEnvironment, name: &str, lines: &str) {
    let config = env.state().join(name).join("config");
    let text = fs::read_to_string(&config).unwrap();
    let lines = lines.replace("SCRATCH", env.scratch().to_str().unwrap());
    fs::write(&config, format!("{text}{lines}")).unwrap();
    // LXC's container root must reach what is bound.
    fs::set_permissions(env.scratch(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn same_answers(env: &TestEnvironment, lxc: &Lxc<'_>, name: &str, probes: &[(Probe, &str)]) {
    env.sampan(&["start", name]).ok();
    let ours = |probe: &Probe| match probe {
        Inside(script) => {
            let script = format!("exec 2>&1; {script}");
            let arguments = ["exec", name, "--", "/bin/busybox", "sh", "-c", &script];
            env.sampan(&arguments).stdout
        }
        Host(ask) => {
            let info = env.sampan(&["info", name, "--format", "json"]).ok().json();
            ask(info["init_pid"].as_i64().unwrap() as i32)
        }
    };
    let answers: Vec<String> = probes.iter().map(|(probe, _)| ours(probe)).collect();
    env.sampan(&["stop", "--kill", name]).ok();

    lxc.start(name);
    for ((probe, wanted), ours) in probes.iter().zip(answers) {
        let theirs = match probe {
            Inside(script) => lxc.attach(name, &format!("exec 2>&1; {script}")),
            Host(ask) => ask(lxc.init(name)),
        };
        let what = match probe {
            Inside(script) => script,
            Host(_) => "the host",
        };
        assert_eq!(ours.trim(), theirs.trim(), "sampan and LXC differ: {what}");
        assert!(ours.contains(wanted), "{what}: {ours} lacks {wanted}");
    }
    lxc.kill(name);
}

fn line_of(path: &str, start: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text.lines().find(|line| line.starts_with(start));
    line.unwrap_or_else(|| panic!("{path} has no {start}"))
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn status(init: i32, field: &str) -> String {
    line_of(&format!("/proc/{init}/status"), field)
}

/// A file of the version 1 cgroup that init is in.
fn cgroup_file(init: i32, controller: &str, file: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    let path = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let path = fields.next()?;
        controllers
            .split(',')
            .any(|known| known == controller)
            .then(|| format!("/sys/fs/cgroup/{controllers}{path}/{file}"))
    });
    let path = path.unwrap_or_else(|| panic!("no {controller} in {text}"));
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .trim()
        .to_owned()
}

#[test]
fn limits_of_memory_processes_and_processors_are_the_same_under_lxc() {
    same_in_both(&Case {
        name: "limits",
        create: &[],
        lines: "lxc.cgroup.memory.limit_in_bytes = 64M\nlxc.cgroup.pids.max = 50\nlxc.cgroup.cpuset.cpus = 0\nlxc.cgroup.cpu.shares = 300\n",
        probes: &[
            (
                Host(|init| cgroup_file(init, "memory", "memory.limit_in_bytes")),
                "67108864",
            ),
            (Host(|init| cgroup_file(init, "pids", "pids.max")), "50"),
            (Host(|init| cgroup_file(init, "cpuset", "cpuset.cpus")), "0"),
            (Host(|init| cgroup_file(init, "cpu", "cpu.shares")), "300"),
            (Host(|init| status(init, "Cpus_allowed_list:")), "0"),
        ],
    });
}

#[test]
fn mounts_are_the_same_under_lxc() {
    let env = TestEnvironment::new();
    let lxc = Lxc::new(&env);
    env.create_small_guest("mounts", &[]);
    fs::create_dir(env.scratch().join("shared")).unwrap();
    fs::write(env.scratch().join("shared/file"), "from the host\n").unwrap();
    configure(
        &env,
        "mounts",
        "lxc.mount.entry = SCRATCH/shared srv/shared none bind,ro,create=dir 0 0\n\
         lxc.mount.entry = SCRATCH/shared/file etc/one none bind,create=file 0 0\n\
         lxc.mount.entry = tmpfs var/scratch tmpfs size=64k,mode=0700,nosuid,noexec,create=dir 0 0\n\
         lxc.mount.entry = SCRATCH/absent srv/absent none bind,optional,create=dir 0 0\n",
    );
    same_answers(
        &env,
        &lxc,
        "mounts",
        &[
            (
                Inside("cat /srv/shared/file /etc/one"),
                "from the host\nfrom the host",
            ),
            (Inside("echo x > /srv/shared/file"), "Read-only"),
            (
                Inside("grep ' /var/scratch ' /proc/mounts | cut -d, -f1-3 | cut -d' ' -f2-"),
                "nosuid",
            ),
            (
                Inside(
                    "stat -c %a /var/scratch; df /var/scratch | tail -n 1 | tr -s ' ' | cut -d' ' -f2",
                ),
                "700\n64",
            ),
            (Inside("grep -c absent /proc/mounts"), "0"),
        ],
    );
}

#[test]
fn terminals_are_the_same_under_lxc() {
    same_in_both(&Case {
        name: "ttys",
        create: &[],
        lines: "lxc.tty.max = 3\nlxc.autodev.tmpfs.size = 131072\n",
        probes: &[
            (
                Inside(
                    "for f in console tty1 tty3 tty4 null ptmx; do test -c /dev/$f && echo $f; done",
                ),
                "console\ntty1\ntty3\nnull",
            ),
            (
                Inside("for f in console tty1 tty2; do stat -c '%u %F' /dev/$f; done"),
                "0 character special file",
            ),
            (
                Inside("df /dev | tail -n 1 | tr -s ' ' | cut -d' ' -f2"),
                "128",
            ),
        ],
    });
    // Debian's common.conf has them in a directory.
    same_in_both(&Case {
        name: "ttydir",
        create: &["--privileged"],
        lines: "lxc.tty.max = 2\nlxc.tty.dir = lxc\n",
        probes: &[(
            Inside(
                "readlink /dev/tty2; test -c /dev/lxc/tty2 && test -c /dev/console && echo there",
            ),
            "lxc/tty2\nthere",
        )],
    });
}

#[test]
fn environment_and_host_name_are_the_same_under_lxc() {
    same_in_both(&Case {
        name: "words",
        create: &[],
        lines: "lxc.environment = ONE=1\nlxc.environment = TWO=a b=c\nlxc.uts.name = other.example\nlxc.pty.max = 5\n",
        probes: &[
            (
                Inside("tr '\\0' '\\n' < /proc/1/environ | grep -E '^(ONE|TWO|container)=' | sort"),
                "ONE=1\nTWO=a b=c\ncontainer=lxc",
            ),
            (Inside("hostname"), "other.example"),
            (
                Inside("grep ' /dev/pts ' /proc/mounts | grep -o 'max=[0-9]*'"),
                "max=5",
            ),
        ],
    });
}

#[test]
fn capabilities_dropped_and_kept_are_the_same_under_lxc() {
    const BOUNDING: Probe = Host(|init| status(init, "CapBnd:"));
    const EFFECTIVE: Probe = Host(|init| status(init, "CapEff:"));
    same_in_both(&Case {
        name: "drop",
        create: &["--privileged"],
        // Without syslog, which Sampan takes from a privileged container in any case.
        lines: "lxc.cap.drop = net_raw sys_ptrace syslog\nlxc.cap.drop = audit_write\n",
        probes: &[(BOUNDING, "CapBnd"), (EFFECTIVE, "CapEff")],
    });
    same_in_both(&Case {
        name: "keep",
        create: &[],
        lines: "lxc.cap.drop =\nlxc.cap.keep = chown net_bind_service setuid setgid sys_admin\n",
        probes: &[
            (BOUNDING, "CapBnd: 00000000002004c1"),
            (EFFECTIVE, "CapEff: 00000000002004c1"),
        ],
    });
}

#[test]
fn process_limits_kernel_parameters_and_proc_files_are_the_same_under_lxc() {
    same_in_both(&Case {
        name: "numbers",
        create: &[],
        lines: "lxc.prlimit.nofile = 100:200\nlxc.prlimit.core = unlimited\nlxc.sysctl.net.ipv4.ip_forward = 1\nlxc.proc.oom_score_adj = 321\n",
        probes: &[
            (
                Host(|init| line_of(&format!("/proc/{init}/limits"), "Max open files")),
                "100 200",
            ),
            (
                Host(|init| line_of(&format!("/proc/{init}/limits"), "Max core file")),
                "unlimited unlimited",
            ),
            (Inside("cat /proc/sys/net/ipv4/ip_forward"), "1"),
            (Inside("cat /proc/1/oom_score_adj"), "321"),
        ],
    });
}

#[test]
fn a_seccomp_profile_has_the_same_effect_under_lxc() {
    let env = TestEnvironment::new();
    let lxc = Lxc::new(&env);
    env.create_small_guest("filtered", &[]);
    let profile = "2\ndenylist\n[all]\nmkdir errno 13\nmkdirat errno 13\nno_such_call errno 1\n\
                   kill errno 22 [1,12,SCMP_CMP_EQ]\n\
                   socket errno 93 [0,0x10,SCMP_CMP_MASKED_EQ,0xff]\n";
    fs::write(env.scratch().join("profile"), profile).unwrap();
    configure(&env, "filtered", "lxc.seccomp.profile = SCRATCH/profile\n");
    same_answers(
        &env,
        &lxc,
        "filtered",
        &[
            (Inside("mkdir /tmp/x"), "Permission denied"),
            (Inside("kill -USR2 $$"), "Invalid argument"),
            (Inside("kill -0 $$ && echo allowed"), "allowed"),
            // A netlink socket.
            (Inside("ip link"), "Protocol not supported"),
            (Host(|init| status(init, "Seccomp:")), "2"),
        ],
    );
}

#[test]
fn a_read_only_root_is_the_same_under_lxc() {
    same_in_both(&Case {
        name: "readonly",
        create: &[],
        lines: "lxc.rootfs.options = idmap=container,ro\n",
        probes: &[
            (Inside("echo x > /etc/new"), "Read-only file system"),
            (Inside("echo y > /dev/new; cat /dev/new"), "y"),
        ],
    });
}

#[test]
fn ids_of_privileged_and_unprivileged_containers_are_the_same_under_lxc() {
    for (name, create) in [("mapped", &[][..]), ("rooted", &["--privileged"])] {
        same_in_both(&Case {
            name,
            create,
            lines: "",
            probes: &[
                (
                    Host(|init| fs::read_to_string(format!("/proc/{init}/uid_map")).unwrap()),
                    "0",
                ),
                (Host(|init| status(init, "Uid:")), "Uid:"),
                (Inside("stat -c %u:%g /bin/busybox /proc/1"), "0:0"),
            ],
        });
    }
}

#[test]
fn user_groups_and_directory_of_init_are_the_same_under_lxc() {
    same_in_both(&Case {
        name: "someone",
        create: &["--privileged"],
        lines: "lxc.init.cmd = /bin/sleep 1000\nlxc.init.uid = 1234\nlxc.init.gid = 2345\nlxc.init.groups = 77,88\nlxc.init.cwd = /tmp\n",
        probes: &[
            (
                Host(|init| status(init, "Uid:")),
                "Uid: 1234 1234 1234 1234",
            ),
            (
                Host(|init| status(init, "Gid:")),
                "Gid: 2345 2345 2345 2345",
            ),
            (Host(|init| status(init, "Groups:")), "77 88"),
            (
                Host(|init| status(init, "CapEff:")),
                "CapEff: 0000000000000000",
            ),
            (Inside("readlink /proc/1/cwd"), "/tmp"),
        ],
    });
}

#[test]
fn a_namespace_that_is_kept_is_the_hosts_under_both() {
    same_in_both(&Case {
        name: "keeping",
        create: &["--privileged"],
        lines: "lxc.namespace.keep = user ipc\n",
        probes: &[(
            Host(|init| {
                let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/ipc")).unwrap();
                format!("same: {}", of(&init.to_string()) == of("self"))
            }),
            "same: true",
        )],
    });
}

#[test]
fn the_signal_to_halt_is_the_same_under_lxc() {
    let env = TestEnvironment::new();
    let lxc = Lxc::new(&env);
    env.create_small_guest("asked", &[]);
    let rootfs = env.state().join("asked/rootfs");
    let init = "#!/bin/sh\ntrap 'echo USR1 >> /told; exit 0' USR1\ntrap 'echo PWR >> /told; exit 0' PWR\necho ready > /ready\nwhile :; do /bin/sleep 0.05; done\n";
    write_program(&rootfs.join("sbin/asked"), init);
    configure(
        &env,
        "asked",
        "lxc.init.cmd = /sbin/asked\nlxc.signal.halt = SIGUSR1\n",
    );
    let ready = || {
        deadline_of("init listens", || {
            rootfs.join("ready").exists().then_some(())
        })
    };

    env.sampan(&["start", "asked"]).ok();
    ready();
    env.sampan(&["stop", "asked"]).ok();
    assert_eq!(fs::read_to_string(rootfs.join("told")).unwrap(), "USR1\n");

    fs::remove_file(rootfs.join("ready")).unwrap();
    lxc.start("asked");
    ready();
    let (stopped, text) = lxc.tool("lxc-stop", &["-n", "asked"]);
    assert!(stopped, "{text}");
    assert_eq!(
        fs::read_to_string(rootfs.join("told")).unwrap(),
        "USR1\nUSR1\n"
    );
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn hooks_run_at_the_same_moments_and_are_told_the_same_under_lxc() {
    for version in ["0", "1"] {
        let env = TestEnvironment::new();
        let lxc = Lxc::new(&env);
        env.create_small_guest("hooked", &["--privileged"]);
        let record = env.scratch().join("record");
        let hook = format!(
            "#!/bin/sh\n\
             kind=${{LXC_HOOK_TYPE:-$3}}\n\
             test \"$kind\" = start && record=/record || record={record}\n\
             first=\"$1 $2 $3\"; test $# -gt 3 && shift 3 || shift $#\n\
             names=$(for word; do echo ${{word%%:*}}; done | sort | tr '\\n' ' ')\n\
             test -e \"$LXC_ROOTFS_MOUNT/bin/busybox\" && seen=mounted || seen=no\n\
             test \"$kind\" = start && seen=inside\n\
             echo \"$kind: $first | $names| $LXC_NAME $LXC_HOOK_SECTION $LXC_HOOK_VERSION target=$LXC_TARGET ns=${{LXC_NET_NS:+told}} pid=${{LXC_PID:+told}} $seen\" >> $record\n",
            record = record.display()
        );
        let program = env.scratch().join("hook");
        write_program(&program, &hook);
        write_program(&env.state().join("hooked/rootfs/bin/hook"), &hook);
        let mut lines = format!("lxc.hook.version = {version}\n");
        for kind in [
            "pre-start",
            "pre-mount",
            "mount",
            "autodev",
            "start-host",
            "stop",
            "post-stop",
        ] {
            lines.push_str(&format!("lxc.hook.{kind} = {}\n", program.display()));
        }
        lines.push_str("lxc.hook.start = /bin/hook\n");
        configure(&env, "hooked", &lines);
        let inside = env.state().join("hooked/rootfs/record");
        let take = || {
            let all = fs::read_to_string(&record).unwrap() + &fs::read_to_string(&inside).unwrap();
            fs::remove_file(&record).unwrap();
            fs::remove_file(&inside).unwrap();
            all
        };
        env.sampan(&["start", "hooked"]).ok();
        env.sampan(&["stop", "--kill", "hooked"]).ok();
        let ours = take();
        lxc.start("hooked");
        lxc.kill("hooked");
        // lxc-stop may return before the last hook has run.
        deadline_of("LXC ran its last hook", || {
            fs::read_to_string(&record)
                .is_ok_and(|text| text.contains("post-stop:"))
                .then_some(())
        });
        let theirs = take();
        assert_eq!(ours, theirs, "version {version}");
        assert_eq!(ours.lines().count(), 8, "{ours}");
    }
}
