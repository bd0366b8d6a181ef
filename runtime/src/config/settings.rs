//! What a config file means.

use std::path::PathBuf;

use super::effective::{Assignment, effective};
use super::file::ConfigFile;
use super::keys::{
    self, Autostart, CgroupDirectories, Console, DEV_BYTES, Hooks, INIT, Log, Namespaces, Seccomp,
};
use super::mount_options::MountIds;
use super::mounts::{MountEntry, ProcMount, SysMount, read_fstab};
use super::networks::{Network, NetworkKind, PortVlan, name_the_nameless};
use super::values::{Capabilities, CgroupSetting, ResourceLimit};
use crate::error::{Error, Result};
use crate::storage::RootPath;

/// A container's settings, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `lxc.uts.name`.
    pub host_name: Option<String>,
    /// `lxc.rootfs.path`.
    pub root: RootPath,
    /// Of that, the path of what is the container's own.
    pub rootfs: PathBuf,
    /// `lxc.rootfs.options = ro`.
    pub rootfs_read_only: bool,
    /// `lxc.rootfs.options = idmap=container`: ids on disk are those inside.
    pub rootfs_mapped: bool,
    /// `lxc.rootfs.options`: `MOUNT_ATTR_*` of the others.
    pub rootfs_attributes: u64,
    /// `lxc.idmap = u …`; empty for a privileged container.
    pub user_map: Vec<IdMapping>,
    /// `lxc.idmap = g …`.
    pub group_map: Vec<IdMapping>,
    /// `lxc.mount.auto = proc:…`.
    pub proc: Option<ProcMount>,
    /// `lxc.mount.auto = sys:…`.
    pub sys: Option<SysMount>,
    /// `lxc.mount.auto = cgroup:ro`: the guest's cgroup tree is read-only.
    pub cgroup_read_only: bool,
    /// `lxc.mount.entry`, in order.
    pub mounts: Vec<MountEntry>,
    /// `lxc.cap.drop` or `lxc.cap.keep`.
    pub capabilities: Capabilities,
    /// `lxc.cgroup.*` and `lxc.cgroup2.*`, in order.
    pub cgroup: Vec<CgroupSetting>,
    /// `lxc.autodev`: a fresh /dev.
    pub autodev: bool,
    /// `lxc.tty.max`.
    pub ttys: u32,
    /// `lxc.pty.max`.
    pub ptys: u32,
    /// `lxc.console.logfile`.
    pub console_log: Option<PathBuf>,
    /// `lxc.init.cmd`.
    pub init: Vec<String>,
    /// `lxc.init.cwd`.
    pub init_directory: Option<PathBuf>,
    /// `lxc.environment`.
    pub environment: Vec<(String, String)>,
    /// `lxc.signal.halt`.
    pub halt_signal: Option<i32>,
    /// `lxc.signal.reboot`.
    pub reboot_signal: Option<i32>,
    /// `lxc.prlimit.*`.
    pub limits: Vec<ResourceLimit>,
    /// `lxc.no_new_privs`.
    pub no_new_privileges: bool,
    /// `lxc.rootfs.mount`.
    pub rootfs_mount: Option<PathBuf>,
    /// `lxc.rootfs.managed`.
    pub rootfs_managed: bool,
    /// `lxc.mount.fstab`.
    pub fstab: Option<PathBuf>,
    /// `lxc.net.*`, by number.
    pub networks: Vec<Network>,
    /// `lxc.namespace.*`.
    pub namespaces: Namespaces,
    /// `lxc.cgroup.dir*`.
    pub cgroup_directories: CgroupDirectories,
    /// `lxc.cgroup.relative`.
    pub cgroup_relative: bool,
    /// `lxc.sysctl.*`: names with dots, and values.
    pub sysctls: Vec<(String, String)>,
    /// `lxc.proc.*`: names of files in /proc/PID, and values.
    pub proc_files: Vec<(String, String)>,
    /// `lxc.sched.core`.
    pub core_scheduling: bool,
    /// `lxc.seccomp.*`.
    pub seccomp: Seccomp,
    /// `lxc.selinux.context`.
    pub selinux_context: Option<String>,
    /// `lxc.autodev.tmpfs.size`, in bytes.
    pub autodev_bytes: u64,
    /// `lxc.console.*` (but for the log file) and `lxc.tty.dir`.
    pub console: Console,
    /// `lxc.init.uid`.
    pub init_uid: u32,
    /// `lxc.init.gid`.
    pub init_gid: u32,
    /// `lxc.init.groups`.
    pub init_groups: Vec<u32>,
    /// `lxc.execute.cmd`; empty if there is none.
    pub execute: Vec<String>,
    /// `lxc.signal.stop`.
    pub stop_signal: Option<i32>,
    /// `lxc.hook.*`.
    pub hooks: Hooks,
    /// `lxc.start.*` and `lxc.group`.
    pub autostart: Autostart,
    /// `lxc.ephemeral`.
    pub ephemeral: bool,
    /// `lxc.monitor.unshare`.
    pub monitor_unshare: bool,
    /// `lxc.monitor.signal.pdeath`; 0 is none.
    pub death_signal: i32,
    /// `lxc.log.*`.
    pub log: Log,
}

