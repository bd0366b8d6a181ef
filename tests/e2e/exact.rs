//! Our base systems against debootstrap's, file by file, from one mirror in one state.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use sampan_tests::{Background, CachingMirror, TestEnvironment, Tree};

/// debootstrap takes as long as it takes; with both processors busy this is several times that.
const PATIENCE: Duration = Duration::from_secs(900);

/// Paths that may differ, each with its reason. A path that ends in `/` means all below it.
const ALLOWED: &[(&str, &str)] = &[
    // What debootstrap leaves behind of its own work.
    (
        "var/cache/apt/archives/",
        "debootstrap keeps the .debs that it downloaded",
    ),
    (
        "var/lib/apt/lists/",
        "debootstrap keeps its package lists; ours would be stale at first boot",
    ),
    (
        "var/lib/dpkg/available",
        "debootstrap feeds dpkg's obsolete list of what exists",
    ),
    ("var/lib/dpkg/cmethopt", "a setting of dselect"),
    ("var/lib/dpkg/methlock", "the lock of dselect"),
    ("var/lib/dpkg/lock", "a lock, taken when dpkg ran"),
    ("var/lib/dpkg/lock-frontend", "a lock, taken when dpkg ran"),
    ("var/lib/dpkg/triggers/Lock", "a lock, taken when dpkg ran"),
    (
        "var/lib/dpkg/status-old",
        "what dpkg's database was before the last change",
    ),
    (
        "var/lib/dpkg/diversions-old",
        "what dpkg's database was before the last change",
    ),
    (
        "var/lib/dpkg/statoverride-old",
        "what dpkg's database was before the last change",
    ),
    (
        "var/cache/debconf/config.dat-old",
        "what debconf's database was before the last change",
    ),
    (
        "var/cache/debconf/templates.dat-old",
        "what debconf's database was before the last change",
    ),
    (
        "var/log/",
        "logs of the build; ours would differ from build to build",
    ),
    ("var/cache/ldconfig/aux-cache", "inode numbers and times"),
    (
        "var/lib/systemd/catalog/database",
        "holds a time and the machine's name; made again at boot",
    ),
    // What belongs to a machine and not to an image.
    ("etc/machine-id", "each container gets its own"),
    ("var/lib/dbus/machine-id", "each container gets its own"),
    (
        "etc/hostname",
        "debootstrap copies the host's; each container gets its own",
    ),
    (
        "etc/resolv.conf",
        "debootstrap copies the host's; each container gets its own",
    ),
    (
        "etc/apt/sources.list",
        "ours has sources.list.d/debian.sources instead",
    ),
    (
        "etc/apt/sources.list.d/debian.sources",
        "debootstrap writes sources.list instead",
    ),
    (
        "var/lock",
        "a link that a script of base-files makes: the time is that of the build",
    ),
    (
        "var/run",
        "a link that a script of base-files makes: the time is that of the build",
    ),
    (
        "run/",
        "scripts make directories that the next boot covers with a tmpfs; ours is left empty",
    ),
    // The kernel's file systems.
    (
        "dev/",
        "debootstrap makes device nodes; a container gets a /dev of its own",
    ),
];

#[test]
fn trixie_minbase_is_debootstraps_file_for_file() {
    compare("trixie", "minbase");
}

#[test]
fn trixie_standard_is_debootstraps_file_for_file() {
    compare("trixie", "standard");
}

#[test]
fn trixie_buildd_is_debootstraps_file_for_file() {
    compare("trixie", "buildd");
}

#[test]
fn bookworm_minbase_is_debootstraps_file_for_file() {
    compare("bookworm", "minbase");
}

#[test]
fn bookworm_standard_is_debootstraps_file_for_file() {
    compare("bookworm", "standard");
}

#[test]
fn bookworm_buildd_is_debootstraps_file_for_file() {
    compare("bookworm", "buildd");
}

