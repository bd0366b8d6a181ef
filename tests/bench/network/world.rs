//! One network namespace with both bridges, and the same small guest for both.

use std::{
    fs,
    io::Write,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use sampan_tests::{measure::target, wait_until};

use crate::{questions, run};

/// What the guest writes to its console when its gateway has answered.
const REACHED: &str = "gateway reached";

/// Much more than any start takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// LXC's bridge, as its package sets it up.
const LXC_GATEWAY: &str = "10.0.3.1";

/// How long iperf3 sends.
const STREAM: &str = "1";

/// Whose container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Sampan,
    /// With its address in the config.
    Lxc,
    /// With an address from dnsmasq.
    LxcDhcp,
}

/// Both bridges, and containers of both.
pub struct World {
    scratch: PathBuf,
    _dnsmasq: Killed,
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two running containers of one network.
pub struct Pair<'a> {
    world: &'a World,
    peer: Peer,
    pids: [u32; 2],
    addresses: [String; 2],
    gateway: String,
}

impl World {
    /// In the namespace that this process is in.
    pub fn new(scratch: &Path) -> Self {
        for line in [
            "link add lxcbr0 type bridge",
            &format!("addr add {LXC_GATEWAY}/24 dev lxcbr0"),
            "link set lxcbr0 up",
        ] {
            let mut ip = Command::new("ip");
            ip.args(line.split(' '));
            run(ip);
        }
        let hosts = scratch.join("hosts");
        fs::write(&hosts, "10.0.3.11 one0.lxc\n").expect("the names");
        let mut dnsmasq = Command::new("/usr/sbin/dnsmasq");
        dnsmasq
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-hosts",
            ])
            .args(["--user=root", "--interface=lxcbr0", "--except-interface=lo"])
            .args([
                "--bind-interfaces",
                "--pid-file=",
                "--no-resolv",
                "--no-ping",
            ])
            .arg(format!("--addn-hosts={}", hosts.display()))
            .args(["--dhcp-range=10.0.3.100,10.0.3.200", "--dhcp-authoritative"])
            .arg(format!(
                "--dhcp-leasefile={}",
                scratch.join("leases").display()
            ));
        let dnsmasq = dnsmasq.stderr(Stdio::null()).spawn();
        let dnsmasq = Killed(dnsmasq.expect("dnsmasq"));
        let world = Self {
            scratch: scratch.to_path_buf(),
            _dnsmasq: dnsmasq,
        };
        fs::create_dir(world.lxc_path()).expect("a directory for LXC's containers");
        for number in 0..2 {
            let name = name(number);
            run(world.sampan(&["create", &name, "-t", "busybox", "--offline"]));
            world.prepare(&world.state().join(&name), None);
            world.give_to_lxc(Peer::Lxc, number);
        }
        world.give_to_lxc(Peer::LxcDhcp, 0);
        // For iperf3 on the host; LXC's bridge hides nothing of it.
        run(world.sampan(&["network", "set", "sampan0", "host-access=yes"]));
        world
    }

    /// From the start's beginning until the guest has reached its gateway; it is killed afterwards.
    pub fn time_to_ping(&self, peer: Peer) -> f64 {
        let console = self.console(peer, 0);
        let _ = fs::remove_file(&console);
        let logs = console.parent().expect("it has one");
        // The first start makes it otherwise.
        fs::create_dir_all(logs).expect("a directory");
        let changes = Inotify::init(InitFlags::IN_NONBLOCK).expect("inotify");
        let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY;
        changes.add_watch(logs, events).expect("a watch");
        let begun = Instant::now();
        run(self.start(peer, 0));
        while !fs::read_to_string(&console).is_ok_and(|text| text.contains(REACHED)) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "see {}", console.display());
            let left = PollTimeout::try_from(left).expect("less than a month");
            let mut fds = [PollFd::new(changes.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, left).expect("poll");
            while changes.read_events().is_ok() {}
        }
        let taken = begun.elapsed().as_secs_f64();
        run(self.kill(peer, 0));
        taken
    }

    /// Two running containers.
    pub fn pair(&self, peer: Peer) -> Pair<'_> {
        let pids = [0, 1].map(|number| {
            run(self.start(peer, number));
            self.init_pid(peer, number)
        });
        Pair {
            world: self,
            peer,
            pids,
            addresses: [0, 1].map(|number| self.setting(peer, number, "ipv4.address")),
            gateway: match peer {
                Peer::Sampan => self.setting(peer, 0, "ipv4.gateway"),
                _ => LXC_GATEWAY.to_owned(),
            },
        }
    }

    /// What the resolver on a bridge answers.
    pub fn names_per_second(&self, peer: Peer) -> f64 {
        let (server, name, address) = match peer {
            Peer::Sampan => (
                self.setting(peer, 0, "ipv4.gateway"),
                name(0),
                self.setting(peer, 0, "ipv4.address"),
            ),
            _ => (
                LXC_GATEWAY.to_owned(),
                "one0.lxc".to_owned(),
                "10.0.3.11".to_owned(),
            ),
        };
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(questions::WORD).args([server, name, address]);
        let output = command.output().expect("nsenter");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().expect("a number")
    }

    fn state(&self) -> PathBuf {
        self.scratch.join("root/var/lib/sampan")
    }

    fn lxc_path(&self) -> PathBuf {
        self.scratch.join("lxc")
    }

    fn sampan(&self, arguments: &[&str]) -> Command {
        sampan(&self.scratch, arguments)
    }

    fn lxc(&self, program: &str, peer: Peer, number: usize) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-P")
            .arg(self.lxc_path())
            .args(["-n", &lxc_name(peer, number)])
            // Kept from newuidmap, as in the bench of the runtime.
            .env("PATH", "/usr/sbin:/sbin");
        command
    }

    fn start(&self, peer: Peer, number: usize) -> Command {
        match peer {
            Peer::Sampan => self.sampan(&["start", &name(number)]),
            _ => self.lxc("/usr/bin/lxc-start", peer, number),
        }
    }

    fn kill(&self, peer: Peer, number: usize) -> Command {
        match peer {
            Peer::Sampan => self.sampan(&["stop", "--kill", &name(number)]),
            _ => {
                let mut command = self.lxc("/usr/bin/lxc-stop", peer, number);
                command.arg("-k");
                command
            }
        }
    }

    fn init_pid(&self, peer: Peer, number: usize) -> u32 {
        let mut command = match peer {
            Peer::Sampan => self.sampan(&["info", &name(number), "--format", "json"]),
            _ => {
                let mut command = self.lxc("/usr/bin/lxc-info", peer, number);
                command.args(["-p", "-H"]);
                command
            }
        };
        let output = command.output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        match peer {
            Peer::Sampan => {
                let info: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                info["init_pid"].as_u64().expect("a pid") as u32
            }
            _ => text.trim().parse().expect("a pid"),
        }
    }

    fn console(&self, peer: Peer, number: usize) -> PathBuf {
        match peer {
            Peer::Sampan => {
                let file = format!("{}.console", name(number));
                self.scratch.join("root/var/log/sampan").join(file)
            }
            _ => self.directory(peer, number).join("console.log"),
        }
    }

    fn directory(&self, peer: Peer, number: usize) -> PathBuf {
        match peer {
            Peer::Sampan => self.state().join(name(number)),
            _ => self.lxc_path().join(lxc_name(peer, number)),
        }
    }

    /// A line of the first network in a config, without what follows a slash.
    fn setting(&self, peer: Peer, number: usize, key: &str) -> String {
        let config = self.directory(peer, number).join("config");
        let text = fs::read_to_string(&config).expect("a config");
        let key = format!("lxc.net.0.{key}");
        let value = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(found, _)| found.trim() == key)
            .unwrap_or_else(|| panic!("{key} in {text}"))
            .1;
        value
            .trim()
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// Has the guest say when it has reached its gateway.
    fn prepare(&self, directory: &Path, script: Option<&str>) {
        let rootfs = directory.join("rootfs");
        let ask = script.unwrap_or_default();
        let text = format!(
            "#!/bin/busybox sh\n{ask}\
             until gateway=$(busybox ip route | busybox awk '/^default/ {{ print $3 }}')\n\
             [ \"$gateway\" ] && busybox ping -c 1 -W 1 $gateway > /dev/null 2>&1; do :; done\n\
             echo {REACHED} > /dev/console\n"
        );
        write_program(&rootfs.join("bin/reach"), &text);
        let inittab = rootfs.join("etc/inittab");
        let old = fs::read_to_string(&inittab).expect("an inittab");
        let new = format!("::sysinit:/bin/reach\n{old}");
        fs::write(&inittab, new).expect("a new inittab");
    }

    /// The same rootfs and config for LXC, on its bridge.
    fn give_to_lxc(&self, peer: Peer, number: usize) {
        let ours = self.directory(Peer::Sampan, number);
        let theirs = self.directory(peer, number);
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(&ours).arg(&theirs);
        run(copy);
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).expect("a mode");
        if peer == Peer::LxcDhcp {
            let script = "#!/bin/busybox sh\n\
                [ \"$1\" = bound ] || exit 0\n\
                busybox ip addr add $ip/24 dev $interface\n\
                busybox ip route add default via $router\n";
            write_program(&theirs.join("rootfs/bin/bound"), script);
            let ask = "busybox udhcpc -i eth0 -q -n -f -s /bin/bound > /dev/null 2>&1\n";
            self.prepare(&theirs, Some(ask));
        }
        let text = fs::read_to_string(ours.join("config")).expect("a config");
        let text = text.replace(&ours.display().to_string(), &theirs.display().to_string());
        let kept = text.lines().filter(|line| {
            let ours = ["lxc.net.", "sampan.", "lxc.uts.name"];
            !ours.iter().any(|begin| line.starts_with(begin))
        });
        let mut lines: Vec<String> = kept.map(str::to_owned).collect();
        lines.push(format!("lxc.uts.name = {}", lxc_name(peer, number)));
        lines.push(format!(
            "lxc.console.logfile = {}",
            self.console(peer, number).display()
        ));
        lines.push("lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp".to_owned());
        let net = ["type = veth", "link = lxcbr0", "flags = up", "name = eth0"];
        lines.extend(net.iter().map(|line| format!("lxc.net.0.{line}")));
        if peer == Peer::Lxc {
            lines.push(format!(
                "lxc.net.0.ipv4.address = 10.0.3.{}/24",
                11 + number
            ));
            lines.push(format!("lxc.net.0.ipv4.gateway = {LXC_GATEWAY}"));
        }
        fs::write(theirs.join("config"), lines.join("\n") + "\n").expect("a config");
    }
}

