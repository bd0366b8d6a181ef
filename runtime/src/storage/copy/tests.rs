use super::*;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

fn scene() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    (directory, from, to)
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn names_links_holes_modes_and_times_are_kept() {
    let (_directory, from, to) = scene();
    fs::create_dir(from.join("a")).unwrap();
    fs::write(from.join("a/one"), "text").unwrap();
    fs::hard_link(from.join("a/one"), from.join("two")).unwrap();
    symlink("/etc/passwd", from.join("link")).unwrap();
    let sparse = File::create(from.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"middle", 32 << 20).unwrap();
    nix::unistd::mkfifo(&from.join("fifo"), Mode::S_IRUSR).unwrap();
    let _socket = UnixListener::bind(from.join("socket")).unwrap();
    fs::set_permissions(from.join("a/one"), fs::Permissions::from_mode(0o4751)).unwrap();
    let time = TimeSpec::new(1_000_000_000, 123_456_789);
    futimens(File::open(from.join("a")).unwrap(), &time, &time).unwrap();

    copy_tree(&from, &to).unwrap();

    let look = |name: &str| fs::symlink_metadata(to.join(name)).unwrap();
    assert_eq!(fs::read(to.join("a/one")).unwrap(), b"text");
    assert_eq!(look("a/one").ino(), look("two").ino());
    assert_eq!(look("a/one").mode() & 0o7777, 0o4751);
    assert_eq!(look("a").mtime_nsec(), 123_456_789);
    assert_eq!(
        fs::read_link(to.join("link")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(look("sparse").len(), 64 << 20);
    assert!(
        look("sparse").blocks() * 512 < 1 << 20,
        "the holes were filled"
    );
    let mut bytes = [0; 6];
    let copied = File::open(to.join("sparse")).unwrap();
    copied.read_exact_at(&mut bytes, 32 << 20).unwrap();
    assert_eq!(&bytes, b"middle");
    for (name, kind) in [("fifo", SFlag::S_IFIFO), ("socket", SFlag::S_IFSOCK)] {
        assert_eq!(look(name).mode() & SFlag::S_IFMT.bits(), kind.bits());
    }
}

#[test]
fn owners_capabilities_and_devices_are_kept() {
    assert!(is_root(), "run the tests of the runtime as root");
    let (_directory, from, to) = scene();
    let program = from.join("ping");
    fs::write(&program, "program").unwrap();
    std::os::unix::fs::chown(&program, Some(1000), Some(2000)).unwrap();
    // cap_net_raw=ep, as setcap(8) writes it.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(&program, "security.capability", &capability).unwrap();
    xattr::set(&program, "user.note", b"kept").unwrap();
    let device = nix::sys::stat::makedev(1, 3);
    nix::sys::stat::mknod(&from.join("null"), SFlag::S_IFCHR, Mode::S_IRWXU, device).unwrap();

    copy_tree(&from, &to).unwrap();

    let copied = to.join("ping");
    let metadata = fs::metadata(&copied).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (1000, 2000));
    let kept = xattr::get(&copied, "security.capability").unwrap();
    assert_eq!(kept.as_deref(), Some(&capability[..]));
    assert_eq!(
        xattr::get(&copied, "user.note").unwrap().as_deref(),
        Some(&b"kept"[..])
    );
    assert_eq!(fs::metadata(to.join("null")).unwrap().rdev(), device);
}

#[test]
fn a_tree_without_end_is_refused_and_not_followed_out() {
    let (_directory, from, to) = scene();
    let mut deep = from.clone();
    for _ in 0..DEEPEST + 2 {
        deep.push("d");
        fs::create_dir(&deep).unwrap();
    }
    let error = copy_tree(&from, &to).unwrap_err();
    assert!(error.chain().contains("deeper"), "{}", error.chain());
}