/// One line of `lxc.idmap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct IdMapping {
    /// The first id inside.
    pub inside: u32,
    /// The first id on the host.
    pub host: u32,
    /// How many.
    pub count: u32,
}

impl Settings {
    /// Understands a config file, and those it includes.
    ///
    /// # Errors
    /// The first line that is wrong or not supported, with its place.
    pub fn of(file: &ConfigFile) -> Result<Settings> {
        let (settings, problems) = read(file);
        match problems.into_iter().next() {
            Some(problem) => Err(problem.into()),
            None => Ok(settings),
        }
    }

    /// Whether the guest's root is the host's root.
    pub fn privileged(&self) -> bool {
        self.user_map.is_empty()
    }

    /// The host's ids of the guest's root: user and group.
    pub fn root_ids(&self) -> (u32, u32) {
        let root = |map: &[IdMapping]| map.iter().find(|m| m.inside == 0).map_or(0, |m| m.host);
        (root(&self.user_map), root(&self.group_map))
    }

    /// All mounts, in order: those of the fstab, which is read now, before the entries.
    pub(crate) fn all_mounts(&self) -> Result<Vec<MountEntry>> {
        let mut mounts = match &self.fstab {
            Some(path) => read_fstab(path, &self.rootfs)?,
            None => Vec::new(),
        };
        mounts.extend(self.mounts.iter().cloned());
        Ok(mounts)
    }

    /// Whether it shares the host's network namespace: `lxc.net.N.type = none`, and nothing else.
    pub fn has_hosts_network(&self) -> bool {
        let is_none = |network: &Network| network.kind == NetworkKind::None;
        !self.networks.is_empty() && self.networks.iter().all(is_none)
    }

    fn empty() -> Settings {
        Settings {
            host_name: None,
            root: RootPath::Dir(PathBuf::new()),
            rootfs: PathBuf::new(),
            rootfs_read_only: false,
            rootfs_mapped: false,
            rootfs_attributes: 0,
            user_map: Vec::new(),
            group_map: Vec::new(),
            proc: None,
            sys: None,
            cgroup_read_only: false,
            mounts: Vec::new(),
            capabilities: Capabilities::Drop(Vec::new()),
            cgroup: Vec::new(),
            autodev: true,
            ttys: 0,
            ptys: 1024,
            console_log: None,
            init: vec![INIT.to_owned()],
            init_directory: None,
            environment: Vec::new(),
            halt_signal: None,
            reboot_signal: None,
            limits: Vec::new(),
            no_new_privileges: false,
            rootfs_mount: None,
            rootfs_managed: true,
            fstab: None,
            networks: Vec::new(),
            namespaces: Namespaces::default(),
            cgroup_directories: CgroupDirectories::default(),
            cgroup_relative: false,
            sysctls: Vec::new(),
            proc_files: Vec::new(),
            core_scheduling: false,
            seccomp: Seccomp::default(),
            selinux_context: None,
            autodev_bytes: DEV_BYTES,
            console: Console::default(),
            init_uid: 0,
            init_gid: 0,
            init_groups: Vec::new(),
            execute: Vec::new(),
            stop_signal: None,
            hooks: Hooks::default(),
            autostart: Autostart::default(),
            ephemeral: false,
            monitor_unshare: false,
            death_signal: libc::SIGKILL,
            log: Log::default(),
        }
    }
}

/// Settings while lines are being read.
pub(super) struct Draft {
    pub(super) settings: Settings,
    pub(super) drop: Vec<u32>,
    pub(super) keep: Option<Vec<u32>>,
    pub(super) entries: Vec<Assignment>,
}

