//! The most likely mistakes, and every word that a person gets to read about them.

use std::{fs, net::TcpListener, process::Command};

use sampan_tests::{Background, Server, TestEnvironment};

use crate::images::SmallDisk;

/// Runs what must fail, and compares standard error, every word.
#[track_caller]
fn mistake(env: &TestEnvironment, arguments: &[&str], words: &str) {
    let ran = env.sampan(arguments);
    assert_ne!(ran.code, 0, "it succeeded: {}", ran.stdout);
    let told: Vec<String> = env
        .normalize(&ran.stderr)
        .lines()
        .skip_while(|line| !line.starts_with("error:"))
        .map(str::to_owned)
        .collect();
    assert_eq!(told.join("\n"), words, "exit code {}", ran.code);
}

const PROGRAM: &str = "program=/bin/busybox";

#[test]
fn an_unknown_template() {
    let env = TestEnvironment::new();
    mistake(
        &env,
        &["create", "web", "-t", "debain"],
        "error: there is no template `debain`\n\
         hint: did you mean `debian`? See: sampan template ls",
    );
}

#[test]
fn an_unknown_option() {
    let env = TestEnvironment::new();
    mistake(
        &env,
        &["create", "web", "-t", "debian", "-o", "siute=trixie"],
        "error: template debian has no option `siute`\n\
         hint: did you mean `suite`? See: sampan template show debian",
    );
}

#[test]
fn an_option_without_a_value() {
    let env = TestEnvironment::new();
    mistake(
        &env,
        &["create", "web", "-t", "debian", "-o", "trixie"],
        "error: `trixie` is not KEY=VALUE\n\
         hint: write it as -o suite=trixie",
    );
}

#[test]
fn an_option_with_a_value_that_is_not_allowed() {
    let env = TestEnvironment::new();
    mistake(
        &env,
        &["create", "web", "-t", "debian", "-o", "variant=minibase"],
        "error: option `variant` cannot be `minibase`: allowed are minbase, standard, buildd, essential, container\n\
         hint: did you mean `minbase`?",
    );
}

#[test]
fn a_file_option_that_names_no_file() {
    let env = TestEnvironment::new();
    mistake(
        &env,
        &["create", "web", "-t", "naughty", "-o", "program=/nowhere"],
        "error: option `program` cannot be `/nowhere`: that file cannot be found (No such file or directory (os error 2))",
    );
}

#[test]
fn an_architecture_that_the_template_does_not_know() {
    let env = TestEnvironment::new();
    mistake(
        &env,
        &["create", "web", "-t", "naughty", "--arch", "pdp11"],
        "error: template naughty does not build for pdp11; it builds for amd64, arm64, riscv64, armhf, i386",
    );
}

#[test]
fn a_name_that_exists() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    mistake(
        &env,
        &["create", "web", "-t", "naughty", "-o", PROGRAM],
        "error: there is a container `web` already\n\
         hint: choose another name, or remove it with: sampan destroy web",
    );
}

#[test]
fn a_container_that_does_not_exist() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    for command in ["start", "stop", "destroy", "info", "logs"] {
        mistake(
            &env,
            &[command, "wbe"],
            "error: there is no container \"wbe\" in ROOT/var/lib/sampan\n\
             hint: did you mean web?",
        );
    }
}

#[test]
fn starting_what_runs_and_stopping_what_does_not() {
    let env = TestEnvironment::new();
    env.small_guest("web");
    mistake(
        &env,
        &["start", "web"],
        "error: container \"web\" is already running",
    );
    mistake(
        &env,
        &["destroy", "web"],
        "error: container \"web\" is running\n\
         hint: stop it first (sampan stop web), or kill and remove it: sampan destroy --force web",
    );
    env.sampan(&["stop", "--kill", "web"]).ok();
    for arguments in [
        &["stop", "web"][..],
        &["freeze", "web"],
        &["unfreeze", "web"],
        &["exec", "web", "--", "true"],
        &["shell", "web"],
    ] {
        mistake(
            &env,
            arguments,
            "error: container \"web\" is not running\n\
             hint: start it: sampan start web",
        );
    }
}

