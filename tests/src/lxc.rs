//! Debian's LXC beside the binary under test, on the same containers.

use std::{path::PathBuf, process::Command, time::Duration};

use crate::{environment::TestEnvironment, process::wait_until};

/// LXC's tools on the containers of a test. What it started it kills when it is dropped.
pub struct Lxc<'a> {
    env: &'a TestEnvironment,
    state: PathBuf,
    started: std::cell::RefCell<Vec<String>>,
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
        let script = format!(
            "for f in subuid subgid; do test ! -e /etc/$f || mount --bind {0}/$f /etc/$f; done; exec \"$@\"",
            self.env.root().join("etc").display()
        );
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .args([&script, "sh", tool, "-P"])
            .arg(&self.state)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("cannot run {tool}: {error}; run `cargo xtask test`"));
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    /// Starts a container, which must succeed.
    #[track_caller]
    pub fn start(&self, name: &str) {
        let log = self.env.scratch().join(format!("lxc-{name}.log"));
        let log = log.to_str().expect("a path in UTF-8");
        self.started.borrow_mut().push(name.to_owned());
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

    /// Kills it.
    #[track_caller]
    pub fn kill(&self, name: &str) {
        let (stopped, text) = self.tool("lxc-stop", &["-n", name, "-k"]);
        assert!(stopped, "lxc-stop {name}: {text}");
        self.started.borrow_mut().retain(|started| started != name);
    }
}

impl Drop for Lxc<'_> {
    fn drop(&mut self) {
        for name in self.started.borrow().iter() {
            let _ = self.tool("lxc-stop", &["-n", name, "-k"]);
        }
    }
}
