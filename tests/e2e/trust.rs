//! What a mirror may not do: change a byte, be another suite, be signed by nobody we know.
//!
//! A made-up mirror, served on loopback, with one real package in it: the host's static busybox.

use sampan_debian_archive::{
    date,
    testing::{BuiltMirror, DebBuilder, Key, Mirror},
};
use sampan_tests::{Background, Ran, Server, TestEnvironment};

fn busybox(version: &str) -> DebBuilder {
    let program = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    DebBuilder::new("busybox-static", version)
        .arch("amd64")
        .file("bin/busybox", program, 0o755)
}

fn mirror() -> Mirror {
    Mirror::new().package(busybox("1.0"))
}

/// A world whose busybox template uses a made-up mirror.
struct Scene {
    env: TestEnvironment,
    server: Server,
    mirror: String,
    keyring: String,
}

impl Scene {
    fn of(mirror: &BuiltMirror) -> Self {
        let env = TestEnvironment::new();
        let server = Server::of([]);
        let scene = Self {
            mirror: format!("mirror={}/debian", server.url()),
            keyring: format!("keyring={}", env.scratch().join("keyring.gpg").display()),
            server,
            env,
        };
        scene.trust(&mirror.keyring);
        scene.publish(mirror);
        scene
    }

    fn trust(&self, keyring: &[u8]) {
        std::fs::write(self.env.scratch().join("keyring.gpg"), keyring).unwrap();
    }

    fn publish(&self, mirror: &BuiltMirror) {
        for (path, bytes) in &mirror.files {
            self.server.put(&format!("debian/{path}"), bytes.clone());
        }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["image", "build", "-t", "busybox", "-o"];
        arguments.extend([self.mirror.as_str(), "-o", self.keyring.as_str()]);
        arguments.extend(more);
        arguments
    }

    #[track_caller]
    fn build(&self, more: &[&str]) -> Ran {
        self.env.sampan(&self.arguments(more))
    }

    /// Builds, which must fail for a reason that has all these words, and leave nothing.
    #[track_caller]
    fn refuses(&self, more: &[&str], words: &[&str]) {
        let ran = self.build(more).failed();
        for word in words {
            assert!(
                ran.stderr.contains(word),
                "`{word}` is not in:\n{}",
                ran.stderr
            );
        }
        let images = self
            .env
            .sampan(&["image", "ls", "--format", "json"])
            .ok()
            .json();
        assert_eq!(images.as_array().map(Vec::len), Some(0), "{images}");
        let staging = self.env.cache().join("staging/v1");
        assert_eq!(staging.read_dir().map(Iterator::count).unwrap_or(0), 0);
    }
}

#[test]
fn a_signed_mirror_is_believed_and_its_news_noticed() {
    let key = Key::generate();
    let first = mirror()
        .keys(vec![key.clone()])
        .date(date::now() - 7200)
        .build();
    let scene = Scene::of(&first);
    let image = scene.build(&["--format", "json"]).ok().json();
    assert_eq!(image["built"], true);
    let again = scene.build(&["--format", "json"]).ok().json();
    assert_eq!(again["built"], false);
    let news = Mirror::new()
        .package(busybox("2.0"))
        .keys(vec![key])
        .build();
    scene.publish(&news);
    let rebuilt = scene.build(&["--format", "json"]).ok().json();
    assert_eq!(rebuilt["built"], true);
    assert_eq!(
        rebuilt["key"], image["key"],
        "the image is replaced, not added"
    );
}