/// All that keeps a config from being obeyed.
pub fn problems(file: &ConfigFile) -> Vec<Error> {
    read(file).1.into_iter().map(Error::from).collect()
}

/// Why a config cannot be obeyed: one line, or something missing.
#[derive(Debug)]
pub(super) struct Problem {
    /// `file:line`, or only the file.
    pub(super) place: String,
    /// The key and what is wrong with it.
    pub(super) what: String,
    hint: Option<String>,
}

/// Reads all that can be read, and says what cannot.
pub(super) fn read(file: &ConfigFile) -> (Settings, Vec<Problem>) {
    let mut draft = Draft {
        settings: Settings::empty(),
        drop: Vec::new(),
        keep: None,
        entries: Vec::new(),
    };
    let mut problems = Vec::new();
    let lines = effective(file).unwrap_or_else(|error| {
        problems.push(Problem {
            place: String::new(),
            what: error.chain(),
            hint: error.hint().map(str::to_owned),
        });
        Vec::new()
    });
    if problems.is_empty() {
        for line in lines {
            problems.extend(draft.line(&line).err());
        }
        draft.mounts(&mut problems);
        draft.networks(&mut problems);
        // Of what could not be read nothing is known.
        if problems.is_empty() {
            problems.extend(draft.whole().map_err(|what| whole(file, what)).err());
        }
    }
    (draft.settings, problems)
}

impl Draft {
    fn line(&mut self, line: &Assignment) -> Result<(), Problem> {
        let Some(key) = keys::find(&line.key) else {
            // What another version of sampan notes down for itself.
            if line.key.starts_with("sampan.") {
                return Ok(());
            }
            let mut problem = Problem::of(line, "is not supported: there is no such key");
            problem.hint = Some(match keys::nearest_to(&line.key).as_slice() {
                [] => "docs/config.md lists the keys".to_owned(),
                near => format!("did you mean {}?", near.join(" or ")),
            });
            return Err(problem);
        };
        key.apply(self, line)
            .map_err(|what| Problem::of(line, &what))
    }

    /// The mount entries, for which the rootfs must be known.
    fn mounts(&mut self, problems: &mut Vec<Problem>) {
        for line in &self.entries {
            match MountEntry::parse(&line.value, &self.settings.rootfs, &line.place()) {
                Ok(entry) => self.settings.mounts.push(entry),
                Err(what) => {
                    problems.push(Problem::of(line, &format!("= {} {what}", line.value)));
                }
            }
        }
    }

    fn networks(&mut self, problems: &mut Vec<Problem>) {
        name_the_nameless(&mut self.settings.networks);
        for network in &self.settings.networks {
            if let Err(what) = complete(network) {
                problems.push(Problem {
                    place: network.place.clone(),
                    what: format!("lxc.net.{} {what}", network.number),
                    hint: None,
                });
            }
        }
    }

    /// What can only be said when all lines are known.
    fn whole(&mut self) -> Result<(), &'static str> {
        let s = &mut self.settings;
        if s.rootfs.as_os_str().is_empty() {
            return Err("lxc.rootfs.path is missing");
        }
        let drop = std::mem::take(&mut self.drop);
        s.capabilities = match self.keep.take() {
            Some(_) if !drop.is_empty() => {
                return Err("lxc.cap.drop and lxc.cap.keep exclude each other");
            }
            Some(keep) => Capabilities::Keep(keep),
            None => Capabilities::Drop(drop),
        };
        if !s.namespaces.clone.is_empty() && !s.namespaces.keep.is_empty() {
            return Err("lxc.namespace.clone and lxc.namespace.keep exclude each other");
        }
        let has_root = |map: &[IdMapping]| map.iter().any(|m| m.inside == 0);
        let mapped = !s.user_map.is_empty() || !s.group_map.is_empty();
        if mapped && !(has_root(&s.user_map) && has_root(&s.group_map)) {
            return Err("lxc.idmap must map id 0 for users (u) and for groups (g)");
        }
        let mapped_mount = |entry: &MountEntry| entry.options.id_map == Some(MountIds::Container);
        if s.user_map.is_empty() && s.mounts.iter().any(mapped_mount) {
            return Err("lxc.mount.entry has idmap=container, but there is no lxc.idmap");
        }
        if s.rootfs_mapped && s.user_map.is_empty() {
            return Err("lxc.rootfs.options has idmap=container, but there is no lxc.idmap");
        }
        Ok(())
    }
}

