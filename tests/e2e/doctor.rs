//! `sampan doctor`, on this machine and on what the tests break.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use sampan_tests::{Background, HostNetwork, Ran, TestEnvironment};
use serde_json::Value;

const DOCTOR: [&str; 3] = ["doctor", "--format", "json"];

/// The doctor, with one template: the other fixtures are there to be refused.
fn doctor(env: &TestEnvironment) -> Command {
    let directory = env.scratch().join("doctor-templates");
    if !directory.exists() {
        let name = "libsampan_template_naughty.so";
        fs::create_dir(&directory).unwrap();
        fs::copy(fixtures().join(name), directory.join(name)).unwrap();
    }
    let mut command = env.command(&DOCTOR);
    command.env("SAMPAN_TEMPLATE_PATH", directory);
    command
}

fn ask(env: &TestEnvironment) -> Ran {
    Background::start(doctor(env), b"").wait()
}

fn fixtures() -> PathBuf {
    let debug = TestEnvironment::binary();
    debug
        .parent()
        .unwrap()
        .with_file_name("fixtures")
        .join("lib")
}

/// What a check found: levels, words and remedies.
fn of<'a>(json: &'a Value, check: &str) -> Vec<&'a Value> {
    let all = json.as_array().expect("a list");
    all.iter().filter(|one| one["check"] == check).collect()
}

/// The one finding of a check.
#[track_caller]
fn one<'a>(json: &'a Value, check: &str) -> &'a Value {
    match of(json, check)[..] {
        [one] => one,
        ref many => panic!("{check}: {many:?}"),
    }
}

#[track_caller]
fn level<'a>(json: &'a Value, check: &str) -> &'a str {
    one(json, check)["level"].as_str().expect("a level")
}

/// Names in the first column of the table of checks in docs/json.md.
fn documented() -> BTreeSet<String> {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md");
    let docs = fs::read_to_string(docs).unwrap();
    let (_, table) = docs.split_once("## The checks of `doctor`").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let names = rows.filter_map(|row| row.split(" | ").next());
    names
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.contains('.'))
        .map(str::to_owned)
        .collect()
}

/// Runs a remedy as a person would.
#[track_caller]
fn mend(finding: &Value, wrapped: impl Fn(Command) -> Command) {
    let line = finding["mend"].as_str().expect("a remedy");
    let mut shell = Command::new("sh");
    shell.args(["-c", line]);
    Background::start(wrapped(shell), b"").wait().ok();
}

#[test]
fn this_machine_has_no_problem_and_all_checks_are_documented() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    let json = ask(&env).ok().json();
    let seen: BTreeSet<String> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["check"].as_str().unwrap().to_owned())
        .collect();
    let mut documented = documented();
    assert!(seen.is_subset(&documented), "{seen:?}");
    // Only where there is one.
    documented.remove("templates.shadowed");
    assert!(documented.is_subset(&seen), "{documented:?}\n{seen:?}");
    for one in json.as_array().unwrap() {
        let fields: Vec<&String> = one.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["check", "found", "level", "mend"]);
        let bad = one["level"] == "warning" || one["level"] == "problem";
        assert_eq!(bad, one["mend"].is_string(), "{one}");
        assert_ne!(one["level"], "problem", "{one}");
        assert_ne!(one["level"], "unknown", "{one}");
    }
    for works in ["kernel.overlay", "kernel.nftables", "program.monitor"] {
        assert_eq!(level(&json, works), "ok");
    }
    let mut people = env.command(&["doctor"]);
    people.env(
        "SAMPAN_TEMPLATE_PATH",
        env.scratch().join("doctor-templates"),
    );
    let text = Background::start(people, b"").wait().ok().stdout;
    assert!(text.contains("ok       kernel.pidfd"), "{text}");
    assert!(text.trim_end().ends_with("problems: 0"), "{text}");
}

/// A container on `br0` in a namespace that plays the host.
struct Bridged {
    env: TestEnvironment,
    host: HostNetwork,
}

impl Bridged {
    fn new() -> Self {
        let (env, host) = (TestEnvironment::new(), HostNetwork::new());
        host.ip("link add br0 type bridge");
        host.ip("link set br0 up");
        env.create_small_guest("web", &[]);
        for (key, value) in [("lxc.net.0.type", "veth"), ("lxc.net.0.link", "br0")] {
            env.sampan(&["config", "set", "web", key, value]).ok();
        }
        Self { env, host }
    }

    fn forward(&self, value: &str) {
        let line = format!("echo {value} > /proc/sys/net/ipv4/ip_forward");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]);
        Background::start(self.host.enter(&shell), b"").wait().ok();
    }

    fn doctor(&self) -> Ran {
        Background::start(self.host.enter(&doctor(&self.env)), b"").wait()
    }
}