#[test]
fn no_network_and_a_mirror_without_the_suite() {
    let env = TestEnvironment::new();
    // A port on which nobody listens.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/debian", listener.local_addr().unwrap());
    drop(listener);
    let mirror = format!("mirror={nobody}");
    let ran = env
        .sampan(&["create", "web", "-t", "debian", "-o", &mirror])
        .failed();
    assert!(
        ran.stderr
            .contains(&format!("cannot fetch {nobody}/dists/stable/InRelease")),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("Connection refused"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("hint: check the network"),
        "{}",
        ran.stderr
    );

    let empty = Server::of([]);
    let mirror = format!("mirror={}", empty.url());
    let ran = env
        .sampan(&[
            "create",
            "web",
            "-t",
            "debian",
            "-o",
            &mirror,
            "-o",
            "suite=hamm",
        ])
        .failed();
    assert!(ran.stderr.contains("404 Not Found"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("dists/hamm/InRelease"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
    assert_eq!(env.state_of("web"), "absent");
}

#[test]
fn a_full_disk_while_a_container_is_unpacked() {
    let env = TestEnvironment::new();
    env.sampan(&["image", "build", "-t", "naughty", "-o", "size=9000000"])
        .ok();
    let state = env.state();
    fs::create_dir_all(&state).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "sampan-e2e"])
        .arg(&state)
        .status()
        .unwrap();
    assert!(mounted.success());
    let ran = env.sampan(&["create", "web", "-t", "naughty", "-o", "size=9000000"]);
    let left = state.read_dir().unwrap().count();
    let _ = Command::new("umount").arg(&state).status();
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("No space left on device"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("hint: free some space"),
        "{}",
        ran.stderr
    );
    assert_eq!(left, 0, "half a container is left");
}

#[test]
fn a_full_disk_while_something_is_downloaded() {
    let env = TestEnvironment::new();
    let _small = SmallDisk::of(&env, "2m");
    let ran = env
        .sampan(&["image", "build", "-t", "debian", "-o", "variant=minbase"])
        .failed();
    assert!(
        ran.stderr.contains("No space left on device"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("hint: free some space"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_person_without_root() {
    let env = TestEnvironment::new();
    env.create_small_guest("web", &[]);
    // A copy that everybody may execute, and a root that everybody may look at.
    let binary = env.scratch().join("sampan");
    // Not fs::copy: what another test's child holds open for writing cannot be executed.
    let mut copy = std::process::Command::new("cp");
    copy.arg(TestEnvironment::binary()).arg(&binary);
    Background::start(copy, b"").wait().ok();
    fs::set_permissions(
        env.scratch(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    for (arguments, words) in [
        (
            &["create", "new", "-t", "naughty"][..],
            "error: creating a container needs root\nhint: run: sudo sampan --root ROOT create new -t naughty\n",
        ),
        (
            &["start", "web"],
            "hint: run: sudo sampan --root ROOT start web\n",
        ),
    ] {
        use std::os::unix::process::CommandExt;
        let mut command = env.command_of(&binary, arguments);
        command.uid(65534).gid(65534);
        let ran = Background::start(command, b"").wait().failed();
        let told = env.normalize(&ran.stderr);
        assert!(told.ends_with(words), "{told}");
    }
}

#[test]
fn a_kernel_that_cannot_shift_ids_on_this_file_system() {
    let env = TestEnvironment::new();
    fs::create_dir_all(env.state()).unwrap();
    // ramfs has no idmapped mounts on any kernel.
    let ramfs = Mount::of("ramfs", &env.state());
    let ran = env
        .sampan(&["create", "web", "-t", "naughty", "-o", PROGRAM])
        .failed();
    assert!(
        ran.stderr.contains("could not map the user ids of"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("hint: its file system does not support idmapped mounts"),
        "{}",
        ran.stderr
    );
    assert_eq!(env.state_of("web"), "absent");
    assert_eq!(env.state().read_dir().unwrap().count(), 0);
    drop(ramfs);
}

/// A file system of its own, until dropped.
struct Mount(std::path::PathBuf);

impl Mount {
    fn of(kind: &str, at: &std::path::Path) -> Self {
        let mounted = Command::new("mount")
            .args(["-t", kind, "sampan-e2e"])
            .arg(at)
            .status();
        assert!(mounted.is_ok_and(|status| status.success()));
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let env = TestEnvironment::new();
    fs::create_dir_all(env.root().join("var")).unwrap();
    fs::write(env.root().join("var/lib"), "a file").unwrap();
    let ran = env.sampan(&["create", "web", "-t", "naughty"]).failed();
    assert!(ran.stderr.contains("var/lib/sampan"), "{}", ran.stderr);
    fs::remove_file(env.root().join("var/lib")).unwrap();
}

#[test]
fn usage_errors_have_exit_code_2_and_name_what_is_missing() {
    let env = TestEnvironment::new();
    for arguments in [
        &["create"][..],
        &["frobnicate"],
        &["exec", "web"],
        &["ls", "--format", "yaml"],
    ] {
        let ran = env.sampan(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("--help"), "{}", ran.stderr);
    }
}

#[test]
fn bad_names() {
    let env = TestEnvironment::new();
    for name in [
        "",
        "..",
        "a/b",
        ".hidden",
        "-x",
        "a b",
        "ä",
        &"x".repeat(64),
    ] {
        let ran = env.sampan(&["create", "-t", "naughty", "--", name]);
        assert_eq!(ran.code, 1, "`{name}` was taken: {}", ran.stderr);
        assert!(ran.stderr.contains("name"), "{}", ran.stderr);
    }
}
