//! What a signed archive and its mirror may not do to the machine that builds an image of it.
//!
//! The signature is good each time: the archive itself attacks, or a mirror that sends something
//! else than it was asked for. What is refused must be named, and nothing of it stay.

use std::path::{Path, PathBuf};

use sampan_debian_archive::{
    compression::Compression,
    testing::{BuiltMirror, DebBuilder, EntryType, Mirror, bomb, tar_header},
};
use sampan_tests::{Server, TestEnvironment};

/// A suite that could be bootstrapped from, were it not for `evil`.
fn mirror_with(evil: DebBuilder) -> Mirror {
    let required = |name: &str| {
        DebBuilder::new(name, "1")
            .arch("amd64")
            .field("Priority", "required")
    };
    Mirror::new()
        .package(required("dpkg").file("usr/bin/dpkg", "#!/bin/sh\n", 0o755))
        .package(required("base-files").directory("proc", 0o555))
        .package(DebBuilder::new("apt", "1"))
        .package(evil.field("Priority", "required"))
}

fn evil() -> DebBuilder {
    DebBuilder::new("evil-package", "1").arch("amd64")
}

struct Scene {
    env: TestEnvironment,
    _server: Server,
    arguments: Vec<String>,
}

impl Scene {
    fn of(mirror: &BuiltMirror) -> Self {
        let env = TestEnvironment::new();
        let files = mirror.files.iter();
        let server =
            Server::of(files.map(|(path, bytes)| (format!("debian/{path}"), bytes.clone())));
        let keyring = env.scratch().join("keyring.gpg");
        std::fs::write(&keyring, &mirror.keyring).unwrap();
        let arguments = [
            "image build -t debian --arch amd64 -o variant=minbase -o suite=stable".to_owned(),
            format!(
                "-o mirror={}/debian -o keyring={}",
                server.url(),
                keyring.display()
            ),
        ];
        let arguments = arguments.join(" ");
        Self {
            arguments: arguments.split(' ').map(str::to_owned).collect(),
            env,
            _server: server,
        }
    }

    /// Builds, which must fail with all these words and leave no image and no tree.
    #[track_caller]
    fn refuses(&self, words: &[&str]) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let ran = self.env.sampan(&arguments).failed();
        for word in words {
            assert!(
                ran.stderr.contains(word),
                "`{word}` is not in:\n{}",
                ran.stderr
            );
        }
        let images = self.env.sampan(&["image", "ls", "--format", "json"]).ok();
        assert_eq!(images.json().as_array().map(Vec::len), Some(0));
        for directory in ["staging", "downloads/v1/parts"] {
            let left = files(&self.env.cache().join(directory));
            assert!(left.is_empty(), "{left:?}");
        }
    }

    /// The downloads that are kept, by size.
    fn kept(&self) -> Vec<u64> {
        files(&self.env.cache().join("downloads/v1/sha256"))
            .iter()
            .map(|path| path.metadata().unwrap().len())
            .collect()
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

#[test]
fn packages_that_reach_out_of_the_tree_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let secret = secret.to_str().unwrap();
    for (evil, words) in [
        (evil().raw_entry("../../evil", "x"), "leads out of the tree"),
        (evil().raw_kind("stolen", EntryType::Link, secret), "secret"),
        (
            evil().raw_kind("stolen", EntryType::Link, "../../etc/passwd"),
            "../../etc/passwd",
        ),
        (evil().raw_kind("disk", EntryType::Block, ""), "device node"),
        (evil().raw_entry("a\nb", "x"), "control character"),
        (evil().raw_kind("pax", EntryType::XHeader, ""), "type `x`"),
    ] {
        let scene = Scene::of(&mirror_with(evil).build());
        scene.refuses(&["evil-package", words]);
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read(secret).unwrap(), b"secret");
}

#[test]
fn bombs_of_ten_gigabytes_are_refused_and_named_with_their_limit() {
    let header = |name| tar_header(name, EntryType::Regular, 10 << 30);
    let data = bomb(Compression::Xz, &header("bomb"), 10 << 10);
    let control = bomb(Compression::Xz, &header("./control"), 10 << 10);
    for (member, bytes, limit) in [
        ("data.tar.xz", data, "may unfold to"),
        ("control.tar.xz", control, "may unfold to 64 MiB"),
    ] {
        let scene = Scene::of(&mirror_with(evil().member(member, bytes)).build());
        scene.refuses(&["evil-package", "of 10240 MiB is too large", limit]);
    }
}

#[test]
fn a_package_under_the_name_of_another_is_refused() {
    let other = DebBuilder::new("other", "1").archived_as("evil-package", "1", "amd64");
    let scene = Scene::of(&mirror_with(other).build());
    scene.refuses(&["evil-package", "its Package is `other`"]);
}

#[test]
fn bodies_that_are_larger_than_promised_are_cut_off_and_not_kept() {
    let many = 40 << 20;
    for (part, words) in [
        ("InRelease", ["InRelease", "larger than 4194304 bytes"]),
        ("/binary-amd64/", ["Packages", "larger than the"]),
        ("evil-package", ["evil-package", "larger than the"]),
    ] {
        let mirror = mirror_with(evil()).build();
        let scene = Scene::of(&mirror.tamper(part, |bytes| bytes.resize(many, 0)));
        scene.refuses(&words);
        assert!(
            scene.kept().iter().all(|size| *size < 1 << 20),
            "{:?}",
            scene.kept()
        );
    }
}

#[test]
fn two_packages_that_changed_places_are_refused_and_not_kept() {
    let twin = DebBuilder::new("good-package", "1").arch("amd64");
    let twin = twin.field("Priority", "required");
    let mut mirror = mirror_with(evil()).package(twin).build();
    let of = |mirror: &BuiltMirror, name: &str| {
        let mut paths = mirror.files.keys();
        paths.find(|path| path.contains(name)).unwrap().clone()
    };
    let (evil, good) = (of(&mirror, "evil-package"), of(&mirror, "good-package"));
    let (a, b) = (mirror.files[&evil].clone(), mirror.files[&good].clone());
    assert_eq!(a.len(), b.len(), "the sizes give nothing away");
    mirror.files.insert(evil, b);
    mirror.files.insert(good, a);
    Scene::of(&mirror).refuses(&["-package_1_amd64.deb is not what was promised: its SHA-256"]);
}
