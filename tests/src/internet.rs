//! A host with Sampan's own networks, and something behind it that plays the internet.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    Background, HostNetwork, Ran, TestEnvironment,
    network::{in_network_of, through_nsenter},
};

const PATIENCE: Duration = Duration::from_secs(5);

/// The host has 192.0.2.1 and 2001:db8::1, the internet 192.0.2.2 and 2001:db8::2. The internet
/// has no route to anything else: who gets an answer has asked from an address of the host.
pub struct Internet {
    /// Containers.
    pub env: TestEnvironment,
    /// Their host's network.
    pub host: HostNetwork,
    /// What is behind it.
    pub peer: HostNetwork,
    /// A process whose root file system is the host's, if it has another one than the tests.
    pub(crate) inside: Option<u32>,
}

/// The internet's addresses.
pub const PEER_4: &str = "192.0.2.2";
/// The same of IPv6.
pub const PEER_6: &str = "2001:db8::2";

impl Internet {
    /// A fresh one.
    #[track_caller]
    pub fn new() -> Self {
        let (host, peer) = (HostNetwork::new(), HostNetwork::new());
        host.cable(
            ("wan0", &["192.0.2.1/24", "2001:db8::1/64"]),
            &peer,
            ("wan1", &["192.0.2.2/24", "2001:db8::2/64"]),
        );
        Self {
            env: TestEnvironment::new(),
            host,
            peer,
            inside: None,
        }
    }

    /// The same command, run on the host.
    pub fn enter(&self, command: &Command) -> Command {
        let Some(pid) = self.inside else {
            return self.host.enter(command);
        };
        // The network first: its name is in the tests' own file system.
        let namespace = format!("--mount=/proc/{pid}/ns/mnt");
        self.host.enter(&through_nsenter(&namespace, command))
    }

    /// Runs `sampan` on the host.
    #[track_caller]
    pub fn sampan(&self, arguments: &[&str]) -> Ran {
        self.background(arguments).wait()
    }

    /// Starts it there and goes on.
    #[track_caller]
    pub fn background(&self, arguments: &[&str]) -> Background {
        Background::start(self.enter(&self.env.command(arguments)), b"")
    }

    /// A small guest in these networks, not started.
    #[track_caller]
    pub fn create(&self, name: &str, networks: &[&str]) {
        let mut words = vec!["-q", "create", name, "-t", "naughty"];
        words.extend(["-o", "program=/bin/busybox"]);
        for network in networks {
            words.extend(["--network", network]);
        }
        self.sampan(&words).ok();
    }

    /// The same, started.
    #[track_caller]
    pub fn guest(&self, name: &str, networks: &[&str]) -> Guest<'_> {
        self.create(name, networks);
        self.sampan(&["-q", "start", name]).ok();
        self.running(name)
    }

    /// One that runs.
    #[track_caller]
    pub fn running(&self, name: &str) -> Guest<'_> {
        let info = self.sampan(&["info", name, "--format", "json"]).ok().json();
        Guest {
            internet: self,
            name: name.to_owned(),
            pid: info["init_pid"].as_i64().expect("it runs"),
            info,
        }
    }

    /// A value of a container's config.
    #[track_caller]
    pub fn config(&self, name: &str, key: &str) -> String {
        let ran = self.sampan(&["config", "get", name, key]).ok();
        ran.stdout.trim().to_owned()
    }

    /// All of nf_tables on the host, without what counts.
    #[track_caller]
    pub fn rules(&self) -> String {
        self.host.run("nft", &["--stateless", "list", "ruleset"])
    }

    /// The host's address in a network of its own.
    #[track_caller]
    pub fn gateway(&self, network: &str, version: &str) -> String {
        let ran = self.sampan(&["network", "show", network, "--format", "json"]);
        let shown = ran.ok().json();
        let own = shown[version].as_str().expect("it has one");
        own.split_once('/').expect("with bits").0.to_owned()
    }
}

impl Default for Internet {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        // Containers first: they hold the networks. The environment looks for what is left.
        let ran = self.sampan(&["ls", "--format", "json"]);
        let rows: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        for row in rows.as_array().into_iter().flatten() {
            if let Some(name) = row["name"].as_str() {
                self.sampan(&["destroy", "--force", "--snapshots", name]);
            }
        }
        self.sampan(&["network", "down", "--all"]);
    }
}

/// A running container.
pub struct Guest<'a> {
    internet: &'a Internet,
    /// Its name.
    pub name: String,
    /// Its init.
    pub pid: i64,
    /// What `info` says.
    pub info: Value,
}

impl Guest<'_> {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<String> {
        let ips = self.info["ips"].as_array().cloned().unwrap_or_default();
        let ips = ips.iter().filter_map(|ip| ip.as_str());
        ips.map(str::to_owned).collect()
    }

    /// Whether an answer comes to a ping from its own busybox; `from` is an address to send from.
    #[track_caller]
    pub fn pings(&self, address: &str, from: Option<&str>) -> bool {
        let family = if address.contains(':') { "-6" } else { "-4" };
        let mut words = vec!["exec", &self.name, "--", "/bin/busybox", "ping", family];
        // The first one waits for neighbours to be found.
        words.extend(["-c", "1", "-w", "2"]);
        if let Some(from) = from {
            words.extend(["-I", from]);
        }
        words.push(address);
        self.internet.sampan(&words).code == 0
    }

    /// Whether a name has an answer of this server, asked by its own busybox.
    #[track_caller]
    pub fn resolves(&self, name: &str, server: &str) -> bool {
        let busybox = ["exec", &self.name, "--", "/bin/busybox"];
        let words = [&busybox[..], &["nslookup", name, server]].concat();
        self.internet.sampan(&words).code == 0
    }

    /// What ip(8) of the host does inside.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid));
        command.arg("ip").args(words.split(' '));
        Background::start(command, b"").wait().ok().stdout
    }

    /// Does something in its network.
    #[track_caller]
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_network_of(self.pid, work)
    }

    /// Kills its monitor, which has no time to tidy up.
    #[track_caller]
    pub fn kill_monitor(&self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let parent = status.lines().find_map(|l| l.strip_prefix("PPid:"));
        let parent = parent.and_then(|pid| pid.trim().parse().ok());
        let monitor = Pid::from_raw(parent.expect("a parent"));
        kill(monitor, Signal::SIGKILL).expect("it runs");
    }

    /// Serves there, as `serve_tcp` does.
    #[track_caller]
    pub fn serve_tcp(&self, port: u16) {
        self.within(|| serve_tcp(port));
    }
}

/// Answers connections with the address that they come from, until the test ends. In the network of
/// the calling thread.
pub fn serve_tcp(port: u16) {
    let listener = TcpListener::bind(("::", port)).expect("a free port");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let from = stream.peer_addr().map(|from| plain(from.ip()).to_string());
            let _ = stream.write_all(from.unwrap_or_default().as_bytes());
        }
    });
}

/// The same for datagrams.
pub fn serve_udp(port: u16) {
    let socket = UdpSocket::bind(("::", port)).expect("a free port");
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut bytes) {
            let text = plain(from.ip()).to_string();
            let _ = socket.send_to(text.as_bytes(), from);
        }
    });
}

/// What a server there says of where one comes from. In the network of the calling thread.
pub fn ask_tcp(address: &str, port: u16) -> std::io::Result<String> {
    let address: IpAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The same by a datagram.
pub fn ask_udp(address: &str, port: u16) -> std::io::Result<String> {
    let address: IpAddr = address.parse().expect("an address");
    let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((address, port))?;
    socket.send(b"who am I")?;
    let mut bytes = [0; 64];
    let count = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