fn compare(suite: &str, variant: &str) {
    let env = TestEnvironment::new();
    let shared = mirror();
    let mirror = shared.debian();
    let (theirs, ours) = (env.scratch().join("theirs"), env.scratch().join("ours"));
    let mut debootstrap = Command::new("/usr/sbin/debootstrap");
    if variant != "standard" {
        debootstrap.arg(format!("--variant={variant}"));
    }
    debootstrap.arg(suite).arg(&theirs).arg(&mirror);
    let running = Background::start(debootstrap, b"");

    let release = suite;
    let (suite, variant) = (format!("suite={suite}"), format!("variant={variant}"));
    let from = format!("mirror={mirror}");
    let mut sampan = env.command(&["image", "build", "-t", "debian", "--output"]);
    sampan.arg(&ours);
    sampan.args(["-o", &suite, "-o", &variant, "-o", &from]);
    // debootstrap takes packages of the base suite only.
    sampan.args(["-o", "updates=false", "-o", "security=false"]);
    Background::start(sampan, b"").wait_for(PATIENCE).ok();
    running.wait_for(PATIENCE).ok();

    let differences = Tree::read(&theirs).differences(&Tree::read(&ours), &normal);
    let unexplained: Vec<&String> = differences
        .iter()
        .filter(|difference| !is_allowed(difference) && !is_time_of_link(difference, release))
        .collect();
    assert!(
        unexplained.is_empty(),
        "{} differences, of which the first are\n{:#?}",
        unexplained.len(),
        &unexplained[..unexplained.len().min(40)]
    );

    for check in [&["dpkg", "--audit"][..], &["dpkg", "-V"]] {
        let mut chroot = Command::new("chroot");
        chroot.arg(&ours).args(check);
        let ran = Background::start(chroot, b"").wait_for(PATIENCE).ok();
        assert_eq!(ran.stdout, "", "{check:?} complains");
    }
}

/// One mirror for all of these tests, in one state.
fn mirror() -> Arc<CachingMirror> {
    static MIRROR: Mutex<Weak<CachingMirror>> = Mutex::new(Weak::new());
    let mut shared = MIRROR.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let started = Arc::new(CachingMirror::start());
        *shared = Arc::downgrade(&started);
        started
    })
}

/// Whether debootstrap itself made this link of the merged /usr, at the time of the build: before
/// trixie base-files does not have the links.
fn is_time_of_link(difference: &str, suite: &str) -> bool {
    let links = ["/bin", "/lib", "/lib64", "/sbin"];
    let of_link = |link: &&str| difference.starts_with(&format!("{link}: time: "));
    suite == "bookworm" && links.iter().any(of_link)
}

fn is_allowed(difference: &str) -> bool {
    let path = difference.split(": ").next().unwrap_or_default();
    let path = path.trim_start_matches('/');
    ALLOWED
        .iter()
        .any(|(allowed, _)| match allowed.strip_suffix('/') {
            Some(_) => path.starts_with(allowed),
            None => path == *allowed,
        })
}

/// Makes comparable what may only differ in its order or in the numbers that scripts drew: dynamic
/// ids follow the order of configuration, and debootstrap's order is that of a hash table.
fn normal(path: &Path, bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    let sorted = |lines: &mut dyn Iterator<Item = String>| {
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines.join("\n")
    };
    let name = path.to_str()?;
    match name.trim_end_matches('-') {
        "etc/passwd" | "etc/group" => Some(sorted(&mut text.lines().map(without_ids))),
        // The third field is the day of the build.
        "etc/shadow" => Some(sorted(&mut text.lines().map(|line| without_field(line, 2)))),
        "etc/gshadow" | "etc/shells" | "var/lib/dpkg/triggers/File" => {
            Some(sorted(&mut text.lines().map(str::to_owned)))
        }
        "var/lib/dpkg/status" => {
            // debootstrap's order of packages is its own.
            Some(sorted(&mut text.split("\n\n").map(str::to_owned)))
        }
        _ => Some(text),
    }
}

/// A line of passwd(5) or group(5) without the numbers that are handed out dynamically (Policy
/// 9.2.2: from 100 to 999).
fn without_ids(line: &str) -> String {
    let fields: Vec<&str> = line.split(':').collect();
    let plain = |field: &&str| match field.parse::<u32>() {
        Ok(100..=999) => "N".to_owned(),
        _ => (*field).to_owned(),
    };
    fields.iter().map(plain).collect::<Vec<_>>().join(":")
}

fn without_field(line: &str, index: usize) -> String {
    let mut fields: Vec<&str> = line.split(':').collect();
    if let Some(field) = fields.get_mut(index) {
        *field = "";
    }
    fields.join(":")
}
