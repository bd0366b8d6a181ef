//! Containers that LXC's own tools and templates made, started by Sampan as they are.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

use sampan_tests::{Lxc, TestEnvironment, wait_until};

/// Where LXC's configs are.
const SHIPPED: &str = "/usr/share/lxc/config";

/// A directory of containers in LXC's layout.
struct Layout {
    env: TestEnvironment,
    directory: PathBuf,
}

impl Layout {
    fn new() -> Self {
        let env = TestEnvironment::new();
        let directory = env.scratch().join("lxc");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(env.scratch(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { env, directory }
    }

    /// `sampan -P DIRECTORY` with these arguments.
    fn sampan(&self, arguments: &[&str]) -> sampan_tests::Ran {
        let place = self.directory.to_str().unwrap();
        self.env.sampan(&[&["-P", place], arguments].concat())
    }

    fn inside(&self, name: &str, script: &str) -> String {
        let ran = self
            .sampan(&["exec", name, "--", "/bin/sh", "-c", script])
            .ok();
        ran.stdout.trim().to_owned()
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().into_string().unwrap_or_default();
            let _ = self.sampan(&["destroy", "--force", &name]);
        }
    }
}

#[test]
fn a_container_that_lxc_create_made_of_busybox_starts_and_halts() {
    let lay = Layout::new();
    let lxc = Lxc::at(&lay.env, lay.directory.clone());
    let defaults = lay.env.scratch().join("defaults");
    fs::write(
        &defaults,
        "lxc.net.0.type = empty\nlxc.apparmor.profile = generated\n",
    )
    .unwrap();
    let (made, text) = lxc.tool(
        "lxc-create",
        &[
            "-n",
            "bb",
            "-t",
            "busybox",
            "-f",
            defaults.to_str().unwrap(),
        ],
    );
    assert!(made, "lxc-create: {text}");
    let before = fs::read(lay.directory.join("bb/config")).unwrap();

    lay.sampan(&["start", "bb"]).ok();
    let script = "hostname; grep -c ' /lib ' /proc/mounts; touch /lib/x 2>&1; ls /dev/tty5; grep ' /dev/mqueue ' /proc/mounts | cut -d' ' -f3; touch /sys/x 2>&1; true";
    let ours = lay.inside("bb", script);
    for wanted in ["bb\n1\n", "Read-only file system", "/dev/tty5", "mqueue"] {
        assert!(ours.contains(wanted), "{ours} lacks {wanted}");
    }
    // Its init halts by SIGUSR1, as the template's config says.
    let ran = lay.sampan(&["stop", "bb"]).ok();
    assert!(!ran.stderr.contains("killed"), "{}", ran.stderr);

    lxc.start("bb");
    let theirs = lxc.attach("bb", script);
    lxc.kill("bb");
    assert_eq!(ours, theirs.trim());
    assert_eq!(fs::read(lay.directory.join("bb/config")).unwrap(), before);
}

/// Boots a Debian whose config is what LXC's template writes, its includes and all.
fn a_debian_boots(suite: &str, unprivileged: bool) {
    let lay = Layout::new();
    lay.env.share_downloads();
    let made = lay.env.scratch().join("tree");
    let made = made.to_str().unwrap();
    let option = format!("suite={suite}");
    lay.env
        .sampan(&[
            "image", "build", "-t", "debian", "-o", &option, "--output", made,
        ])
        .ok();
    let home = lay.directory.join(suite);
    fs::create_dir(&home).unwrap();
    let rootfs = home.join("rootfs");
    fs::rename(made, &rootfs).unwrap();
    let mut config = format!(
        "# Template used to create this container: /usr/share/lxc/templates/lxc-debian\n\
         # Parameters passed to the template: -r {suite}\n\
         lxc.net.0.type = empty\n\
         lxc.apparmor.profile = generated\n\
         lxc.apparmor.allow_nesting = 1\n\n\
         # Common configuration\n\
         lxc.include = {SHIPPED}/debian.common.conf\n"
    );
    if unprivileged {
        config.push_str(&format!(
            "lxc.include = {SHIPPED}/debian.userns.conf\n\
             lxc.idmap = u 0 268435456 65536\nlxc.idmap = g 0 268435456 65536\n\
             lxc.rootfs.options = idmap=container\n"
        ));
    }
    config.push_str(&format!(
        "\n# Container specific configuration\n\
         lxc.rootfs.path = dir:{}\n\
         lxc.tty.max = 4\nlxc.uts.name = {suite}\nlxc.arch = {}\nlxc.pty.max = 1024\n",
        rootfs.display(),
        if cfg!(target_arch = "x86_64") {
            "amd64"
        } else {
            "arm64"
        },
    ));
    fs::write(home.join("config"), &config).unwrap();

    lay.sampan(&["start", suite]).ok();
    let booted = wait_until(Duration::from_secs(120), || {
        let ask = [
            "exec",
            suite,
            "--",
            "systemctl",
            "is-system-running",
            "--wait",
        ];
        let state = lay.sampan(&ask).stdout.trim().to_owned();
        (!matches!(state.as_str(), "" | "offline")).then_some(state)
    });
    let failed = || {
        lay.inside(
            suite,
            "systemctl --failed --plain --no-legend | cut -d' ' -f1",
        )
    };
    // `degraded` in a user namespace: there this config gives all capabilities back, so that systemd
    // tries to mount debugfs and to load modules, which nobody inside may.
    let excused = ["sys-kernel-debug.mount", "systemd-modules-load.service"];
    match booted.as_deref() {
        Some("running") => {}
        Some("degraded")
            if unprivileged && failed().lines().all(|unit| excused.contains(&unit)) => {}
        other => panic!("systemd says {other:?}: {}", failed()),
    }
    assert_eq!(lay.inside(suite, "hostname"), suite);
    // What common.conf asks for: terminals, capabilities, its profile of system calls.
    let capabilities = lay.inside(suite, "grep CapBnd /proc/1/status | cut -f2");
    let bounding = u64::from_str_radix(&capabilities, 16).unwrap();
    let has_sys_module = bounding & (1 << 16) != 0;
    assert_eq!(has_sys_module, unprivileged, "{capabilities}");
    assert_eq!(
        lay.inside(suite, "grep -c . /dev/null; test -c /dev/tty4 && echo tty"),
        "0\ntty"
    );
    let filters = lay.inside(suite, "grep Seccomp_filters: /proc/1/status | cut -f2");
    assert!(filters.parse::<u32>().unwrap() >= 2, "{filters}");
    let ran = lay.sampan(&["stop", suite]).ok();
    assert!(!ran.stderr.contains("killed"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(home.join("config")).unwrap(), config);
}

#[test]
fn a_privileged_debian_with_the_config_of_lxcs_template_boots() {
    a_debian_boots("bookworm", false);
}

#[test]
fn an_unprivileged_debian_with_the_config_of_lxcs_template_boots() {
    a_debian_boots("trixie", true);
}

#[test]
fn every_config_that_debian_ships_is_understood() {
    let lay = Layout::new();
    let mut seen = 0;
    lay.env.create_small_guest("base", &["--privileged"]);
    let rootfs = lay.env.state().join("base/rootfs");
    let home = lay.directory.join("shipped");
    fs::create_dir(&home).unwrap();
    for entry in fs::read_dir(SHIPPED).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "conf") {
            continue;
        }
        seen += 1;
        let config = format!(
            "lxc.include = {}\nlxc.rootfs.path = dir:{}\nlxc.net.0.type = empty\nlxc.init.cmd = /bin/sleep 1000\n",
            path.display(),
            rootfs.display()
        );
        fs::write(home.join("config"), config).unwrap();
        let started = lay.sampan(&["start", "shipped"]);
        assert_eq!(started.code, 0, "{}: {}", path.display(), started.stderr);
        assert_eq!(lay.inside("shipped", "echo there"), "there");
        lay.sampan(&["stop", "--kill", "shipped"]).ok();
    }
    assert!(
        seen > 20,
        "lxc-templates is not installed: only {seen} configs in {SHIPPED}"
    );
    let installed = Command::new("dpkg")
        .args(["-s", "lxc-templates"])
        .output()
        .unwrap();
    assert!(installed.status.success(), "cargo xtask test installs it");
}
