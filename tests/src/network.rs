//! A network namespace that plays the host, so that no interface of the real one is touched.

use std::process::Command;

/// A network namespace of the test's own. Dropped, it is gone with all its interfaces.
pub struct HostNetwork {
    name: String,
}

impl HostNetwork {
    /// A fresh one with loopback.
    #[track_caller]
    pub fn new() -> Self {
        let name = format!("sampan-e2e-{}-{:x}", std::process::id(), unique());
        ran(Command::new("ip").args(["netns", "add", &name]));
        let network = Self { name };
        network.ip("link set lo up");
        network
    }

    /// Its name, as ip(8) knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs ip(8) in it; returns what it printed.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        let mut ip = Command::new("ip");
        ip.args(["-netns", &self.name]).args(words.split(' '));
        ran(&mut ip)
    }

    /// Gives another namespace, which plays a guest, an eth0 on a bridge of this one.
    #[track_caller]
    pub fn plug(&self, bridge: &str, guest: &HostNetwork, mac: &str) {
        let end = format!("v{:x}", unique());
        let inside = format!("/run/netns/{}", guest.name);
        self.ip(&format!(
            "link add {end} type veth peer name eth0 address {mac} netns {inside}"
        ));
        self.ip(&format!("link set {end} master {bridge} up"));
        guest.ip("link set eth0 up");
    }

    /// Lays a cable to another one: `end` here, `their_end` there, with these addresses.
    #[track_caller]
    pub fn cable(&self, end: (&str, &[&str]), other: &Self, their_end: (&str, &[&str])) {
        self.ip(&format!(
            "link add {} type veth peer name {} netns {}",
            end.0, their_end.0, other.name
        ));
        for (network, (name, addresses)) in [(self, end), (other, their_end)] {
            for address in addresses {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                network.ip(&format!("addr add {address} dev {name}{nodad}"));
            }
            network.ip(&format!("link set {name} up"));
        }
    }

    /// Does something in it: sockets that are opened stay there.
    #[track_caller]
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_network(&format!("/run/netns/{}", self.name), work)
    }

    /// Runs a program in it; returns what it printed.
    #[track_caller]
    pub fn run(&self, program: &str, words: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(words);
        ran(&mut self.enter(&command))
    }

    /// The same command, run in this namespace.
    pub fn enter(&self, command: &Command) -> Command {
        enter(&self.path(), command)
    }

    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Whether the kernel has interfaces of this kind that stand above another.
    #[track_caller]
    pub fn knows(&self, kind: &str) -> bool {
        let id = if kind == "vlan" { " id 9" } else { "" };
        self.ip("link add below0 type veth peer name below1");
        let mut add = Command::new("ip");
        add.args(["-netns", &self.name]);
        add.args(format!("link add probe0 link below0 type {kind}{id}").split(' '));
        let known = add
            .output()
            .expect("iproute2 is installed")
            .status
            .success();
        self.ip("link del below0");
        known
    }

    /// Whether the kernel's bridges can filter VLANs.
    pub fn filters_vlans(&self) -> bool {
        let mut add = Command::new("ip");
        add.args(["-netns", &self.name]);
        add.args("link add filter0 type bridge vlan_filtering 1".split(' '));
        let known = add
            .output()
            .expect("iproute2 is installed")
            .status
            .success();
        if known {
            self.ip("link del filter0");
        }
        known
    }

    /// The names of its interfaces but for loopback.
    #[track_caller]
    pub fn interfaces(&self) -> Vec<String> {
        let rows: serde_json::Value =
            serde_json::from_str(&self.ip("-json link")).expect("JSON of ip");
        let rows = rows.as_array().cloned().unwrap_or_default();
        let names = rows.iter().filter_map(|row| row["ifname"].as_str());
        names.filter(|n| *n != "lo").map(str::to_owned).collect()
    }
}

impl Default for HostNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for HostNetwork {
    fn drop(&mut self) {
        let deleted = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
        if !deleted.is_ok_and(|status| status.success()) && !std::thread::panicking() {
            panic!("the network namespace {} stays", self.name);
        }
    }
}

/// The same command, run in the network namespace of this path.
pub(crate) fn enter(namespace: &str, command: &Command) -> Command {
    through_nsenter(&format!("--net={namespace}"), command)
}

/// The same command by nsenter(1) with this option.
pub(crate) fn through_nsenter(option: &str, command: &Command) -> Command {
    // By its path: the command may have another PATH.
    let mut entered = Command::new("/usr/bin/nsenter");
    entered
        .arg(option)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => entered.env(key, value),
            None => entered.env_remove(key),
        };
    }
    entered
}

/// Does something in the network of a process: sockets that are opened stay there.
#[track_caller]
pub fn in_network_of<T: Send>(pid: i64, work: impl FnOnce() -> T + Send) -> T {
    in_network(&format!("/proc/{pid}/ns/net"), work)
}

#[track_caller]
fn in_network<T: Send>(path: &str, work: impl FnOnce() -> T + Send) -> T {
    let namespace = std::fs::File::open(path).expect("a network namespace");
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)
                .expect("it can be entered");
            work()
        });
        match inside.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[track_caller]
fn ran(command: &mut Command) -> String {
    let output = command.output().expect("iproute2 is installed");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn unique() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
