//! Other archives than Debian's own: as Ubuntu lays its out, with updates beside it, and with
//! repositories of third parties. All made up, on loopback.
//!
//! The packages are small: a static busybox for a shell, and a dpkg that only says that what it was
//! given is configured. Whether the real one works is for the tests against the real mirror.

use std::process::Command;

use sampan_debian_archive::{
    compression::Compression,
    date,
    testing::{BuiltMirror, DebBuilder, Key, Mirror},
};
use sampan_tests::{Ran, Server, TestEnvironment};

const DPKG: &str = "#!/bin/sh\ncase \"$*\" in *--configure*)\n\
    sed -i 's/^Status: install ok unpacked/Status: install ok installed/' /var/lib/dpkg/status ;;\n\
    esac\n";

fn package(name: &str, version: &str) -> DebBuilder {
    DebBuilder::new(name, version).compression(Compression::Zstd)
}

/// A base system of two packages, and one to include from another component.
fn wherry(key: &Key) -> Mirror {
    let program = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut shell = package("shell", "1")
        .arch("amd64")
        .field("Priority", "required")
        .file("usr/bin/busybox", program, 0o755)
        .file("usr/sbin/ldconfig", "#!/bin/sh\n", 0o755);
    for applet in ["sh", "sed", "mv", "rm"] {
        shell = shell.symlink(&format!("usr/bin/{applet}"), "busybox");
    }
    let dpkg = package("dpkg", "1")
        .arch("amd64")
        .field("Priority", "required")
        .field("Depends", "shell")
        .file("usr/bin/dpkg", DPKG, 0o755);
    Mirror::new()
        .suite("wherry", "wherry")
        .version("24.04")
        .keys(vec![key.clone()])
        .date(date::now() - 7200)
        .package(shell)
        .package(dpkg)
        .package(package("common", "1").file("usr/share/common", "1", 0o644))
        .package_in(
            "universe",
            package("extra", "1")
                .arch("amd64")
                .field("Depends", "common")
                .file("usr/bin/extra", "old", 0o755)
                .control_file("preinst", "#!/bin/sh\necho \"$1\" > /extra-was\n", 0o755),
        )
}

fn beside(key: &Key, what: &str) -> Mirror {
    let name = format!("wherry-{what}");
    Mirror::new()
        .suite(&name, &name)
        .version("24.04")
        .keys(vec![key.clone()])
        // Every suite has the component, as Ubuntu's do.
        .package_in("universe", package(&format!("other-{what}"), "1"))
}

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
        let keyring = env.scratch().join("ring.gpg");
        std::fs::write(&keyring, &mirror.keyring).unwrap();
        let scene = Self {
            mirror: format!("{}/ubuntu", server.url()),
            keyring: format!("keyring={}", keyring.display()),
            server,
            env,
        };
        scene.publish("ubuntu", mirror);
        scene
    }

    fn publish(&self, directory: &str, mirror: &BuiltMirror) {
        for (path, bytes) in &mirror.files {
            self.server
                .put(&format!("{directory}/{path}"), bytes.clone());
        }
    }

    /// A file of the test's own, as an option's value.
    fn file(&self, option: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.env.scratch().join(option);
        std::fs::write(&path, contents).unwrap();
        format!("{option}={}", path.display())
    }

    #[track_caller]
    fn build(&self, options: &[&str]) -> Ran {
        let mirror = format!("mirror={}", self.mirror);
        let mut all = vec![
            "suite=wherry",
            "variant=minbase",
            "components=main,universe",
            "include=extra",
            &self.keyring,
        ];
        if !options.iter().any(|option| option.starts_with("mirror=")) {
            all.push(&mirror);
        }
        all.extend(options);
        let mut arguments = vec!["image", "build", "-t", "debian", "--format", "json"];
        arguments.extend(all.into_iter().flat_map(|option| ["-o", option]));
        self.env.sampan(&arguments)
    }

    /// What an image holds under a path.
    #[track_caller]
    fn read(&self, built: &Ran, path: &str) -> String {
        let image = built.json()["path"].as_str().unwrap().to_owned();
        let tar = Command::new("tar")
            .args(["--zstd", "-xOf", &image, path])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&tar.stderr);
        assert!(tar.status.success(), "{path}: {error}");
        String::from_utf8(tar.stdout).unwrap()
    }
}

