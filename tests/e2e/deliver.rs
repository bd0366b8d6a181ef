//! `image build --output`: an image outside of the cache, the same whichever way it came there.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use sampan_tests::{Background, Ran, TestEnvironment, wait_until};

const SMALL: [&str; 2] = ["-o", "program=/bin/busybox"];

fn command(env: &TestEnvironment, output: &Path, more: &[&str]) -> Command {
    let mut command = env.command(&["image", "build", "-t", "naughty", "--format", "json"]);
    command.env_remove("SOURCE_DATE_EPOCH");
    command.arg("--output").arg(output).args(more);
    command
}

fn build(env: &TestEnvironment, output: &Path, more: &[&str]) -> Ran {
    Background::start(command(env, output, more), b"").wait()
}

/// Every path with what it is, in the order of names.
fn listing(tree: &Path) -> String {
    let script = "cd \"$1\" && find . -printf '%p %y %m %U %G %T@ %l ' \
                  \\( -type f -exec sha256sum {} \\; -o -printf '\\n' \\) | sort";
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(tree)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// An empty directory beside the world's root.
fn place(env: &TestEnvironment) -> PathBuf {
    let place = env.scratch().join("place");
    fs::create_dir(&place).unwrap();
    place
}

#[test]
fn a_directory_and_both_archives_are_the_same_built_or_from_the_cache() {
    let env = TestEnvironment::new();
    let place = place(&env);
    let forms = ["tree", "a.tar", "a.tar.zst"];
    for name in forms {
        let json = build(&env, &place.join(name), &SMALL).ok().json();
        assert_eq!(json["built"], true, "{name}");
    }
    let images = env.sampan(&["image", "ls", "--format", "json"]).ok().json();
    assert_eq!(images, serde_json::json!([]), "a fresh build was kept");
    assert_eq!(names(&place), ["a.tar", "a.tar.zst", "tree"]);

    let image = env
        .sampan(
            &[
                &["image", "build", "-t", "naughty", "--format", "json"][..],
                &SMALL,
            ]
            .concat(),
        )
        .ok()
        .json();
    let again = place.join("again");
    fs::create_dir(&again).unwrap();
    for name in forms {
        let json = build(&env, &again.join(name), &SMALL).ok().json();
        assert_eq!(json["built"], false, "{name}");
    }
    assert_eq!(names(&again), ["a.tar", "a.tar.zst", "tree"]);
    for name in ["a.tar", "a.tar.zst"] {
        let (first, second) = (fs::read(place.join(name)), fs::read(again.join(name)));
        assert!(first.unwrap() == second.unwrap(), "{name} differs");
    }
    let sum = Command::new("sha256sum")
        .arg(again.join("a.tar.zst"))
        .output()
        .unwrap();
    let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
    assert!(sum.starts_with(image["sha256"].as_str().unwrap()), "{sum}");

    let tree = listing(&place.join("tree"));
    assert!(
        tree.contains("./bin/busybox f 755 0 0 1000000000.0"),
        "{tree}"
    );
    assert!(tree.contains("./bin/sh l 777 0 0 1000000000.0"), "{tree}");
    assert_eq!(tree, listing(&again.join("tree")));
    let unpacked = place.join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let status = Command::new("tar")
        .arg("-xf")
        .arg(place.join("a.tar"))
        .arg("-C")
        .arg(&unpacked)
        .status()
        .unwrap();
    assert!(status.success());
    // The archive has no entry for the root itself.
    let inside = |text: String| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_eq!(inside(tree), inside(listing(&unpacked)));
}

#[test]
fn nothing_is_overwritten_unless_forced_and_a_failed_build_leaves_what_was_there() {
    let env = TestEnvironment::new();
    let place = place(&env);
    let file = place.join("a.tar");
    fs::write(&file, "precious").unwrap();
    let ran = build(&env, &file, &[]).failed();
    assert!(ran.stderr.contains("--force"), "{}", ran.stderr);
    build(&env, &file, &["--force", "-o", "act=panic"]).failed();
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    build(&env, &file, &["--force"]).ok();
    assert!(fs::metadata(&file).unwrap().len() > 1000);

    let full = place.join("full");
    fs::create_dir_all(full.join("etc")).unwrap();
    let ran = build(&env, &full, &["--force"]).failed();
    assert!(ran.stderr.contains("not empty"), "{}", ran.stderr);
    let empty = place.join("empty");
    fs::create_dir(&empty).unwrap();
    build(&env, &empty, &["-o", "act=panic"]).failed();
    assert_eq!(names(&empty), Vec::<String>::new());
    build(&env, &empty, &[]).ok();
    assert!(empty.join("etc/what").exists());
    let ran = build(&env, &place.join("a.tar.gz"), &[]).failed();
    assert!(ran.stderr.contains(".tar.zst or .tar"), "{}", ran.stderr);
    assert_eq!(names(&place), ["a.tar", "empty", "full"]);
}

#[test]
fn what_a_killed_build_leaves_beside_its_target_goes_with_the_next_one() {
    let env = TestEnvironment::new();
    let place = place(&env);
    let tree = place.join("tree");
    let running = Background::start(command(&env, &tree, &["-o", "act=loop"]), b"");
    let hidden = wait_until(Duration::from_secs(20), || {
        let names = names(&place);
        names
            .into_iter()
            .find(|name| name.starts_with(".tree.sampan-"))
    });
    assert!(hidden.is_some(), "nothing was begun");
    running.signal(Signal::SIGKILL);
    drop(running);
    assert!(!tree.exists());
    assert_eq!(names(&place), [hidden.unwrap()]);
    build(&env, &tree, &[]).ok();
    assert_eq!(names(&place), ["tree"]);
}

#[test]
fn source_date_epoch_ages_what_is_newer_and_makes_another_image() {
    let env = TestEnvironment::new();
    let place = place(&env);
    let at = |name: &str, epoch: &str, more: &[&str]| {
        let mut command = command(&env, &place.join(name), more);
        command.env("SOURCE_DATE_EPOCH", epoch);
        Background::start(command, b"").wait()
    };
    at("tree", "900000000", &[]).ok();
    assert_eq!(
        fs::metadata(place.join("tree/etc/what")).unwrap().mtime(),
        900_000_000
    );
    assert_eq!(
        fs::metadata(place.join("tree")).unwrap().mtime(),
        900_000_000
    );
    let first = at("a.tar", "900000000", &[]).ok().json();
    let second = at("b.tar", "900000000", &[]).ok().json();
    assert_eq!(first["sha256"], second["sha256"]);
    assert_eq!(first["source_date_epoch"], 900_000_000);
    let other = at("c.tar", "900000001", &[]).ok().json();
    assert_ne!(first["sha256"], other["sha256"]);

    // An image of one time in the cache does not serve for another.
    env.sampan(&["image", "build", "-t", "naughty"]).ok();
    assert_eq!(at("d.tar", "900000000", &[]).ok().json()["built"], true);
    let ran = at("e.tar", "yesterday", &[]).failed();
    assert!(ran.stderr.contains("SOURCE_DATE_EPOCH"), "{}", ran.stderr);
}

#[test]
fn a_directory_where_no_program_may_run_is_refused_before_the_build() {
    let env = TestEnvironment::new();
    let disk = NoExec::below(&place(&env));
    let tree = disk.0.join("tree");
    let ran = build(&env, &tree, &[]).failed();
    assert!(ran.stderr.contains("noexec"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("naughty was called"), "{}", ran.stderr);
    build(&env, &disk.0.join("a.tar"), &[]).ok();
    let ran = build(&env, &disk.0, &[]).failed();
    assert!(ran.stderr.contains("mounted there"), "{}", ran.stderr);
    // An image that is there already need not be built.
    env.sampan(&["image", "build", "-t", "naughty"]).ok();
    let ran = build(&env, &tree, &[]).ok();
    assert!(
        ran.stderr.contains("will not work from there"),
        "{}",
        ran.stderr
    );
}

#[test]
fn timings_are_a_page_that_stands_alone_and_says_when_nothing_was_built() {
    let env = TestEnvironment::new();
    let place = place(&env);
    let page = place.join("t.html");
    let arguments = ["--timings", page.to_str().unwrap()];
    build(&env, &place.join("a.tar"), &arguments).ok();
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("<title>pack : "), "{text}");
    assert!(!text.contains("came from the cache"), "{text}");
    assert!(!text.contains("<script"), "{text}");
    env.sampan(&["image", "build", "-t", "naughty"]).ok();
    build(&env, &place.join("tree"), &arguments).ok();
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("came from the cache"), "{text}");
    assert!(text.contains("<title>unpack image : "), "{text}");
    assert_eq!(names(&place), ["a.tar", "t.html", "tree"]);
}

#[test]
fn a_lock_that_the_template_cannot_make_is_an_error_and_no_file() {
    let env = TestEnvironment::new();
    let place = place(&env);
    let lock = place.join("lock");
    let arguments = ["--lock", lock.to_str().unwrap()];
    let ran = build(&env, &place.join("a.tar"), &arguments).failed();
    assert!(ran.stderr.contains("made no lock file"), "{}", ran.stderr);
    let nowhere = place.join("nowhere/lock");
    let arguments = ["--lock", nowhere.to_str().unwrap()];
    let ran = build(&env, &place.join("b.tar"), &arguments).failed();
    assert!(!ran.stderr.contains("naughty was called"), "{}", ran.stderr);
    assert_eq!(names(&place), ["a.tar"]);
}

/// A file system from which nothing is executed, until dropped.
struct NoExec(PathBuf);

impl NoExec {
    fn below(directory: &Path) -> Self {
        let at = directory.join("noexec");
        fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "noexec", "sampan-e2e"])
            .arg(&at)
            .status()
            .unwrap();
        assert!(mounted.success());
        Self(at)
    }
}

impl Drop for NoExec {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
