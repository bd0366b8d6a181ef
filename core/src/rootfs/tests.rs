//! What a hostile tree or archive can and cannot do.

use std::os::unix::fs::symlink;

use super::*;

struct Scene {
    _dir: tempfile::TempDir,
    outside: PathBuf,
    root: PathBuf,
    rootfs: Rootfs,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    let root = dir.path().join("root");
    std::fs::create_dir(&outside).unwrap();
    std::fs::create_dir(&root).unwrap();
    let rootfs = Rootfs::open(&root).unwrap();
    Scene {
        _dir: dir,
        outside,
        root,
        rootfs,
    }
}

fn metadata() -> Metadata {
    Metadata {
        mode: 0o644,
        uid: nix::unistd::getuid().as_raw(),
        gid: nix::unistd::getgid().as_raw(),
        mtime: 1_000_000_000,
        xattrs: Vec::new(),
    }
}

fn file<'a>(data: &'a mut &'static [u8]) -> Kind<'a> {
    Kind::File {
        size: data.len() as u64,
        data,
    }
}

#[test]
fn a_link_to_the_outside_is_followed_inside_only() {
    let scene = scene();
    symlink(&scene.outside, scene.root.join("etc")).unwrap();
    // The absolute target is looked up below the root, where it does not exist.
    assert!(scene.rootfs.write("etc/passwd", "x", 0o644).is_err());
    assert_eq!(std::fs::read_dir(&scene.outside).unwrap().count(), 0);
}

#[test]
fn a_merged_usr_link_is_followed() {
    let scene = scene();
    scene.rootfs.create_dir("usr/bin", 0o755).unwrap();
    scene.rootfs.symlink("usr/bin", "bin").unwrap();
    let mut data: &[u8] = b"#!";
    let mut placer = Placer::new(&scene.rootfs, Existing::Refuse);
    placer
        .place(Path::new("./bin"), Kind::Directory, &metadata())
        .unwrap();
    placer
        .place(Path::new("./bin/sh"), file(&mut data), &metadata())
        .unwrap();
    assert_eq!(std::fs::read(scene.root.join("usr/bin/sh")).unwrap(), b"#!");
}

#[test]
fn a_file_is_never_written_through_a_link_in_its_place() {
    let scene = scene();
    let victim = scene.outside.join("victim");
    std::fs::write(&victim, "whole").unwrap();
    symlink(&victim, scene.root.join("trap")).unwrap();
    scene.rootfs.write("trap", "broken", 0o600).unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "whole");
    assert_eq!(
        std::fs::read_to_string(scene.root.join("trap")).unwrap(),
        "broken"
    );
}

#[test]
fn dots_newlines_and_outside_hard_links_are_refused() {
    let scene = scene();
    std::fs::write(scene.outside.join("secret"), "s").unwrap();
    let mut placer = Placer::new(&scene.rootfs, Existing::Replace);
    for name in ["../x", "a/../../x", "a\nb"] {
        let mut data: &[u8] = b"x";
        let placed = placer.place(Path::new(name), file(&mut data), &metadata());
        assert!(placed.is_err(), "{name:?} was placed");
    }
    let target = scene.outside.join("secret");
    let placed = placer.place(Path::new("link"), Kind::HardLink(&target), &metadata());
    assert!(placed.is_err());
    assert!(!scene.root.join("link").exists());
}

#[test]
fn device_nodes_are_refused_unless_asked_for() {
    let scene = scene();
    let mut placer = Placer::new(&scene.rootfs, Existing::Replace);
    let kind = Kind::Device {
        block: true,
        device: 0,
    };
    assert!(placer.place(Path::new("sda"), kind, &metadata()).is_err());
}

#[test]
fn a_short_entry_is_an_error() {
    let scene = scene();
    let mut data: &[u8] = b"abc";
    let kind = Kind::File {
        size: 4,
        data: &mut data,
    };
    let mut placer = Placer::new(&scene.rootfs, Existing::Replace);
    assert!(placer.place(Path::new("f"), kind, &metadata()).is_err());
}

#[test]
fn removing_a_tree_does_not_follow_its_links() {
    let scene = scene();
    std::fs::write(scene.outside.join("stays"), "x").unwrap();
    scene.rootfs.create_dir("a/b", 0o755).unwrap();
    symlink(&scene.outside, scene.root.join("a/b/out")).unwrap();
    scene.rootfs.remove("a").unwrap();
    scene.rootfs.remove("a").unwrap();
    assert!(scene.outside.join("stays").exists());
    assert!(!scene.root.join("a").exists());
}

#[test]
fn a_walk_is_sorted_and_comes_by_directories_first() {
    let scene = scene();
    for path in ["b/2", "b/1", "a", "b.c"] {
        scene.rootfs.write(path, "", 0o644).unwrap();
    }
    let mut seen = Vec::new();
    walk::<RootfsError>(&scene.rootfs, &mut |entry| {
        seen.push(entry.path.display().to_string());
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, ["", "a", "b", "b/1", "b/2", "b.c"]);
}

#[test]
fn a_fifo_is_not_waited_for() {
    let scene = scene();
    nix::unistd::mkfifo(&scene.root.join("pipe"), Mode::S_IRUSR).unwrap();
    assert!(scene.rootfs.read("pipe").is_err());
}

#[test]
fn a_tree_deeper_than_the_process_has_descriptors_is_removed_and_not_walked() {
    let scene = scene();
    let mut at = nix::fcntl::open(&scene.root, OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..3000 {
        mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
        at = open_in(at.as_fd(), "d", OFlag::O_DIRECTORY, 0).unwrap();
    }
    let walked = walk::<RootfsError>(&scene.rootfs, &mut |_| Ok(()));
    assert_eq!(walked.unwrap_err().errno(), Errno::ENAMETOOLONG);
    scene.rootfs.remove("d").unwrap();
    assert_eq!(scene.root.read_dir().unwrap().count(), 0);
}
