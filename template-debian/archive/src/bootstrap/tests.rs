//! A whole bootstrap from a made-up mirror; only the scripts are not run.

use sampan_core::TemplateError;

use super::*;
use crate::{
    compression::Compression,
    openpgp::Keyring,
    source::{Suite, Wanted},
    testing::{ADDRESS, BuiltMirror, DebBuilder, MemoryHost, Mirror},
};

const ARCHITECTURES: [&str; 5] = ["amd64", "arm64", "riscv64", "armhf", "i386"];

fn mirror() -> Mirror {
    mirror_for("amd64")
}

fn mirror_for(arch: &str) -> Mirror {
    let required = |name: &str| DebBuilder::new(name, "1").field("Priority", "required");
    Mirror::new()
        .architectures(&ARCHITECTURES)
        .package(
            required("dpkg")
                .arch(arch)
                .file("usr/bin/dpkg", "#!", 0o755)
                .file("etc/dpkg.cfg", "x\n", 0o644)
                .control_file("conffiles", "/etc/dpkg.cfg\n", 0o644)
                .field("Depends", "libc6"),
        )
        .package(
            DebBuilder::new("libc6", "2")
                .arch(arch)
                .field("Multi-Arch", "same"),
        )
        .package(
            required("base-files")
                .directory("proc", 0o555)
                .control_file("preinst", "#!/bin/sh\n", 0o755),
        )
        .package(
            DebBuilder::new("apt", "3")
                .compression(Compression::Zstd)
                .directory("etc/apt", 0o755),
        )
        .package(DebBuilder::new("more", "1").field("Depends", "helper (>= 2)"))
        .package(DebBuilder::new("helper", "2").compression(Compression::Gzip))
}

struct Built {
    directory: tempfile::TempDir,
    host: MemoryHost,
    outcome: std::result::Result<BuildOutcome, TemplateError>,
}

fn build(mirror: BuiltMirror, include: &[&str]) -> Built {
    build_for("amd64", mirror, include)
}

fn build_for(arch: &str, mirror: BuiltMirror, include: &[&str]) -> Built {
    let directory = tempfile::tempdir().unwrap();
    let keyring = Keyring::parse(&mirror.keyring, "ring.gpg").unwrap();
    let host = MemoryHost::new(mirror);
    let wanted = Wanted {
        mirrors: vec![ADDRESS.to_owned()],
        suite: "stable".to_owned(),
        arch: arch.to_owned(),
        components: vec!["main".to_owned()],
        ..Wanted::default()
    };
    let archive = Suite::open(&host, wanted, &keyring).unwrap().into();
    let rootfs = Rootfs::open(directory.path()).unwrap();
    let outcome = bootstrap(
        &host,
        &rootfs,
        &archive,
        Variant::Minbase,
        &Choice {
            include,
            ..Choice::default()
        },
    );
    let outcome = outcome.map_err(TemplateError::from);
    Built {
        directory,
        host,
        outcome,
    }
}

#[test]
fn a_tree_and_its_database_are_made() {
    let built = build(mirror().build(), &["more"]);
    let outcome = built.outcome.unwrap();
    let names: Vec<&str> = outcome.packages.iter().map(|p| &*p.name).collect();
    assert_eq!(
        names,
        ["base-files", "dpkg", "libc6", "apt", "helper", "more"]
    );
    let read = |path: &str| std::fs::read_to_string(built.directory.path().join(path)).unwrap();
    let status = read("var/lib/dpkg/status");
    assert_eq!(status.matches("Status: install ok unpacked").count(), 6);
    assert!(status.contains("Conffiles:\n /etc/dpkg.cfg 401b30e3b8b5d629635a5c613cdb7919\n"));
    assert!(read("var/lib/dpkg/info/libc6:amd64.list").starts_with("/.\n"));
    assert!(!built.directory.path().join(POLICY).exists());
    assert!(
        !built
            .directory
            .path()
            .join("var/lib/dpkg/sampan-preinst")
            .exists()
    );
    let commands = built.host.commands.borrow();
    let configured: Vec<&str> = commands
        .iter()
        .filter_map(|command| command.split_once("--configure ").map(|(_, what)| what))
        .collect();
    assert_eq!(configured, ["base-files dpkg libc6", "-a"]);
}

#[test]
fn every_architecture_is_resolved_and_unpacked() {
    for arch in ARCHITECTURES {
        let built = build_for(arch, mirror_for(arch).build(), &["more"]);
        let outcome = built.outcome.unwrap();
        let of = |name: &str| {
            let found = outcome.packages.iter().find(|package| package.name == name);
            found.map(|package| package.arch.clone())
        };
        assert_eq!(of("libc6").as_deref(), Some(arch));
        let at = |path: &str| built.directory.path().join(path);
        assert!(at("usr/bin/dpkg").is_file(), "{arch}");
        assert!(at(&format!("var/lib/dpkg/info/libc6:{arch}.list")).is_file());
        // Where programs look for their loader differs (debootstrap's setup_merged_usr).
        assert_eq!(at("lib64").is_symlink(), arch == "amd64", "{arch}");
    }
}

#[test]
fn a_package_that_cannot_be_had_is_named() {
    let error = build(mirror().build(), &["moer"]).outcome.unwrap_err();
    assert!(error.message().contains("cannot include moer"), "{error}");
    assert_eq!(error.hint(), Some("did you mean `more`?"));
    let missing = mirror().build().without("helper_2");
    let error = build(missing, &["more"]).outcome.unwrap_err();
    assert!(error.message().contains("404"), "{error}");
}

#[test]
fn two_builds_of_one_mirror_are_one_tree() {
    let mirror = mirror().build();
    let tree = || {
        let built = build(mirror.clone(), &["more"]);
        let epoch = built.outcome.unwrap().source_date_epoch;
        let rootfs = Rootfs::open(built.directory.path()).unwrap();
        let mut seen = Vec::new();
        sampan_core::rootfs::walk::<crate::Error>(&rootfs, &mut |entry| {
            let stat = entry.stat;
            let bytes = match entry.kind {
                sampan_core::rootfs::EntryKind::File(_) => rootfs.read(&entry.path)?,
                _ => Vec::new(),
            };
            let time = stat.st_mtime.min(epoch);
            seen.push((entry.path, stat.st_mode, stat.st_uid, time, bytes));
            Ok(())
        })
        .unwrap();
        seen
    };
    assert_eq!(tree(), tree());
}
