//! What a config file means.

use std::path::{Path, PathBuf};

use super::file::{ConfigFile, Line};
use super::legacy::modernise;
use super::mounts::{MountEntry, ProcMount, SysMount};
use super::values::{
    Capabilities, CgroupSetting, ResourceLimit, capability, flag, resource_limit, signal,
};
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
    /// Understands a config file.
    ///
    /// # Errors
    /// The first line that is wrong or not supported, with its place.
    pub fn of(file: &ConfigFile) -> Result<Settings> {
        let mut reader = Reader {
            file,
            settings: Settings::empty(),
            drop: Vec::new(),
            keep: None,
            entries: Vec::new(),
        };
        for line in modernise(file.lines()) {
            reader.line(&line)?;
        }
        reader.finish()
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
            init: vec!["/sbin/init".to_owned()],
            init_directory: None,
            environment: Vec::new(),
            halt_signal: None,
            reboot_signal: None,
            limits: Vec::new(),
            no_new_privileges: false,
        }
    }
}

struct Reader<'a> {
    file: &'a ConfigFile,
    settings: Settings,
    drop: Vec<u32>,
    keep: Option<Vec<u32>>,
    entries: Vec<Line>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line) -> Result<()> {
        let value = line.value.as_str();
        let s = &mut self.settings;
        let wrong = |what: &str| error(self.file, line, &format!("= {value} {what}"));
        let refused = |what: &str| error(self.file, line, what);
        let number = || value.parse::<u32>().map_err(|_| wrong("is not a number"));
        let boolean = || flag(value).ok_or_else(|| wrong("is neither 0 nor 1"));
        let a_signal = || signal(value).ok_or_else(|| wrong("is not a signal"));
        // A key whose only accepted values change nothing here.
        let only = |accepted: &[&str]| {
            if accepted.contains(&value) {
                Ok(())
            } else {
                Err(wrong("is not supported"))
            }
        };
        if let Some(key) = line.key.strip_prefix("lxc.cgroup2.") {
            return self.cgroup(true, key, line);
        }
        if let Some(key) = line.key.strip_prefix("lxc.cgroup.") {
            return self.cgroup(false, key, line);
        }
        if let Some(name) = line.key.strip_prefix("lxc.prlimit.") {
            s.limits.retain(|limit| limit.name != name);
            if !value.is_empty() {
                let limit = resource_limit(name, value)
                    .ok_or_else(|| wrong("is not a limit of getrlimit(2)"))?;
                s.limits.push(limit);
            }
            return Ok(());
        }
        if let Some(rest) = line.key.strip_prefix("lxc.net.") {
            let (_, name) = rest.split_once('.').unwrap_or((rest, ""));
            return match (name, value) {
                ("type", "empty") => Ok(()),
                ("type", _) => Err(wrong("is not supported yet; only \"empty\" is")),
                ("flags", "up") => Ok(()),
                _ => Err(refused("is not supported for a network of type empty")),
            };
        }
        match line.key.as_str() {
            "lxc.uts.name" => {
                if value.len() > 64 {
                    return Err(wrong("is longer than the 64 bytes of a host name"));
                }
                s.host_name = (!value.is_empty()).then(|| value.to_owned());
            }
            "lxc.arch" => only(SAME_ARCHITECTURE).map_err(|_| {
                wrong("is not the architecture of this machine; others are not supported")
            })?,
            "lxc.rootfs.path" => {
                let path = match value.split_once(':') {
                    Some(("dir", path)) => path,
                    Some((kind, _)) if !kind.contains('/') => {
                        return Err(wrong("is not a directory; only dir:PATH is supported"));
                    }
                    _ => value,
                };
                if !Path::new(path).is_absolute() {
                    return Err(wrong("is not an absolute path"));
                }
                s.rootfs = PathBuf::from(path);
            }
            "lxc.rootfs.options" => {
                for option in value.split(',').filter(|option| !option.is_empty()) {
                    match option {
                        "idmap=container" => s.rootfs_mapped = true,
                        "ro" => s.rootfs_read_only = true,
                        "rw" => s.rootfs_read_only = false,
                        _ => return Err(wrong("has an option that is not supported")),
                    }
                }
            }
            "lxc.idmap" => self.id_map(line)?,
            "lxc.mount.auto" => self.mount_auto(line)?,
            "lxc.mount.entry" if value.is_empty() => self.entries.clear(),
            // They need the rootfs, which may come later.
            "lxc.mount.entry" => self.entries.push(line.clone()),
            "lxc.cap.drop" | "lxc.cap.keep" => {
                let mut numbers = Vec::new();
                for word in value.split_whitespace().filter(|word| *word != "none") {
                    numbers.push(
                        capability(word).ok_or_else(|| {
                            wrong(&format!("names the unknown capability {word}"))
                        })?,
                    );
                }
                match (line.key.ends_with("drop"), value.is_empty()) {
                    (true, true) => self.drop.clear(),
                    (true, false) => self.drop.extend(numbers),
                    (false, true) => self.keep = None,
                    (false, false) => self.keep.get_or_insert_default().extend(numbers),
                }
            }
            "lxc.autodev" => s.autodev = boolean()?,
            "lxc.tty.max" => {
                s.ttys = number()?;
                if s.ttys > 16 {
                    return Err(wrong("is more than the 16 terminals supported"));
                }
            }
            "lxc.pty.max" => s.ptys = number()?,
            "lxc.console.logfile" => {
                s.console_log = (!value.is_empty()).then(|| PathBuf::from(value));
                if s.console_log
                    .as_ref()
                    .is_some_and(|path| path.is_relative())
                {
                    return Err(wrong("is not an absolute path"));
                }
            }
            "lxc.init.cmd" => {
                let words: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
                if words.first().is_none_or(|word| !word.starts_with('/')) {
                    return Err(wrong("does not begin with an absolute path"));
                }
                s.init = words;
            }
            "lxc.init.cwd" => s.init_directory = (!value.is_empty()).then(|| PathBuf::from(value)),
            "lxc.environment" if value.is_empty() => s.environment.clear(),
            "lxc.environment" => match value.split_once('=') {
                Some((key, text)) if !key.is_empty() => {
                    s.environment.push((key.to_owned(), text.to_owned()));
                }
                _ => return Err(wrong("is not KEY=VALUE")),
            },
            "lxc.signal.halt" => s.halt_signal = Some(a_signal()?),
            "lxc.signal.reboot" => s.reboot_signal = Some(a_signal()?),
            "lxc.signal.stop" => {
                if a_signal()? != libc::SIGKILL {
                    return Err(wrong("is not supported; only SIGKILL is"));
                }
            }
            "lxc.no_new_privs" => s.no_new_privileges = boolean()?,
            // Truly without effect: where LXC assembles the rootfs on the host (here nobody sees
            // that), what its tools record, and defaults said aloud.
            "lxc.rootfs.mount" | "lxc.log.level" | "lxc.log.file" | "lxc.group" => {}
            "lxc.start.auto" | "lxc.ephemeral" | "lxc.log.syslog" | "lxc.monitor.unshare" => {
                only(&["", "0"])?;
            }
            "lxc.rootfs.managed" => only(&["1"])?,
            "lxc.hook.version" => only(&["0", "1"])?,
            "lxc.tty.dir" | "lxc.mount.fstab" | "lxc.seccomp.profile" | "lxc.selinux.context" => {
                only(&[""])?;
            }
            "lxc.console.path" => only(&["", "none"])?,
            "lxc.apparmor.profile"
            | "lxc.apparmor.allow_nesting"
            | "lxc.apparmor.allow_incomplete" => {
                if value != "unconfined" && apparmor_is_enabled() {
                    return Err(wrong("is not supported yet; only \"unconfined\" is"));
                }
            }
            "lxc.include" => {
                return Err(refused(
                    "is not supported; copy the lines of that file here",
                ));
            }
            key if key.starts_with("sampan.") => {}
            _ => return Err(refused("is not supported")),
        }
        Ok(())
    }

    fn cgroup(&mut self, version_2: bool, key: &str, line: &Line) -> Result<()> {
        if ["dir", "relative"].contains(&key) || key.starts_with("dir.") {
            return Err(error(self.file, line, "is not supported"));
        }
        if line.value.is_empty() {
            let known = &mut self.settings.cgroup;
            known.retain(|setting| setting.version_2 != version_2 || setting.key != key);
            return Ok(());
        }
        self.settings.cgroup.push(CgroupSetting {
            version_2,
            key: key.to_owned(),
            value: line.value.clone(),
            place: place(self.file, line),
        });
        Ok(())
    }

    fn id_map(&mut self, line: &Line) -> Result<()> {
        if line.value.is_empty() {
            self.settings.user_map.clear();
            self.settings.group_map.clear();
            return Ok(());
        }
        let words: Vec<&str> = line.value.split_whitespace().collect();
        let wrong = || {
            let what = format!("= {} is not \"u|g|b INSIDE HOST COUNT\"", line.value);
            error(self.file, line, &what)
        };
        let [which, inside, host, count] = words[..] else {
            return Err(wrong());
        };
        let number = |word: &str| word.parse::<u32>().map_err(|_| wrong());
        let mapping = IdMapping {
            inside: number(inside)?,
            host: number(host)?,
            count: number(count)?,
        };
        let fits = |start: u32| start.checked_add(mapping.count).is_some();
        if mapping.count == 0 || !fits(mapping.inside) || !fits(mapping.host) {
            return Err(wrong());
        }
        match which {
            "u" => self.settings.user_map.push(mapping),
            "g" => self.settings.group_map.push(mapping),
            "b" => {
                self.settings.user_map.push(mapping);
                self.settings.group_map.push(mapping);
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    fn mount_auto(&mut self, line: &Line) -> Result<()> {
        let s = &mut self.settings;
        if line.value.is_empty() {
            (s.proc, s.sys) = (None, None);
        }
        for word in line.value.split_whitespace() {
            match word {
                "proc" | "proc:mixed" => s.proc = Some(ProcMount::Mixed),
                "proc:rw" => s.proc = Some(ProcMount::ReadWrite),
                "sys" | "sys:mixed" => s.sys = Some(SysMount::Mixed),
                "sys:ro" => s.sys = Some(SysMount::ReadOnly),
                "sys:rw" => s.sys = Some(SysMount::ReadWrite),
                // The guest always gets its own writable cgroup2 tree at /sys/fs/cgroup.
                "cgroup" | "cgroup:mixed" | "cgroup:rw" | "cgroup:mixed:force"
                | "cgroup:rw:force" => {}
                _ => {
                    let what = format!("= {word} is not supported");
                    return Err(error(self.file, line, &what));
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Settings> {
        let file = self.file.path().display();
        let s = &mut self.settings;
        if s.rootfs.as_os_str().is_empty() {
            return Err(Error::user(format!("{file}: lxc.rootfs.path is missing")));
        }
        for line in &self.entries {
            let entry = MountEntry::parse(&line.value, &s.rootfs, &place(self.file, line))
                .map_err(|what| error(self.file, line, &format!("= {} {what}", line.value)))?;
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
        if s.rootfs_mapped && s.user_map.is_empty() {
            return Err(Error::user(format!(
                "{file}: lxc.rootfs.options has idmap=container, but there is no lxc.idmap"
            )));
        }
        Ok(self.settings)
    }
}

#[cfg(target_arch = "x86_64")]
const SAME_ARCHITECTURE: &[&str] = &["x86_64", "amd64", "linux64"];
#[cfg(target_arch = "aarch64")]
const SAME_ARCHITECTURE: &[&str] = &["aarch64", "arm64", "linux64"];

fn apparmor_is_enabled() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with('Y'))
}

fn place(file: &ConfigFile, line: &Line) -> String {
    format!("{}:{}", file.path().display(), line.number)
}

fn error(file: &ConfigFile, line: &Line, what: &str) -> Error {
    Error::user(format!("{}: {} {what}", place(file, line), line.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
