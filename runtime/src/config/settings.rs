//! What a config file means.

use std::path::PathBuf;

use super::effective::{Assignment, effective};
use super::file::ConfigFile;
use super::keys::{
    self, Autostart, CgroupDirectories, Console, DEV_BYTES, Hooks, INIT, Log, Namespaces, Seccomp,
};
use super::mount_options::MountIds;
use super::mounts::{MountEntry, ProcMount, SysMount, read_fstab};
use super::values::{Capabilities, CgroupSetting, ResourceLimit};
use crate::error::{Error, Result};

/// A container's settings, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `lxc.uts.name`.
    pub host_name: Option<String>,
    /// `lxc.rootfs.path`, a directory.
    pub rootfs: PathBuf,
    /// `lxc.rootfs.options = ro`.
    pub rootfs_read_only: bool,
    /// `lxc.rootfs.options = idmap=container`: ids on disk are those inside.
    pub rootfs_mapped: bool,
    /// `lxc.idmap = u …`; empty for a privileged container.
    pub user_map: Vec<IdMapping>,
    /// `lxc.idmap = g …`.
    pub group_map: Vec<IdMapping>,
    /// `lxc.mount.auto = proc:…`.
    pub proc: Option<ProcMount>,
    /// `lxc.mount.auto = sys:…`.
    pub sys: Option<SysMount>,
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
        let mut draft = Draft {
            settings: Settings::empty(),
            drop: Vec::new(),
            keep: None,
            entries: Vec::new(),
        };
        for line in effective(file)? {
            // What sampan notes down for itself.
            if line.key.starts_with("sampan.") {
                continue;
            }
            let Some(key) = keys::find(&line.key) else {
                return Err(unknown(&line));
            };
            key.apply(&mut draft, &line)
                .map_err(|what| error(&line, &what))?;
        }
        draft.finish(file)
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

    fn empty() -> Settings {
        Settings {
            host_name: None,
            rootfs: PathBuf::new(),
            rootfs_read_only: false,
            rootfs_mapped: false,
            user_map: Vec::new(),
            group_map: Vec::new(),
            proc: None,
            sys: None,
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

impl Draft {
    /// What can only be said when all lines are known.
    fn finish(mut self, file: &ConfigFile) -> Result<Settings> {
        let file = file.path().display();
        let s = &mut self.settings;
        if s.rootfs.as_os_str().is_empty() {
            return Err(Error::user(format!("{file}: lxc.rootfs.path is missing")));
        }
        for line in &self.entries {
            let entry = MountEntry::parse(&line.value, &s.rootfs, &line.place())
                .map_err(|what| error(line, &format!("= {} {what}", line.value)))?;
            s.mounts.push(entry);
        }
        s.capabilities = match self.keep {
            Some(_) if !self.drop.is_empty() => {
                return Err(Error::user(format!(
                    "{file}: lxc.cap.drop and lxc.cap.keep exclude each other"
                )));
            }
            Some(keep) => Capabilities::Keep(keep),
            None => Capabilities::Drop(self.drop),
        };
        let has_root = |map: &[IdMapping]| map.iter().any(|m| m.inside == 0);
        let mapped = !s.user_map.is_empty() || !s.group_map.is_empty();
        if mapped && !(has_root(&s.user_map) && has_root(&s.group_map)) {
            return Err(Error::user(format!(
                "{file}: lxc.idmap must map id 0 for users (u) and for groups (g)"
            )));
        }
        let mapped_mount = |entry: &&MountEntry| entry.options.id_map == Some(MountIds::Container);
        if let Some(entry) = s.mounts.iter().find(mapped_mount)
            && s.user_map.is_empty()
        {
            return Err(Error::user(format!(
                "{}: lxc.mount.entry has idmap=container, but there is no lxc.idmap",
                entry.place
            )));
        }
        if s.rootfs_mapped && s.user_map.is_empty() {
            return Err(Error::user(format!(
                "{file}: lxc.rootfs.options has idmap=container, but there is no lxc.idmap"
            )));
        }
        Ok(self.settings)
    }
}

/// A line that cannot be obeyed, with its place.
fn error(line: &Assignment, what: &str) -> Error {
    Error::user(format!("{}: {} {what}", line.place(), line.key))
}

fn unknown(line: &Assignment) -> Error {
    let error = error(line, "is not supported: there is no such key");
    match keys::nearest_to(&line.key).as_slice() {
        [] => error.with_hint("docs/config.md lists the keys"),
        near => error.with_hint(format!("did you mean {}?", near.join(" or "))),
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
        let error = read("# fine\nlxc.hook.start = /bin/evil\n").unwrap_err();
        assert_eq!(
            error.chain(),
            "/x/config:3: lxc.hook.start is not supported"
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
    fn a_handbook_config_says_which_line_is_not_supported_yet() {
        let error = read("lxc.utsname = testlxc\nlxc.network.type = veth\n").unwrap_err();
        assert_eq!(
            error.chain(),
            "/x/config:3: lxc.net.0.type = veth is not supported yet; only \"empty\" is"
        );
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