#[test]
fn an_archive_as_ubuntus_is_built_from_with_its_updates_and_security() {
    let key = Key::generate();
    let patched = package("extra", "1.1")
        .arch("amd64")
        .field("Depends", "common")
        .file("usr/bin/extra", "patched", 0o755);
    let security = beside(&key, "security").package_in("universe", patched);
    let mirrors = |base: Mirror| {
        let updates = beside(&key, "updates").build();
        base.build().and(updates).and(security.build())
    };
    for base in [wherry(&key), wherry(&key).separate_all()] {
        let scene = Scene::of(&mirrors(base));
        let built = scene.build(&[]).ok();
        assert_eq!(built.json()["packages"], 4, "{}", built.stdout);
        assert_eq!(scene.read(&built, "usr/bin/extra"), "patched");
        let status = scene.read(&built, "var/lib/dpkg/status");
        assert_eq!(
            status.matches("install ok installed").count(),
            4,
            "{status}"
        );
        let sources = scene.read(&built, "etc/apt/sources.list.d/debian.sources");
        let expected = format!(
            "Types: deb\nURIs: {}\nSuites: wherry wherry-updates wherry-security\n\
             Components: main universe\nSigned-By: /etc/apt/keyrings/sampan.gpg\n",
            scene.mirror
        );
        assert_eq!(sources, expected);

        let plain = scene.build(&["updates=false", "security=false"]).ok();
        assert_eq!(scene.read(&plain, "usr/bin/extra"), "old");
        assert_eq!(scene.read(&plain, "extra-was"), "install\n");
    }
}

