//! The cache of images: the same bytes, once, whole or not at all.

use std::{fs, os::unix::fs::FileExt};

use sampan_tests::{Server, TestEnvironment};

fn build(env: &TestEnvironment, more: &[&str]) -> serde_json::Value {
    let mut arguments = vec!["image", "build", "-t", "naughty", "--format", "json"];
    arguments.extend(more);
    env.sampan(&arguments).ok().json()
}

#[test]
fn two_builds_of_the_same_inputs_are_the_same_bytes() {
    let env = TestEnvironment::new();
    let options = ["-o", "size=3000000", "-o", "program=/bin/busybox"];
    let first = build(&env, &options);
    let again = build(&env, &[&options[..], &["--refresh"]].concat());
    assert_eq!(
        (&first["built"], &again["built"]),
        (&true.into(), &true.into())
    );
    assert_eq!(first["sha256"], again["sha256"]);
    let other = TestEnvironment::new();
    assert_eq!(build(&other, &options)["sha256"], first["sha256"]);
}

#[test]
fn a_second_wish_is_met_from_the_cache() {
    let env = TestEnvironment::new();
    assert_eq!(build(&env, &[])["built"], true);
    assert_eq!(build(&env, &[])["built"], false);
    assert_eq!(build(&env, &["-o", "stamp=x"])["built"], true);
    env.create_small_guest("first", &[]);
    let ran = env
        .sampan(&[
            "create",
            "second",
            "-t",
            "naughty",
            "-o",
            "program=/bin/busybox",
        ])
        .ok();
    assert!(ran.stderr.contains("from the cache"), "{}", ran.stderr);
}

#[test]
fn the_fingerprint_decides_whether_an_image_is_current() {
    let env = TestEnvironment::new();
    let server = Server::of([("release".to_owned(), b"monday".to_vec())]);
    let address = format!("address={}/release", server.url());
    let options = ["-o", "act=fingerprint", "-o", &address];
    assert_eq!(build(&env, &options)["built"], true);
    assert_eq!(build(&env, &options)["built"], false);
    server.put("release", "tuesday");
    let ran = env
        .sampan(&[&["image", "build", "-t", "naughty"][..], &options].concat())
        .ok();
    assert!(ran.stderr.contains("news"), "{}", ran.stderr);
    assert_eq!(build(&env, &options)["built"], false);
    // Offline, what is there will do, whatever the mirror says.
    server.put("release", "wednesday");
    let asked = server.asked().len();
    let offline = [&options[..], &["--offline"]].concat();
    assert_eq!(build(&env, &offline)["built"], false);
    assert_eq!(server.asked().len(), asked, "--offline asked the mirror");
}

#[test]
fn offline_without_an_image_says_so() {
    let env = TestEnvironment::new();
    let ran = env
        .sampan(&["image", "build", "-t", "naughty", "--offline"])
        .failed();
    assert!(ran.stderr.contains("--offline"), "{}", ran.stderr);
}

#[test]
fn eight_creates_at_once_build_one_image() {
    let env = TestEnvironment::new();
    let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    let program = "program=/bin/busybox";
    let running: Vec<_> = names
        .iter()
        .map(|name| {
            env.background(&[
                "create",
                name,
                "-t",
                "naughty",
                "-o",
                "size=3000000",
                "-o",
                program,
            ])
        })
        .collect();
    let built = running
        .into_iter()
        .map(|one| one.wait().ok())
        .filter(|ran| ran.stderr.contains("building the image"))
        .count();
    assert_eq!(built, 1);
    let rows = env.sampan(&["ls", "--format", "json"]).ok().json();
    assert_eq!(rows.as_array().map(Vec::len), Some(8));
}

#[test]
fn a_flipped_byte_in_an_image_is_noticed_and_named() {
    let env = TestEnvironment::new();
    let image = build(&env, &["-o", "size=100000"]);
    let path = image["path"].as_str().unwrap();
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 50_000).unwrap();
    file.write_at(&[byte[0] ^ 1], 50_000).unwrap();

    let key = image["key"].as_str().unwrap();
    let ran = env.sampan(&["image", "verify"]).failed();
    assert!(
        ran.stderr.contains(key) && ran.stderr.contains("damaged"),
        "{}",
        ran.stderr
    );
    let ran = env
        .sampan(&["create", "c", "-t", "naughty", "-o", "size=100000"])
        .failed();
    assert!(
        ran.stderr.contains(key) && ran.stderr.contains("damaged"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("image rm"), "{}", ran.stderr);
    assert_eq!(env.state_of("c"), "absent");
    let copy = env.scratch().join("copy.tar.zst");
    env.sampan(&["image", "export", key, copy.to_str().unwrap()])
        .failed();
    assert!(!copy.exists(), "a damaged image was exported");

    env.sampan(&["image", "rm", key]).ok();
    build(&env, &["-o", "size=100000"]);
    env.sampan(&["image", "verify"]).ok();
}

#[test]
fn an_exported_image_is_a_plain_archive() {
    let env = TestEnvironment::new();
    let image = build(&env, &["-o", "program=/bin/busybox"]);
    let copy = env.scratch().join("copy.tar.zst");
    let copy = copy.to_str().unwrap();
    env.sampan(&["image", "export", "naughty", copy]).ok();
    let listed = std::process::Command::new("tar")
        .args(["--zstd", "-tf", copy])
        .output()
        .unwrap();
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(names.lines().any(|name| name == "bin/busybox"), "{names}");
    let again = env.sampan(&["image", "export", "naughty", copy]).failed();
    assert!(again.stderr.contains("exists"), "{}", again.stderr);
    assert_eq!(
        fs::metadata(copy).unwrap().len(),
        image["size"].as_u64().unwrap()
    );
}

#[test]
fn an_image_is_removed_by_the_start_of_its_key_and_unknown_ones_are_named() {
    let env = TestEnvironment::new();
    let first = build(&env, &[]);
    build(&env, &["-o", "stamp=2"]);
    let ran = env.sampan(&["image", "rm", "naughty"]).failed();
    assert!(ran.stderr.contains("could be any of"), "{}", ran.stderr);
    env.sampan(&["image", "rm", &first["key"].as_str().unwrap()[..8]])
        .ok();
    env.sampan(&["image", "rm", "naughty"]).ok();
    let ran = env.sampan(&["image", "rm", "naughty"]).failed();
    assert!(ran.stderr.contains("no image `naughty`"), "{}", ran.stderr);
}

#[test]
fn a_full_disk_is_a_clear_error_and_the_cache_stays_sound() {
    let env = TestEnvironment::new();
    build(&env, &["-o", "stamp=before"]);
    let small = SmallDisk::of(&env, "8m");
    let ran = env
        .sampan(&["image", "build", "-t", "naughty", "-o", "size=30000000"])
        .failed();
    assert!(
        ran.stderr.contains("No space left on device"),
        "{}",
        ran.stderr
    );
    let images = env.sampan(&["image", "ls", "--format", "json"]).ok().json();
    assert_eq!(images.as_array().map(Vec::len), Some(0));
    // What fits is still built.
    build(&env, &["-o", "size=1000000"]);
    env.sampan(&["image", "verify"]).ok();
    drop(small);
    env.sampan(&["image", "verify"]).ok();
}

/// A small tmpfs in the place of the cache, until dropped.
pub struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    pub fn of(env: &TestEnvironment, size: &str) -> Self {
        let at = env.cache();
        fs::create_dir_all(&at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "sampan-e2e"])
            .arg(&at)
            .status()
            .unwrap();
        assert!(mounted.success());
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
