//! Debian's liblxc as the judge of configs: what it understands, and what it refuses.

use std::{fs, process::Command};

use sampan_tests::TestEnvironment;

use crate::config::{config_of, get, text_of};

/// What liblxc understood of a key, its lines and words in one.
fn understood_by_lxc(env: &TestEnvironment, name: &str, key: &str) -> Option<String> {
    let output = Command::new("lxc-info")
        .arg("-P")
        .arg(env.state())
        .args(["-n", name, "-c", key])
        .output()
        .unwrap_or_else(|error| panic!("cannot run lxc-info: {error}; run `cargo xtask test`"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = text.strip_prefix(&format!("{key} ="))?;
    output.status.success().then(|| words(value))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn liblxc_understands_the_same() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let more = env.scratch().join("more");
    fs::create_dir(&more).unwrap();
    fs::write(
        more.join("a.conf"),
        "lxc.group = from-a\nlxc.start.order = 3\n",
    )
    .unwrap();
    fs::write(more.join("a.txt"), "lxc.group = from-txt\n").unwrap();
    let include = format!("lxc.include = {}\n", more.display());
    let lines = "\
        foo = bar\n\
        \tlxc.uts.name =  \"a b\" \n\
        #lxc.arch = nonsense\n\
        lxc.init.cmd = /bin/x # no comment\n\
        lxc.init.cwd = '/a'\n\
        lxc.cap.drop = sys_time\n\
        lxc.cap.drop =\n\
        lxc.cap.drop = sys_boot mknod\n\
        lxc.cap.drop = sys_rawio\n\
        lxc.group = one two\n\
        lxc.start.order = -5\n\
        lxc.start.delay = 7\n\
        lxc.environment = A=b=c\n\
        lxc.environment = B='x'\n\
        lxc.tty.max = 3\n\
        lxc.tty.max = 2\n\
        lxc.prlimit.nofile = 100:200\n\
        lxc.prlimit.nofile = 50:60\n\
        lxc.sysctl.net.ipv4.ip_forward = 1\n\
        lxc.hook.pre-start = /bin/one a b\n\
        lxc.hook.pre-start = /bin/two\n\
        lxc.signal.stop=SIGKILL\n\
        lxc.namespace.keep = ipc net\n\
        lxc.console.path = none\n\
        lxc.log.syslog = daemon\n\
        lxc.rootfs.options = ro,idmap=container\n\
        lxc.mount.entry = /a b none bind 0 0\n\
        lxc.mount.entry =\n\
        lxc.mount.entry = \"/c d none bind 0 0\"\n";
    let rootfs = env.state().join("web/rootfs");
    let text = format!(
        "lxc.rootfs.path = dir:{}\n{lines}{include}",
        rootfs.display()
    );
    fs::write(config_of(&env, "web"), text).unwrap();
    for key in [
        "lxc.uts.name",
        "lxc.rootfs.path",
        "lxc.rootfs.options",
        "lxc.init.cmd",
        "lxc.init.cwd",
        "lxc.cap.drop",
        "lxc.group",
        "lxc.start.order",
        "lxc.start.delay",
        "lxc.environment",
        "lxc.tty.max",
        "lxc.prlimit.nofile",
        "lxc.sysctl.net.ipv4.ip_forward",
        "lxc.hook.pre-start",
        "lxc.namespace.keep",
        "lxc.console.path",
        "lxc.log.syslog",
        "lxc.mount.entry",
    ] {
        let theirs = understood_by_lxc(&env, "web", key);
        let ours = words(&get(&env, "web", key));
        // liblxc takes the kind of storage off.
        let ours = ours.strip_prefix("dir:").unwrap_or(&ours);
        assert_eq!(Some(ours), theirs.as_deref(), "{key}");
    }
}

#[test]
fn what_liblxc_refuses_is_refused_and_what_it_takes_is_at_most_not_supported() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let whole = text_of(&env, "web");
    let (mut taken, mut refused, mut differences) = (0, 0, Vec::new());
    for (key, value) in [
        ("lxc.tty.max", "many"),
        ("lxc.tty.max", "4"),
        ("lxc.start.auto", "2"),
        ("lxc.start.auto", "1"),
        ("lxc.start.delay", "-1"),
        ("lxc.start.order", "first"),
        ("lxc.idmap", "u 0 100000"),
        ("lxc.idmap", "x 0 100000 65536"),
        ("lxc.signal.halt", "SIGNONSENSE"),
        ("lxc.signal.halt", "SIGRTMIN+4"),
        ("lxc.signal.stop", "SIGTERM"),
        ("lxc.ephemeral", "2"),
        ("lxc.ephemeral", "1"),
        ("lxc.mount.auto", "proc:nonsense"),
        ("lxc.mount.auto", "proc:rw sys:ro"),
        ("lxc.console.size", "5xB"),
        ("lxc.console.size", "64KB"),
        ("lxc.console.buffer.size", "auto"),
        ("lxc.console.rotate", "7"),
        ("lxc.log.level", "LOUD"),
        ("lxc.log.syslog", "nonsense"),
        ("lxc.log.syslog", "local3"),
        ("lxc.prlimit.nofile", "x"),
        ("lxc.prlimit.nofile", "7:unlimited"),
        ("lxc.namespace.clone", "nonsense"),
        ("lxc.namespace.clone", "net ipc"),
        ("lxc.namespace.share.net", "1"),
        ("lxc.hook.version", "2"),
        ("lxc.hook.start", "/bin/true"),
        ("lxc.hook.nonsense", "/bin/true"),
        ("lxc.monitor.unshare", "3"),
        ("lxc.monitor.signal.pdeath", "SIGHUP"),
        ("lxc.init.uid", "0"),
        ("lxc.init.groups", "1,2,3"),
        ("lxc.init.groups", "1,x"),
        ("lxc.sysctl.kernel.domainname", "x"),
        ("lxc.proc.oom_score_adj", "5"),
        ("lxc.cgroup.relative", "1"),
        ("lxc.cgroup.dir", "some/where"),
        ("lxc.autodev", "5"),
        ("lxc.autodev.tmpfs.size", "1000000"),
        ("lxc.tty.dir", "lxc"),
        ("lxc.no_new_privs", "1"),
        ("lxc.no_new_privs", "2"),
        ("lxc.seccomp.allow_nesting", "1"),
        ("lxc.execute.cmd", "/bin/true"),
        ("lxc.rootfs.managed", "0"),
        ("lxc.sched.core", "1"),
        ("lxc.time.offset.boot", "5s"),
        ("lxc.keyring.session", "0"),
        ("lxc.keyring.session", "1"),
        ("lxc.selinux.context", "unconfined_t"),
        ("lxc.nonsense", "1"),
    ] {
        let text = format!("{whole}{key} = {value}\n");
        fs::write(config_of(&env, "web"), text).unwrap();
        let theirs = understood_by_lxc(&env, "web", "lxc.uts.name").is_some();
        fs::write(config_of(&env, "web"), &whole).unwrap();
        let ran = env.sampan(&["config", "set", "web", key, value, "--add"]);
        let ran = if ran.stderr.contains("holds one value") {
            env.sampan(&["config", "set", "web", key, value])
        } else {
            ran
        };
        if theirs {
            taken += 1;
        } else {
            refused += 1;
        }
        let fine = if theirs {
            ran.code == 0 || ran.stderr.contains("is not supported")
        } else {
            ran.code == 1
        };
        if !fine {
            differences.push(format!(
                "{key} = {value}, liblxc takes it: {theirs}; {}",
                ran.stderr
            ));
        }
    }
    assert_eq!(differences, Vec::<String>::new());
    // The oracle says both.
    assert!(
        taken > 15 && refused > 15,
        "{taken} taken, {refused} refused"
    );
}