/// Whether a network has what its kind needs.
fn complete(network: &Network) -> Result<(), &'static str> {
    let ports_vlans = network.port_vlan.is_some() || !network.tagged_vlans.is_empty();
    if let Some(PortVlan::Id(own)) = network.port_vlan
        && network.tagged_vlans.contains(&own)
    {
        return Err("has its veth.vlan.id among veth.vlan.tagged.id too");
    }
    match network.kind {
        NetworkKind::Empty | NetworkKind::None => Ok(()),
        NetworkKind::Veth if ports_vlans && network.link.is_none() => {
            Err("has veth.vlan.*, which are a bridge's, and no link")
        }
        NetworkKind::Veth => Ok(()),
        NetworkKind::Vlan if network.vlan.is_none() => Err("is a vlan without vlan.id"),
        _ if network.link.is_none() => Err("needs a link, the host's interface"),
        _ => Ok(()),
    }
}

impl Problem {
    fn of(line: &Assignment, what: &str) -> Problem {
        Problem {
            place: line.place(),
            what: format!("{} {what}", line.key),
            hint: None,
        }
    }
}

fn whole(file: &ConfigFile, what: &str) -> Problem {
    Problem {
        place: file.path().display().to_string(),
        what: what.to_owned(),
        hint: None,
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        let error = Error::user(if problem.place.is_empty() {
            problem.what
        } else {
            format!("{}: {}", problem.place, problem.what)
        });
        match problem.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn read(text: &str) -> Result<Settings> {
        let text = format!("lxc.rootfs.path = dir:/srv/rootfs\n{text}");
        Settings::of(&ConfigFile::parse(Path::new("/x/config"), &text))
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let error = read("# fine\nlxc.console.path = /dev/tty8\n").unwrap_err();
        assert_eq!(
            error.chain(),
            "/x/config:3: lxc.console.path is not supported"
        );
    }

    #[test]
    fn lists_add_up_and_an_empty_value_resets_them() {
        let settings = read(
            "lxc.cap.drop = sys_time\nlxc.cap.drop = sys_module mknod\nlxc.environment = A=b=c\n",
        )
        .unwrap();
        assert_eq!(settings.capabilities, Capabilities::Drop(vec![25, 16, 27]));
        assert_eq!(settings.environment, [("A".to_owned(), "b=c".to_owned())]);
        let settings = read("lxc.cap.drop = sys_time\nlxc.cap.drop =\n").unwrap();
        assert_eq!(settings.capabilities, Capabilities::Drop(Vec::new()));
    }

    #[test]
    fn the_maps_must_hold_root() {
        assert!(read("lxc.idmap = u 0 100000 65536\n").is_err());
        assert!(read("lxc.idmap = b 1 100000 65536\n").is_err());
        assert!(read("lxc.idmap = b 0 4294967295 65536\n").is_err());
        let settings =
            read("lxc.idmap = u 0 100000 65536\nlxc.id_map = g 0 200000 65536\n").unwrap();
        assert_eq!(settings.root_ids(), (100_000, 200_000));
    }

    #[test]
    fn the_handbooks_network_is_understood() {
        let settings = read(
            "lxc.utsname = testlxc\nlxc.network.type = veth\nlxc.network.flags = up\n\
             lxc.network.link = br0\nlxc.network.hwaddr = 4a:49:43:49:79:20\n",
        )
        .unwrap();
        let network = &settings.networks[0];
        assert_eq!((network.kind, network.up), (NetworkKind::Veth, true));
        assert_eq!(network.link.as_deref(), Some("br0"));
        let address = network.hardware.unwrap().filled(0);
        assert_eq!(address, [0x4a, 0x49, 0x43, 0x49, 0x79, 0x20]);
    }

    #[test]
    fn a_network_without_what_its_kind_needs_is_refused() {
        let error = read("lxc.net.3.type = macvlan\n").unwrap_err().chain();
        assert_eq!(
            error,
            "/x/config:2: lxc.net.3 needs a link, the host's interface"
        );
        assert!(read("lxc.net.0.type = vlan\nlxc.net.0.link = eth0\n").is_err());
        let settings = read("lxc.net.0.type = vlan\nlxc.net =\n").unwrap();
        assert!(settings.networks.is_empty());
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(
            key in "(lxc|sampan)\\.[a-z.0-9]{0,20}|lxc.idmap|lxc.mount.entry|lxc.mount.auto|lxc.cap.drop",
            value in ".{0,40}",
        ) {
            let _ = read(&format!("{key} = {value}\n"));
        }
    }
}