#[test]
fn security_updates_that_are_missing_stop_the_build_until_they_are_given_up() {
    let key = Key::generate();
    let updates = beside(&key, "updates").build();
    let scene = Scene::of(&wherry(&key).build().and(updates));
    let ran = scene.build(&[]).failed();
    for word in ["wherry-security", "hint: ", "-o security=false"] {
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
    scene.build(&["security=false"]).ok();
}

#[test]
fn a_mirror_that_does_not_answer_is_passed_over_and_both_are_the_guests() {
    let key = Key::generate();
    let scene = Scene::of(&wherry(&key).build());
    let gone = format!("{}/gone", scene.server.url());
    let mirrors = format!("mirror={gone},{}", scene.mirror);
    let built = scene
        .build(&[&mirrors, "updates=false", "security=false"])
        .ok();
    let told = format!("mirror {gone} is passed over");
    assert!(built.stderr.contains(&told), "{}", built.stderr);
    let sources = scene.read(&built, "etc/apt/sources.list.d/debian.sources");
    let uris = format!("URIs: {gone} {}\n", scene.mirror);
    assert!(sources.contains(&uris), "{sources}");
}

#[test]
fn repositories_are_verified_by_their_own_keys_and_handed_to_the_guest() {
    let (key, theirs) = (Key::generate(), Key::generate());
    let scene = Scene::of(&wherry(&key).build());
    let extra = package("extra", "2")
        .arch("amd64")
        .file("usr/bin/extra", "theirs", 0o755);
    let vendor = Mirror::new()
        .suite("tools", "tools")
        .keys(vec![theirs.clone()])
        .package(extra)
        .build();
    scene.publish("vendor", &vendor);
    let alone = ["updates=false", "security=false"];
    let build = |more: &[&str]| scene.build(&[&alone[..], more].concat());

    let line = format!(
        "deb [arch=amd64] {}/vendor tools main\n",
        scene.server.url()
    );
    let repo = scene.file("repo", &line);
    let ran = build(&[&repo]).failed();
    assert!(ran.stderr.contains("it has no key"), "{}", ran.stderr);
    let wrong = scene.file("repo-keyring", key.public());
    let ran = build(&[&repo, &wrong]).failed();
    assert!(ran.stderr.contains(&theirs.id()), "{}", ran.stderr);
    let right = scene.file("repo-keyring", theirs.public());
    let built = build(&[&repo, &right]).ok();
    assert_eq!(scene.read(&built, "usr/bin/extra"), "theirs");

    let armored: String = theirs
        .public_armored()
        .lines()
        .map(|line| {
            if line.is_empty() {
                " .\n".to_owned()
            } else {
                format!(" {line}\n")
            }
        })
        .collect();
    let stanza = format!(
        "Types: deb\nURIs: {}/vendor\nSuites: tools\nComponents: main\nSigned-By:\n{armored}",
        scene.server.url()
    );
    let repo = scene.file("repo", stanza);
    let built = build(&[&repo]).ok();
    assert_eq!(scene.read(&built, "usr/bin/extra"), "theirs");
    let source = scene.read(&built, "etc/apt/sources.list.d/sampan-repo.sources");
    let signed_by = "Signed-By: /etc/apt/keyrings/sampan-repo-1.asc";
    assert!(source.contains(signed_by), "{source}");
    let key = scene.read(&built, "etc/apt/keyrings/sampan-repo-1.asc");
    assert!(
        key.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----"),
        "{key}"
    );
    let own = scene.read(&built, "etc/apt/sources.list.d/debian.sources");
    assert!(!own.contains("tools"), "{own}");

    for (text, word) in [
        (line.replace("arch=amd64", "trusted=yes"), "trusted=yes"),
        (
            "deb file:///srv/vendor tools main\n".to_owned(),
            "names file:///srv/vendor, and",
        ),
    ] {
        let repo = scene.file("repo", text);
        let ran = build(&[&repo, &right]).failed();
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
}

#[test]
fn a_repository_on_this_machine_is_read_below_a_chosen_mirror_only() {
    let key = Key::generate();
    let base = wherry(&key).build();
    let scene = Scene::of(&base);
    let directory = scene.env.scratch().join("archive");
    base.write_to(&directory).unwrap();
    let extra = package("extra", "2")
        .arch("amd64")
        .file("usr/bin/extra", "theirs", 0o755);
    let vendor = Mirror::new()
        .suite("tools", "tools")
        .keys(vec![key.clone()])
        .package(extra)
        .build();
    let build = |place: &str| {
        let place = directory.join(place);
        vendor.write_to(&place).unwrap();
        let line = format!("deb file://{} tools main\n", place.display());
        let repo = scene.file("repo", line);
        let keyring = scene.file("repo-keyring", &vendor.keyring);
        let mirror = format!("mirror=file://{}", directory.display());
        let alone = ["updates=false", "security=false"];
        scene.build(&[&alone[..], &[&mirror, &repo, &keyring]].concat())
    };
    let built = build("vendor").ok();
    assert_eq!(scene.read(&built, "usr/bin/extra"), "theirs");
    let ran = build("../vendor").failed();
    assert!(ran.stderr.contains("not below"), "{}", ran.stderr);
    let beside = format!("{}-vendor", directory.display());
    let ran = build(&beside).failed();
    assert!(ran.stderr.contains("only those below"), "{}", ran.stderr);
}

#[test]
fn an_archived_suite_needs_an_opt_in_for_each_thing_it_gives_up() {
    let now = date::now();
    let day = 86_400;
    let key = Key::generate_dsa()
        .expires(now - day)
        .signs_at(now - 10 * day);
    let mirror = wherry(&key)
        .date(now - 11 * day)
        .valid_until(now - 2 * day)
        .build();
    let scene = Scene::of(&mirror);
    let opt_ins = [
        "allow-expired-key=true",
        "allow-weak-key=true",
        "allow-expired-release=true",
    ];
    let alone = ["updates=false", "security=false"];
    for missing in opt_ins {
        let mut options = alone.to_vec();
        options.extend(opt_ins.iter().filter(|option| **option != missing));
        scene.build(&options).failed();
    }
    let built = scene.build(&[&alone[..], &opt_ins[..]].concat()).ok();
    let warnings = built.stderr.matches("because you allowed that").count();
    assert!(warnings >= 2, "{}", built.stderr);
}
