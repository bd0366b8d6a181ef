//! A host of its own: Debian with the firewalls of others, in namespaces that the test made.
//!
//! To install these on the machine that runs the tests would change its own rules. So Sampan makes a
//! root file system with them, and programs run with that as their root, in the network that plays the
//! host. The kernel's part is the same.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak},
};

use crate::{Background, Internet, Ran, TestEnvironment, measure::target, process::deadline_of};

/// What it has beside the required packages. busybox is what guests are made of.
const PACKAGES: &str =
    "include=busybox-static,dnsmasq-base,docker.io,firewalld,iproute2,iptables,lxc,nftables,ufw";

/// Makes the root file system of one host: writes go elsewhere, what the test has is where it is.
const ENTER: &str = r#"
set -e
lower=$1 scratch=$2 world=$3 target=$4
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
cd "$scratch/root"
mount --rbind /proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir -p ".$world" ".$target" old
mount --rbind "$world" ".$world"
mount --bind "$target" ".$target"
pivot_root . old
umount -l /old
touch /run/entered
exec sleep infinity
"#;

/// A host, and what runs on it. It ends when this is dropped.
pub struct DebianHost {
    /// Containers and networks there.
    pub world: Internet,
    programs: Mutex<Vec<Killed>>,
    holder: Killed,
    _debian: Arc<Debian>,
}

impl DebianHost {
    /// A fresh one, without any rules, which passes nothing on yet.
    #[track_caller]
    pub fn new() -> Self {
        let debian = Debian::shared();
        let mut world = Internet::new();
        let forwarding = "/proc/sys/net/ipv4/ip_forward";
        let off = world.host.within(|| std::fs::write(forwarding, "0"));
        off.expect("the host's setting");
        let scratch = world.env.scratch().join("other");
        std::fs::create_dir(&scratch).expect("a directory");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-c", ENTER, "sh"])
            .arg(&debian.root)
            .args([&scratch, world.env.scratch(), &target()]);
        let holder = Killed::start(world.host.enter(&command));
        let entered = holder.root().join("run/entered");
        deadline_of("the host's root", || entered.exists().then_some(()));
        world.inside = Some(holder.0.id());
        Self {
            world,
            programs: Mutex::default(),
            holder,
            _debian: debian,
        }
    }

    /// A file of its, seen from outside.
    pub fn file(&self, path: &str) -> PathBuf {
        self.holder.root().join(path.trim_start_matches('/'))
    }

    /// Runs a program of its.
    #[track_caller]
    pub fn run(&self, line: &str) -> Ran {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        Background::start(self.world.enter(&command), b"").wait()
    }

    /// Starts a shell's line there that goes on, with processes of its own.
    pub fn start(&self, line: &str) {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child=KILL"])
            .args(["sh", "-c"])
            .arg(format!("mount -t proc proc /proc && exec {line}"));
        let started = Killed::start(self.world.enter(&command));
        self.programs.lock().expect("no panic").push(started);
    }

    /// Kills what was started.
    pub fn end_all(&self) {
        self.programs.lock().expect("no panic").clear();
    }
}

impl Default for DebianHost {
    fn default() -> Self {
        Self::new()
    }
}

/// The root file system, made once for the tests that need it at the same time.
struct Debian {
    root: PathBuf,
    _env: TestEnvironment,
}

impl Debian {
    #[track_caller]
    fn shared() -> Arc<Debian> {
        static SHARED: Mutex<Weak<Debian>> = Mutex::new(Weak::new());
        let mut shared = SHARED
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(debian) = shared.upgrade() {
            return debian;
        }
        let env = TestEnvironment::new();
        env.share_downloads();
        let suite = ["-o", "suite=trixie", "-o", "variant=minbase"];
        let create = ["-q", "create", "other", "-t", "debian", "--privileged"];
        let words = [&create[..], &suite, &["-o", PACKAGES]].concat();
        env.sampan(&words).ok();
        let debian = Arc::new(Debian {
            root: env.state().join("other/rootfs"),
            _env: env,
        });
        *shared = Arc::downgrade(&debian);
        debian
    }
}

struct Killed(Child);

impl Killed {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        Self(child.expect("nsenter"))
    }

    fn root(&self) -> PathBuf {
        Path::new("/proc")
            .join(self.0.id().to_string())
            .join("root")
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
