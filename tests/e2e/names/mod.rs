//! Names and addresses on a network's bridge, in a namespace that plays the host.

mod dhcp;
mod dns;
mod life;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sampan_tests::{Background, HostNetwork, Ran, TestEnvironment};
use serde_json::{Value, json};

const MAC: &str = "02:00:00:00:00:09";

/// A bridge `br0` with 10.9.0.1/24 and fd09::1/64, and a table for it.
struct Scene {
    env: TestEnvironment,
    host: HostNetwork,
    table: Value,
}

impl Scene {
    fn new() -> Self {
        let host = HostNetwork::new();
        host.ip("link add br0 type bridge");
        host.ip("addr add 10.9.0.1/24 dev br0");
        host.ip("addr add fd09::1/64 dev br0 nodad");
        host.ip("link set br0 up");
        host.ip("addr add 192.0.2.53/32 dev lo");
        host.ip("addr add 192.0.2.54/32 dev lo");
        let scene = Self {
            env: TestEnvironment::new(),
            host,
            table: json!({
                "network": "lan",
                "domain": "sampan",
                "gateway4": ["10.9.0.1", 24],
                "gateway6": ["fd09::1", 64],
                "dns": true,
                "dhcp": true,
                "upstream": ["192.0.2.53", "192.0.2.54"],
                "hosts": [
                    { "name": "web", "mac": [2, 0, 0, 0, 0, 9], "ipv4": "10.9.0.9", "ipv6": "fd09::9" },
                    { "name": "db", "mac": [2, 0, 0, 0, 0, 8], "ipv4": "10.9.0.8", "ipv6": null },
                ],
            }),
        };
        fs::create_dir_all(scene.directory()).unwrap();
        scene
    }

    fn directory(&self) -> PathBuf {
        self.env.root().join("run/.networks/lan")
    }

    /// The hidden command, with the table on standard input.
    fn command(&self, words: &[&str]) -> Command {
        self.command_of(&TestEnvironment::binary(), words)
    }

    fn command_of(&self, binary: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.arg("network-service").arg(words[0]);
        command.arg(self.directory()).args(&words[1..]);
        self.host.enter(&command)
    }

    #[track_caller]
    fn service(&self, words: &[&str]) -> Ran {
        let table = self.table.to_string();
        Background::start(self.command(words), table.as_bytes()).wait()
    }

    #[track_caller]
    fn ensure(&self) {
        self.service(&["ensure", "br0"]).ok();
    }

    /// What dig(1) prints on the host itself.
    #[track_caller]
    fn dig(&self, words: &str) -> String {
        dig_in(&self.host, words)
    }

    /// A namespace that plays a guest, with an interface on the bridge and no address.
    fn guest(&self, mac: &str) -> HostNetwork {
        let guest = HostNetwork::new();
        self.host.plug("br0", &guest, mac);
        guest
    }

    /// The pids of the supervisor and of the server.
    #[track_caller]
    fn processes(&self) -> (u32, u32) {
        let directory = self.directory().display().to_string();
        let all = sampan_tests::processes();
        let supervisor = all.iter().find(|(_, command)| {
            command.contains("network-service run") && command.contains(&directory)
        });
        let (supervisor, _) = supervisor.unwrap_or_else(|| panic!("no supervisor: {all:?}"));
        let below = sampan_tests::processes_below(*supervisor);
        (*supervisor, *below.get(1).expect("a server"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let stopped = Background::start(self.command(&["stop"]), b"").wait();
        if !std::thread::panicking() {
            stopped.ok();
        }
    }
}

#[track_caller]
fn dig_in(network: &HostNetwork, words: &str) -> String {
    let mut dig = Command::new("dig");
    dig.args(["-r", "+tries=1", "+timeout=20"]);
    dig.args(words.split(' '));
    Background::start(network.enter(&dig), b"")
        .wait()
        .ok()
        .stdout
}
