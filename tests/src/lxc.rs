//! Debian's LXC beside the binary under test, on the same containers.

use std::{path::PathBuf, process::Command, time::Duration};

use crate::{
    environment::TestEnvironment,
    network::{self, HostNetwork},
    process::wait_until,
};

/// LXC looks for interfaces in sysfs, which shows those of the network namespace it was mounted in.
/// One that is whole must stay, or the kernel gives none to the guest.
const OWN_SYSFS: &str = "mount -t sysfs none /mnt && mount --bind /mnt/class/net /sys/class/net && \
    mount --bind /mnt/devices/virtual/net /sys/devices/virtual/net || exit";

/// LXC's tools on the containers of a test. What it started it kills when it is dropped.
pub struct Lxc<'a> {
    env: &'a TestEnvironment,
    state: PathBuf,
    /// And in which network namespace: LXC listens there.
    started: std::cell::RefCell<Vec<(String, Option<String>)>>,
}

impl<'a> Lxc<'a> {
    /// On the test's own state directory. Before anything is created there: what LXC maps is
    /// reserved only where the files for it exist.
    #[track_caller]
    pub fn new(env: &'a TestEnvironment) -> Self {
        Self::at(env, env.state())
    }

    /// On another directory of containers.
    #[track_caller]
    pub fn at(env: &'a TestEnvironment, state: PathBuf) -> Self {
        // LXC maps only what stands in these files; the host's own stay as they are.
        let etc = env.root().join("etc");
        std::fs::create_dir_all(&etc).expect("a directory etc");
        for file in ["subuid", "subgid"] {
            let path = etc.join(file);
            if !path.exists() {
                std::fs::write(path, "").expect("a file in etc");
            }
        }
        Self {
            env,
            state,
            started: std::cell::RefCell::default(),
        }
    }

    /// Runs a tool where /etc/subuid and /etc/subgid are those below the test's root.
    #[track_caller]
    pub fn tool(&self, tool: &str, arguments: &[&str]) -> (bool, String) {
        Self::run(self.command(tool, arguments))
    }

    /// Tries to start a container in a network namespace that plays the host. What LXC says of it.
    #[track_caller]
    pub fn start_in(&self, host: &HostNetwork, name: &str) -> (bool, String) {
        let log = self.env.scratch().join(format!("lxc-{name}.log"));
        let log = log.to_str().expect("a path in UTF-8");
        self.started
            .borrow_mut()
            .push((name.to_owned(), Some(host.path())));
        let arguments = ["-n", name, "-o", log, "-l", "WARN"];
        let (started, text) =
            Self::run(host.enter(&self.command_after(OWN_SYSFS, "lxc-start", &arguments)));
        (
            started,
            text + &std::fs::read_to_string(log).unwrap_or_default(),
        )
    }

    #[track_caller]
    fn run(mut command: Command) -> (bool, String) {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run `cargo xtask test`"));
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    fn command(&self, tool: &str, arguments: &[&str]) -> Command {
        self.command_after(":", tool, arguments)
    }

    fn command_after(&self, before: &str, tool: &str, arguments: &[&str]) -> Command {
        let script = format!(
            "for f in subuid subgid; do test ! -e /etc/$f || mount --bind {0}/$f /etc/$f; done; {before}; exec \"$@\"",
            self.env.root().join("etc").display()
        );
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .args([&script, "sh", tool, "-P"])
            .arg(&self.state)
            .args(arguments);
        command
    }

    /// Starts a container, which must succeed.
    #[track_caller]
    pub fn start(&self, name: &str) {
        let log = self.env.scratch().join(format!("lxc-{name}.log"));
        let log = log.to_str().expect("a path in UTF-8");
        self.started.borrow_mut().push((name.to_owned(), None));
        let (started, text) = self.tool("lxc-start", &["-n", name, "-o", log, "-l", "DEBUG"]);
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let wrong = |line: &&str| {
            [" ERROR ", " WARN "]
                .iter()
                .any(|level| line.contains(level))
        };
        let log: Vec<&str> = log.lines().filter(wrong).collect();
        assert!(started, "lxc-start {name}: {text}\n{}", log.join("\n"));
    }

    /// What a shell in it prints, once it is there.
    #[track_caller]
    pub fn attach(&self, name: &str, script: &str) -> String {
        let arguments = ["-n", name, "--clear-env", "--", "/bin/busybox", "sh", "-c"];
        let arguments = [&arguments[..], &[script]].concat();
        let there = wait_until(Duration::from_secs(20), || {
            let (running, _) = self.tool("lxc-info", &["-n", name, "-p"]);
            running.then_some(())
        });
        assert!(there.is_some(), "{name} does not run under LXC");
        self.tool("lxc-attach", &arguments).1
    }

    /// The host's pid of its init.
    #[track_caller]
    pub fn init(&self, name: &str) -> i32 {
        let (_, text) = self.tool("lxc-info", &["-n", name, "-p", "-H"]);
        let pid = text.trim().parse();
        pid.unwrap_or_else(|_| panic!("lxc-info tells no pid of {name}: {text}"))
    }

    /// The same of one that [`Lxc::start_in`] started.
    #[track_caller]
    pub fn init_in(&self, host: &HostNetwork, name: &str) -> i32 {
        let command = self.command("lxc-info", &["-n", name, "-p", "-H"]);
        let (_, text) = Self::run(host.enter(&command));
        let pid = text.trim().parse();
        pid.unwrap_or_else(|_| panic!("lxc-info tells no pid of {name}: {text}"))
    }

    /// Kills it.
    #[track_caller]
    pub fn kill(&self, name: &str) {
        let place = self
            .started
            .borrow()
            .iter()
            .rev()
            .find(|(it, _)| it == name)
            .cloned();
        let (stopped, text) = self.stop(name, place.and_then(|(_, place)| place).as_deref());
        assert!(stopped, "lxc-stop {name}: {text}");
        self.started.borrow_mut().retain(|(it, _)| it != name);
    }

    fn stop(&self, name: &str, namespace: Option<&str>) -> (bool, String) {
        let command = self.command("lxc-stop", &["-n", name, "-k"]);
        Self::run(match namespace {
            Some(namespace) => network::enter(namespace, &command),
            None => command,
        })
    }
}

impl Drop for Lxc<'_> {
    fn drop(&mut self) {
        for (name, namespace) in self.started.borrow().iter() {
            let _ = self.stop(name, namespace.as_deref());
        }
    }
}