#[test]
fn a_replayed_older_release_is_refused_until_that_is_allowed() {
    let key = Key::generate();
    let dated = |hours: i64, version: &str| {
        let date = date::now() - hours * 3600;
        let mirror = Mirror::new().package(busybox(version));
        mirror.keys(vec![key.clone()]).date(date).build()
    };
    let scene = Scene::of(&dated(1, "2.0"));
    scene.build(&[]).ok();
    scene.publish(&dated(48, "1.0"));
    let ran = scene.build(&["--refresh"]).failed();
    for word in ["was seen before", "hint: ", "allow-older-release=true"] {
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
    let ran = scene.build(&["-o", "allow-older-release=true"]).ok();
    let said = ran.stderr.matches("because you allowed").count();
    assert_eq!(said, 1, "{}", ran.stderr);
    scene.build(&["--refresh"]).failed();
    scene.publish(&dated(1, "2.0"));
    scene.build(&["--refresh"]).ok();
}

#[test]
fn a_tampered_release_is_refused() {
    let mirror = mirror().build().tamper("InRelease", |bytes| {
        let at = bytes.windows(5).position(|five| five == b"Suite").unwrap();
        bytes[at + 7] ^= 1;
    });
    Scene::of(&mirror).refuses(&[], &["signature"]);
}

#[test]
fn tampered_package_lists_are_refused() {
    let mirror = mirror().build().tamper("/binary-", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    Scene::of(&mirror).refuses(&[], &["Packages", "SHA-256"]);
}

#[test]
fn a_tampered_package_is_refused_by_its_hash_and_by_its_size() {
    let flipped = mirror().build().tamper(".deb", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    Scene::of(&flipped).refuses(&[], &[".deb", "SHA-256"]);
    let longer = mirror().build().tamper(".deb", |bytes| bytes.push(0));
    Scene::of(&longer).refuses(&[], &[".deb", "larger than"]);
    let shorter = mirror().build().tamper(".deb", |bytes| bytes.truncate(100));
    Scene::of(&shorter).refuses(&[], &[".deb", "size is 100"]);
}

#[test]
fn another_suite_under_the_wanted_name_is_refused() {
    let mirror = mirror()
        .suite("oldstable", "barge")
        .directories(&["stable"])
        .build();
    Scene::of(&mirror).refuses(&["-o", "suite=stable"], &["stable", "barge"]);
}

#[test]
fn an_expired_release_is_refused() {
    let now = date::now();
    let mirror = mirror()
        .date(now - 9 * 86_400)
        .valid_until(now - 86_400)
        .build();
    Scene::of(&mirror).refuses(&[], &["valid"]);
}

#[test]
fn an_unknown_key_is_refused_and_named() {
    let stranger = Key::generate();
    let scene = Scene::of(&mirror().keys(vec![stranger.clone()]).build());
    scene.trust(&Mirror::new().build().keyring);
    scene.refuses(&[], &[&stranger.id(), "hint: "]);
}

#[test]
fn an_expired_a_revoked_and_a_weakly_signing_key_are_refused() {
    let now = date::now();
    for (key, word) in [
        (Key::generate().expires(now - 86_400), "expired"),
        (Key::generate().revoked(), "revoked"),
        (Key::generate_for_sha1(), "SHA1"),
    ] {
        let scene = Scene::of(&mirror().keys(vec![key]).build());
        scene.refuses(&[], &[word]);
    }
}

#[test]
fn a_damaged_download_is_noticed_named_and_fetched_again() {
    let scene = Scene::of(&mirror().build());
    let first = scene.build(&["--format", "json"]).ok().json();
    let kept = scene.env.cache().join("downloads/v1/sha256");
    for directory in kept.read_dir().unwrap().flatten() {
        for file in directory.path().read_dir().unwrap().flatten() {
            let mut bytes = std::fs::read(file.path()).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(file.path(), bytes).unwrap();
        }
    }
    let ran = scene.build(&["--refresh", "--format", "json"]).ok();
    assert!(ran.stderr.contains("is damaged"), "{}", ran.stderr);
    assert_eq!(ran.json()["sha256"], first["sha256"]);
}

#[test]
fn a_mirror_on_this_machine_needs_no_server() {
    let env = TestEnvironment::new();
    let directory = env.scratch().join("mirror");
    mirror().build().write_to(&directory).unwrap();
    let mirror = format!("mirror=file://{}", directory.display());
    let keyring = format!("keyring={}/keyring.gpg", directory.display());
    env.sampan(&[
        "image", "build", "-t", "busybox", "-o", &mirror, "-o", &keyring,
    ])
    .ok();
}

#[test]
fn the_mirror_is_the_option_or_else_the_variable() {
    let scene = Scene::of(&mirror().build());
    let with_variable = |variable: &str, option: Option<&str>| {
        let mut arguments = vec!["image", "build", "-t", "busybox", "-o", &scene.keyring];
        arguments.extend(option.into_iter().flat_map(|option| ["-o", option]));
        let mut command = scene.env.command(&arguments);
        command.env("SAMPAN_DEBIAN_MIRROR", variable);
        Background::start(command, b"").wait()
    };
    let ours = scene.mirror.strip_prefix("mirror=").unwrap();
    with_variable(ours, None).ok();
    // A port that nobody can listen on: the option has to win.
    let nobody = "http://127.0.0.1:1/debian";
    with_variable(nobody, Some(&scene.mirror)).ok();
    let ran = with_variable(nobody, None).failed();
    assert!(ran.stderr.contains(nobody), "{}", ran.stderr);
}