#[test]
fn forwarding_that_is_off_is_a_warning_and_the_command_beside_it_mends_it() {
    let scene = Bridged::new();
    scene.forward("0");
    let json = scene.doctor().ok().json();
    let found = one(&json, "network.forwarding.ipv4");
    assert_eq!(found["level"], "warning", "{found}");
    mend(found, |command| scene.host.enter(&command));
    let json = scene.doctor().ok().json();
    assert_eq!(level(&json, "network.forwarding.ipv4"), "ok");
}

#[test]
fn a_bridge_that_is_gone_or_down_is_found_and_mended() {
    let scene = Bridged::new();
    scene.host.ip("link set br0 down");
    let json = scene.doctor().ok().json();
    let found = one(&json, "network.bridges");
    assert_eq!(found["level"], "warning", "{found}");
    mend(found, |command| scene.host.enter(&command));
    assert_eq!(level(&scene.doctor().ok().json(), "network.bridges"), "ok");

    scene.host.ip("link del br0");
    let json = scene.doctor().failed().json();
    let found = one(&json, "network.bridges");
    assert_eq!(found["level"], "problem", "{found}");
    assert!(found["found"].as_str().unwrap().contains("web"), "{found}");
    mend(found, |command| scene.host.enter(&command));
    assert_eq!(level(&scene.doctor().ok().json(), "network.bridges"), "ok");

    scene.host.ip("link del br0");
    scene.host.ip("link add br0 type veth peer name br1");
    let json = scene.doctor().failed().json();
    let found = one(&json, "network.bridges")["found"].as_str().unwrap();
    assert!(found.contains("br0 is no bridge"), "{found}");
}

#[test]
fn a_chain_that_drops_what_is_forwarded_is_found_and_opened_for_the_bridge() {
    let scene = Bridged::new();
    let nft = |words: &str| {
        let mut nft = Command::new("nft");
        nft.arg(words);
        Background::start(scene.host.enter(&nft), b"")
            .wait()
            .ok()
            .stdout
    };
    nft("add table ip filter");
    nft("add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }");
    let json = scene.doctor().ok().json();
    let found = one(&json, "network.firewall");
    assert_eq!(found["level"], "warning", "{found}");
    assert!(
        found["found"]
            .as_str()
            .unwrap()
            .contains("ip filter FORWARD")
    );
    mend(found, |command| scene.host.enter(&command));
    let rules = nft("list chain ip filter FORWARD");
    assert!(rules.contains("iifname \"br0\" accept"), "{rules}");
}

#[test]
fn a_cache_that_cannot_be_written_is_a_problem() {
    let env = TestEnvironment::new();
    fs::create_dir_all(env.cache()).unwrap();
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let doctor = doctor(&env);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    command.arg(env.cache()).arg(doctor.get_program());
    command.args(doctor.get_args());
    let json = Background::start(command, b"").wait().failed().json();
    let found = one(&json, "cache.writable");
    assert_eq!(found["level"], "problem", "{found}");
    let remedy = found["mend"].as_str().unwrap();
    assert!(remedy.starts_with("mount -o remount,rw"), "{remedy}");
    assert_eq!(level(&ask(&env).ok().json(), "cache.writable"), "ok");

    // Everybody's: whoever writes there decides what is in the next container.
    fs::set_permissions(env.cache(), fs::Permissions::from_mode(0o777)).unwrap();
    let json = ask(&env).failed().json();
    mend(one(&json, "cache.writable"), |command| command);
    assert_eq!(level(&ask(&env).ok().json(), "cache.writable"), "ok");

    fs::remove_dir_all(env.cache()).unwrap();
    fs::write(env.cache(), "").unwrap();
    let json = ask(&env).failed().json();
    mend(one(&json, "cache.writable"), |command| command);
    assert_eq!(level(&ask(&env).ok().json(), "cache.writable"), "ok");
}

