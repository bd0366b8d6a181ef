//! Templates: what is refused, and what a hostile one cannot do.

use std::{
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use nix::sys::signal::Signal;
use sampan_tests::{Background, TestEnvironment, deadline_of, processes};

const BUILD: [&str; 4] = ["image", "build", "-t", "naughty"];

fn act(what: &str) -> Vec<String> {
    let mut arguments: Vec<String> = BUILD.iter().map(ToString::to_string).collect();
    arguments.extend(["-o".to_owned(), format!("act={what}")]);
    arguments
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Nothing half-made may be left by a failed build.
#[track_caller]
fn assert_no_image(env: &TestEnvironment) {
    let images = env.sampan(&["image", "ls", "--format", "json"]).ok().json();
    assert_eq!(images.as_array().map(Vec::len), Some(0), "{images}");
    let staging = env.cache().join("staging/v1");
    let left = staging.read_dir().map(Iterator::count).unwrap_or(0);
    assert_eq!(left, 0, "staging directories are left");
}

fn with_library(env: &TestEnvironment, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let directory = env.scratch().join("templates");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
    let path = directory.join(format!("libsampan_template_{name}.so"));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Runs with the templates of [`with_library`] only.
#[track_caller]
fn with_path(env: &TestEnvironment, arguments: &[&str]) -> sampan_tests::Ran {
    let mut command = env.command(arguments);
    command.env("SAMPAN_TEMPLATE_PATH", env.scratch().join("templates"));
    Background::start(command, b"").wait()
}

fn library(name: &str) -> Vec<u8> {
    let file = format!("../target/fixtures/lib/libsampan_template_{name}.so");
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn a_text_file_is_refused_with_the_reason() {
    let env = TestEnvironment::new();
    with_library(&env, "text", b"once upon a time\n");
    let ran = with_path(&env, &["template", "show", "text"]).failed();
    assert!(
        ran.stderr.contains("not a library that can be loaded"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_library_that_is_no_template_is_refused_with_the_reason() {
    let env = TestEnvironment::new();
    let ran = env.sampan(&["template", "show", "stranger"]).failed();
    assert!(ran.stderr.contains("no Sampan template"), "{}", ran.stderr);
}

#[test]
fn a_template_of_another_major_version_is_refused_with_both_versions() {
    let env = TestEnvironment::new();
    let ran = env.sampan(&["template", "show", "major"]).failed();
    assert!(
        ran.stderr.contains("ABI 2.0.0") && ran.stderr.contains("1.1.0"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_template_with_a_changed_layout_is_refused_and_the_field_named() {
    let env = TestEnvironment::new();
    let ran = env.sampan(&["template", "show", "layout"]).failed();
    assert!(ran.stderr.contains("source_date_epoch"), "{}", ran.stderr);
}

#[test]
fn a_template_of_a_newer_minor_version_works() {
    let env = TestEnvironment::new();
    let shown = env
        .sampan(&["template", "show", "minor", "--format", "json"])
        .ok();
    assert_eq!(shown.json()["abi_version"], "1.2.0");
    let ran = env.sampan(&["image", "build", "-t", "minor"]).ok();
    assert!(
        ran.stderr.contains("built across versions"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_template_of_an_older_minor_version_works() {
    let env = TestEnvironment::new();
    let newer = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/fixtures/newer-host/debug/sampan")
        .canonicalize()
        .unwrap();
    let show = env.command_of(&newer, &["template", "show", "naughty", "--format", "json"]);
    assert_eq!(
        Background::start(show, b"").wait().ok().json()["abi_version"],
        "1.1.0"
    );
    let build = env.command_of(&newer, &BUILD);
    let ran = Background::start(build, b"").wait().ok();
    assert!(ran.stderr.contains("naughty was called"), "{}", ran.stderr);
}

#[test]
fn a_template_that_others_can_write_is_refused_before_it_is_opened() {
    let env = TestEnvironment::new();
    let path = with_library(&env, "naughty", &library("naughty"));
    with_path(&env, &["template", "show", "naughty"]).ok();
    for mode in [0o666, 0o664] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let ran = with_path(&env, &["template", "show", "naughty"]).failed();
        assert!(
            ran.stderr.contains("can be written by others"),
            "{}",
            ran.stderr
        );
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let directory = path.parent().unwrap();
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o777)).unwrap();
    let ran = with_path(&env, &["template", "show", "naughty"]).failed();
    assert!(
        ran.stderr.contains("can be written by others"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn a_template_that_belongs_to_somebody_else_is_refused() {
    let env = TestEnvironment::new();
    let path = with_library(&env, "naughty", &library("naughty"));
    std::os::unix::fs::chown(&path, Some(4711), Some(4711)).unwrap();
    let ran = with_path(&env, &["template", "show", "naughty"]).failed();
    assert!(
        ran.stderr.contains("belongs to user id 4711"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_template_of_the_person_behind_sudo_is_accepted() {
    let env = TestEnvironment::new();
    let path = with_library(&env, "naughty", &library("naughty"));
    std::os::unix::fs::chown(&path, Some(4711), Some(4711)).unwrap();
    let show = |behind_sudo: &str| {
        let mut command = env.command(&["template", "show", "naughty"]);
        command.env("SAMPAN_TEMPLATE_PATH", env.scratch().join("templates"));
        command.env("SUDO_UID", behind_sudo);
        Background::start(command, b"").wait()
    };
    show("4711").ok();
    show("4712").failed();
}

#[test]
fn a_shadowed_template_is_shown_as_such() {
    let env = TestEnvironment::new();
    let path = with_library(&env, "debian", &library("naughty"));
    let rows = with_path(&env, &["template", "ls", "--format", "json"])
        .ok()
        .json();
    let rows: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|r| r["name"] == "debian")
        .collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0]["path"], path.to_str().unwrap());
    assert_eq!(
        (&rows[0]["shadowed"], &rows[1]["shadowed"]),
        (&false.into(), &true.into())
    );
    // And a library that does not call itself what its file is called is not used.
    assert!(
        rows[0]["problem"]
            .as_str()
            .unwrap()
            .contains("calls itself"),
        "{rows:?}"
    );
}

#[test]
fn a_panic_is_an_error_with_its_message() {
    let env = TestEnvironment::new();
    let ran = env.sampan(&strs(&act("panic"))).failed();
    assert!(ran.stderr.contains("naughty panics"), "{}", ran.stderr);
    assert_no_image(&env);
}

#[test]
fn a_crash_is_an_error_with_the_last_lines() {
    let env = TestEnvironment::new();
    for (what, line) in [
        ("abort", "naughty aborts"),
        ("segfault", "naughty writes to nowhere"),
    ] {
        let ran = env.sampan(&strs(&act(what))).failed();
        assert!(ran.stderr.contains("crashed"), "{}", ran.stderr);
        assert!(ran.stderr.contains(line), "{}", ran.stderr);
    }
    assert_no_image(&env);
}

#[test]
fn leaving_in_the_middle_with_exit_code_0_is_no_success() {
    let env = TestEnvironment::new();
    let ran = env.sampan(&strs(&act("exit"))).failed();
    assert!(ran.stderr.contains("exit code 0"), "{}", ran.stderr);
    assert_no_image(&env);
}

#[test]
fn floods_end_and_only_the_last_lines_are_shown() {
    let env = TestEnvironment::new();
    let ran = env.sampan(&strs(&act("flood"))).failed();
    assert!(ran.stderr.contains("logged more than"), "{}", ran.stderr);
    assert!(ran.stderr.lines().count() < 40, "{}", ran.stderr);
    let ran = env.sampan(&strs(&act("write-flood"))).failed();
    assert!(ran.stderr.contains("flood 199999"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("flood 1000\n"), "{}", ran.stderr);
    assert_no_image(&env);
}

#[test]
fn ctrl_c_ends_an_endless_loop_and_one_that_listens() {
    let env = TestEnvironment::new();
    for what in ["loop", "obedient-loop"] {
        let running = env.background(&strs(&act(what)));
        let staging = env.cache().join("staging/v1");
        deadline_of("the worker has its tree", || {
            let mut trees = staging.read_dir().ok()?;
            trees.next().map(drop)
        });
        running.signal(Signal::SIGINT);
        let ran = running.wait().failed();
        assert!(ran.stderr.contains("cancelled"), "{}", ran.stderr);
        assert_no_image(&env);
    }
}

#[test]
fn a_template_sees_no_file_of_the_host() {
    let env = TestEnvironment::new();
    let secret = env.scratch().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let address = format!("address={}", secret.display());
    let ran = env.sampan(&strs(&act("shadow"))).ok();
    assert!(
        ran.stderr.contains("reading /etc/shadow was refused"),
        "{}",
        ran.stderr
    );
    let mut arguments = act("read");
    arguments.extend(["-o".to_owned(), address]);
    let ran = env.sampan(&strs(&arguments)).ok();
    assert!(
        ran.stderr.contains("reading it was refused"),
        "{}",
        ran.stderr
    );
    let mut arguments = act("fetch-file");
    arguments.extend([
        "-o".to_owned(),
        format!("address=file://{}", secret.display()),
    ]);
    let ran = env.sampan(&strs(&arguments)).ok();
    assert!(
        ran.stderr.contains("not below its mirror"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_template_has_no_network_not_even_loopback() {
    let env = TestEnvironment::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut arguments = act("connect");
    let address = listener.local_addr().unwrap();
    arguments.extend(["-o".to_owned(), format!("address={address}")]);
    let ran = env.sampan(&strs(&arguments)).ok();
    assert!(
        ran.stderr.contains("connecting was refused"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_template_cannot_write_outside_of_the_rootfs() {
    let env = TestEnvironment::new();
    let ran = env.sampan(&strs(&act("write-outside"))).ok();
    assert_eq!(
        ran.stderr.matches("was refused").count(),
        5,
        "{}",
        ran.stderr
    );
    assert!(!Path::new("/escaped").exists());
    assert!(!env.cache().join("downloads/v1/escaped").exists());
}

#[test]
fn a_process_left_behind_by_a_template_is_ended() {
    let env = TestEnvironment::new();
    let mut arguments = act("leave-process");
    arguments.extend(["-o".to_owned(), "program=/bin/busybox".to_owned()]);
    env.sampan(&strs(&arguments)).ok();
    let left: Vec<_> = processes()
        .into_iter()
        .filter(|(_, command)| command.trim() == "sleep 4711")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_option_of_kind_file_reaches_the_template_and_the_key() {
    let env = TestEnvironment::new();
    let file = env.scratch().join("program");
    let build = |contents: &str| {
        std::fs::write(&file, contents).unwrap();
        let option = format!("program={}", file.display());
        let build = [
            "image", "build", "-t", "naughty", "-o", &option, "--format", "json",
        ];
        env.sampan(&build).ok().json()["key"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = build("one");
    assert_ne!(first, build("two"), "other contents are another image");
    assert_eq!(first, build("one"));
}