impl Pair<'_> {
    /// From the first to the second, in Gbit/s.
    pub fn between(&self) -> f64 {
        let server = self.inside(1);
        self.stream(server, &self.addresses[1])
    }

    /// From the first to the host, in Gbit/s.
    pub fn to_host(&self) -> f64 {
        let server = Command::new("iperf3");
        self.stream(server, &self.gateway)
    }

    fn inside(&self, number: usize) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pids[number]));
        command.arg("iperf3");
        command
    }

    fn stream(&self, mut server: Command, address: &str) -> f64 {
        server.args(["-s", "-1", "-B", address]);
        let mut server = Killed(server.stdout(Stdio::null()).spawn().expect("iperf3"));
        // Until the server listens.
        let bits = wait_until(PATIENCE, || {
            let mut client = self.inside(0);
            client.args(["-c", address, "-t", STREAM, "-J"]);
            let output = client.output().expect("iperf3");
            let json: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
            json["end"]["sum_received"]["bits_per_second"].as_f64()
        });
        let _ = server.0.wait();
        bits.expect("iperf3's figures") / 1e9
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        for number in [0, 1] {
            let killed = self.world.kill(self.peer, number).status();
            if !killed.is_ok_and(|status| status.success()) {
                let _ = writeln!(std::io::stderr(), "a container still runs");
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What a failed run has left running.
        for number in [0, 1] {
            let _ = self.sampan(&["stop", "--kill", &name(number)]).output();
        }
        let _ = self.sampan(&["network", "down", "--all"]).output();
    }
}

/// `sampan`, with everything below the scratch directory.
pub fn sampan(scratch: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(target().join("release/sampan"));
    command
        .arg("--root")
        .arg(scratch.join("root"))
        .args(arguments);
    command
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).expect("a program for the guest");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn name(number: usize) -> String {
    format!("small{number}")
}

fn lxc_name(peer: Peer, number: usize) -> String {
    match peer {
        Peer::LxcDhcp => format!("lxc-dhcp{number}"),
        _ => format!("lxc{number}"),
    }
}
