//! Debian of other architectures: through an emulator, natively, or with a word on what is missing.

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sampan_tests::{Background, Ran, TestEnvironment};

const BINFMT_MISC: &str = "/proc/sys/fs/binfmt_misc";

/// The machine has one list of interpreters; whoever reads or changes it holds this.
static LIST: Mutex<()> = Mutex::new(());

/// The kernel's interpreters, with what the test registered. Dropped, it is as it was.
struct Interpreters {
    mounted: bool,
    registered: Vec<&'static str>,
    _alone: MutexGuard<'static, ()>,
}

impl Interpreters {
    /// The list as the machine has it.
    fn as_they_are() -> Self {
        Self {
            mounted: false,
            registered: Vec::new(),
            _alone: LIST.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn any_enabled(emulator: &str) -> bool {
        let entries = std::fs::read_dir(BINFMT_MISC)
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
            .any(|text| text.starts_with("enabled\n") && text.contains(emulator))
    }

    /// Registers an emulator for 64-bit little-endian programs of a machine (elf(5)).
    fn register(&mut self, name: &'static str, machine: u8, emulator: &str, flags: &str) {
        if !Path::new(BINFMT_MISC).join("register").exists() {
            let status = Command::new("mount")
                .args(["-t", "binfmt_misc", "binfmt_misc", BINFMT_MISC])
                .status();
            assert!(status.unwrap().success(), "this kernel has no binfmt_misc");
            self.mounted = true;
        }
        let zero = "\\x00".repeat(8);
        let ones = "\\xff".repeat(8);
        let line = format!(
            ":{name}:M::\\x7fELF\\x02\\x01\\x01\\x00{zero}\\x02\\x00\\x{machine:02x}\\x00:\
             \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00{ones}\\xfe\\xff\\xff\\xff:{emulator}:{flags}"
        );
        std::fs::write(Path::new(BINFMT_MISC).join("register"), line).unwrap();
        self.registered.push(name);
    }
}

impl Drop for Interpreters {
    fn drop(&mut self) {
        let mut problems = Vec::new();
        for name in &self.registered {
            if let Err(error) = std::fs::write(Path::new(BINFMT_MISC).join(name), "-1") {
                problems.push(format!("{name} is still registered: {error}"));
            }
        }
        if self.mounted {
            let ended = Command::new("umount").arg(BINFMT_MISC).status();
            if !ended.is_ok_and(|status| status.success()) {
                problems.push(format!("{BINFMT_MISC} is still mounted"));
            }
        }
        if !problems.is_empty() && !std::thread::panicking() {
            panic!("{}", problems.join("\n"));
        }
    }
}

/// Builds minbase into a directory.
fn build(env: &TestEnvironment, suite: &str, arch: &str, tree: &Path) -> Ran {
    let suite = format!("suite={suite}");
    // Of an architecture that few ask for, mirrors in between hold lists of the security archive
    // that are older than its Release.
    let security = format!("security={}", arch != "i386");
    let tree = tree.to_str().unwrap();
    let arguments = [
        "image",
        "build",
        "-t",
        "debian",
        "-o",
        &suite,
        "-o",
        &security,
        "-o",
        "variant=minbase",
        "--arch",
        arch,
        "--output",
        tree,
    ];
    Background::start(env.command(&arguments), b"").wait_for(Duration::from_secs(900))
}

/// What dpkg says in the tree, which runs there.
fn dpkg(tree: &Path, argument: &str) -> String {
    let output = Command::new("chroot")
        .arg(tree)
        .args(["dpkg", argument])
        .output()
        .unwrap();
    assert!(output.status.success(), "dpkg {argument}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn machine_of(program: &Path) -> u16 {
    let header = std::fs::read(program).unwrap();
    u16::from_le_bytes([header[18], header[19]])
}

#[test]
fn arm64_is_built_through_an_emulator() {
    let env = TestEnvironment::new();
    env.share_downloads();
    let mut interpreters = Interpreters::as_they_are();
    if std::env::consts::ARCH != "aarch64" && !Interpreters::any_enabled("aarch64") {
        let emulator = "/usr/bin/qemu-aarch64-static";
        interpreters.register("sampan-e2e-aarch64", 183, emulator, "F");
    }
    let tree = env.scratch().join("arm64");
    build(&env, "trixie", "arm64", &tree).ok();
    assert_eq!(dpkg(&tree, "--print-architecture"), "arm64");
    assert_eq!(dpkg(&tree, "--audit"), "");
    assert_eq!(machine_of(&tree.join("usr/bin/dpkg")), 183);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn i386_is_built_on_amd64_as_it_is() {
    let env = TestEnvironment::new();
    env.share_downloads();
    let _alone = Interpreters::as_they_are();
    let tree = env.scratch().join("i386");
    build(&env, "bookworm", "i386", &tree).ok();
    assert_eq!(dpkg(&tree, "--print-architecture"), "i386");
    assert_eq!(dpkg(&tree, "--audit"), "");
    assert_eq!(machine_of(&tree.join("usr/bin/dpkg")), 3);
}

#[test]
fn without_an_emulator_nothing_is_fetched_and_the_error_says_what_to_install() {
    let env = TestEnvironment::new();
    let tree = env.scratch().join("riscv64");
    let mut interpreters = Interpreters::as_they_are();
    if std::env::consts::ARCH != "riscv64" && !Interpreters::any_enabled("riscv64") {
        let ran = build(&env, "trixie", "riscv64", &tree).failed();
        assert!(ran.stderr.contains("no emulator"), "{}", ran.stderr);
        assert!(ran.stderr.contains("qemu-user-binfmt"), "{}", ran.stderr);
        nothing_came_of_it(&env, &tree);

        // Only the host has it where the kernel did not open it.
        let emulator = "/usr/bin/qemu-riscv64-static";
        interpreters.register("sampan-e2e-riscv64", 243, emulator, "");
        let ran = build(&env, "trixie", "riscv64", &tree).failed();
        assert!(ran.stderr.contains(emulator), "{}", ran.stderr);
        assert!(ran.stderr.contains("flag F"), "{}", ran.stderr);
        nothing_came_of_it(&env, &tree);
    }
}

#[track_caller]
fn nothing_came_of_it(env: &TestEnvironment, tree: &Path) {
    assert!(!tree.exists(), "a tree was left");
    let downloads = env.cache().join("downloads/v1/sha256");
    let fetched = std::fs::read_dir(downloads).into_iter().flatten().count();
    assert_eq!(fetched, 0, "something was fetched");
}