#[test]
fn a_template_that_others_can_write_is_a_problem_and_one_behind_another_is_told() {
    let env = TestEnvironment::new();
    let directory = env.scratch().join("templates");
    fs::create_dir(&directory).unwrap();
    let name = "libsampan_template_naughty.so";
    let fixture = fixtures().join(name);
    let library = directory.join(name);
    fs::copy(&fixture, &library).unwrap();
    fs::set_permissions(&library, fs::Permissions::from_mode(0o666)).unwrap();
    let ask = || {
        let mut command = doctor(&env);
        let first = command
            .get_envs()
            .find(|(key, _)| *key == "SAMPAN_TEMPLATE_PATH");
        let second = first.and_then(|(_, value)| value).unwrap().to_owned();
        let path = std::env::join_paths([directory.as_os_str(), &second]).unwrap();
        command.env("SAMPAN_TEMPLATE_PATH", path);
        Background::start(command, b"").wait()
    };
    let bad = |json: &Value| -> Vec<Value> {
        let all = of(json, "templates.usable").into_iter();
        all.filter(|one| one["level"] == "problem")
            .cloned()
            .collect()
    };
    let json = ask().failed().json();
    let found = bad(&json);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0]["found"]
            .as_str()
            .unwrap()
            .contains("written by others")
    );
    mend(&found[0], |command| command);
    let json = ask().ok().json();
    assert!(bad(&json).is_empty());
    let shadowed = of(&json, "templates.shadowed");
    let told = |one: &&Value| one["found"].as_str().unwrap().contains("doctor-templates");
    assert!(shadowed.iter().any(told), "{shadowed:?}");
    fs::write(&library, "no library").unwrap();
    assert_eq!(bad(&ask().failed().json()).len(), 1);
}

#[test]
fn a_full_file_system_is_a_problem() {
    let env = TestEnvironment::on_disk("ext4", 64 << 20);
    let json = ask(&env).failed().json();
    for check in ["state.space", "cache.space"] {
        assert_eq!(level(&json, check), "problem", "{check}");
    }
    assert_eq!(level(&json, "run.space"), "ok");
}

#[test]
fn containers_with_the_same_ids_or_a_faulty_config_are_named() {
    let env = TestEnvironment::new();
    env.create_small_guest("one", &[]);
    env.create_small_guest("two", &[]);
    let config = |name: &str| env.state().join(name).join("config");
    let line = |name: &str| {
        let text = fs::read_to_string(config(name)).unwrap();
        let line = text.lines().find(|line| line.starts_with("lxc.idmap"));
        line.unwrap().split_whitespace().nth(4).unwrap().to_owned()
    };
    let text = fs::read_to_string(config("two")).unwrap();
    fs::write(config("two"), text.replace(&line("two"), &line("one"))).unwrap();
    let json = ask(&env).ok().json();
    let found = one(&json, "ids.overlap");
    assert_eq!(found["level"], "warning", "{found}");
    let words = found["found"].as_str().unwrap();
    assert!(words.contains("two and one share ids"), "{words}");
    // As it stands there, but for the directories of the test.
    let program = TestEnvironment::binary().display().to_string();
    let here = format!("{program} --root {} ", env.root().display());
    let line = found["mend"].as_str().unwrap().replace("sampan ", &here);
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]);
    Background::start(shell, b"").wait().ok();
    assert_eq!(level(&ask(&env).ok().json(), "ids.overlap"), "ok");

    let text = fs::read_to_string(config("one")).unwrap();
    fs::write(config("one"), format!("{text}lxc.no.such.key = 1\n")).unwrap();
    let json = ask(&env).failed().json();
    let found = one(&json, "containers.configs");
    assert_eq!(found["level"], "problem", "{found}");
    assert!(found["found"].as_str().unwrap().contains("lxc.no.such.key"));
    fs::write(config("one"), text).unwrap();
}

#[test]
fn what_killed_builds_left_is_told_with_its_size() {
    let env = TestEnvironment::new();
    let left = env.cache().join("staging/v1/0123456789abcdef");
    fs::create_dir_all(&left).unwrap();
    let file = fs::File::create(left.join("rootfs")).unwrap();
    file.set_len(100 << 20).unwrap();
    let json = ask(&env).ok().json();
    let found = one(&json, "cache.leftovers");
    assert_eq!(found["level"], "warning", "{found}");
    mend(found, |command| command);
    assert!(!left.exists());
    assert_eq!(level(&ask(&env).ok().json(), "cache.leftovers"), "ok");
}

#[test]
fn without_root_and_without_its_monitor_it_says_what_it_could_not_look_at() {
    let env = TestEnvironment::new();
    let place = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in("/var/tmp")
        .unwrap();
    let program = place.path().join("sampan");
    fs::copy(TestEnvironment::binary(), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command
        .arg(&program)
        .arg("--root")
        .arg(place.path().join("root"));
    command
        .args(DOCTOR)
        .env("HOME", "/nonexistent")
        .env_remove("SAMPAN_PATH");
    let json = Background::start(command, b"").wait().failed().json();
    assert_eq!(level(&json, "kernel.overlay"), "unknown");
    assert_eq!(level(&json, "kernel.namespaces.user"), "ok");
    assert_eq!(level(&json, "cgroups.mode"), "ok");
    assert_eq!(level(&json, "state.writable"), "unknown");
    assert_eq!(level(&json, "program.monitor"), "problem");
    drop(env);
}
