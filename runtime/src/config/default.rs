//! The config of a new container. Debian's `lxc-start` 5.0.2 boots it as it is.

use super::file::ConfigFile;
use crate::error::{Error, Result};
use crate::idmap::IdRange;
use crate::storage::RootPath;

/// What a new container's config is made of.
#[derive(Debug, Clone)]
pub struct NewConfig<'a> {
    /// The container's name, and its host name at first.
    pub name: &'a str,
    /// Where its rootfs will be when it is committed.
    pub rootfs: &'a RootPath,
    /// LXC's name of the architecture: `x86_64`, `aarch64`.
    pub arch: &'a str,
    /// Its ids; `None` makes it privileged: its root is the host's.
    pub ids: Option<IdRange>,
    /// The template's name.
    pub template: &'a str,
    /// The image it was made from.
    pub image: &'a str,
    /// Keys that the template asks for, as `lxc.signal.halt`.
    pub guest: &'a [(String, String)],
    /// Its `lxc.net.*` lines; without any it has loopback alone.
    pub network: &'a [(String, String)],
}

/// LXC's default for Debian (common.conf), which keeps a guest from the host's clock, modules,
/// ports and mandatory access control; and the audit log, which is the host's: a systemd that may
/// not read it does not fail at trying.
const DROPPED: &str = "mac_admin mac_override sys_time sys_module sys_rawio audit_read";

/// What a template may ask for: how its guest is addressed. Nothing of these reaches out of the
/// container, and a template is not trusted to decide what does.
const TEMPLATE_KEYS: [&str; 9] = [
    "lxc.signal.halt",
    "lxc.signal.reboot",
    "lxc.signal.stop",
    "lxc.init.cmd",
    "lxc.init.cwd",
    "lxc.environment",
    "lxc.tty.max",
    "lxc.pty.max",
    "lxc.cap.drop",
];

/// Writes the config of a new container.
///
/// # Errors
/// The template asks for a key that is not a template's to set.
pub fn default_config(new: &NewConfig<'_>) -> Result<ConfigFile> {
    let mut file = ConfigFile::new();
    file.push_comment(&format!(
        "Container {}, in the syntax of lxc.container.conf(5).",
        new.name
    ));
    file.push_comment("Lines that begin with \"sampan.\" are for sampan; LXC ignores them.");
    file.push("sampan.template", new.template);
    file.push("sampan.image", new.image);
    file.push_comment("");
    file.push("lxc.uts.name", new.name);
    file.push("lxc.arch", new.arch);
    file.push("lxc.rootfs.path", &new.rootfs.value());
    if let Some(ids) = new.ids {
        file.push_comment("");
        file.push_comment("Files keep the ids of the inside on disk; the mount shifts them.");
        file.push("lxc.rootfs.options", "idmap=container");
        for which in ["u", "g"] {
            file.push(
                "lxc.idmap",
                &format!("{which} 0 {} {}", ids.host_start, ids.count),
            );
        }
    }
    file.push_comment("");
    for (key, value) in new.network {
        file.push(key, value);
    }
    if new.network.is_empty() {
        file.push("lxc.net.0.type", "empty");
    }
    file.push("lxc.mount.auto", "proc:mixed sys:mixed");
    file.push(
        "lxc.mount.entry",
        "cgroup2 sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,create=dir 0 0",
    );
    // With the host's root inside, device nodes would be the host's devices.
    let more = if new.ids.is_none() { " mknod" } else { "" };
    file.push("lxc.cap.drop", &format!("{DROPPED}{more}"));
    file.push("lxc.tty.max", "0");
    file.push("lxc.pty.max", "1024");
    if !new.guest.is_empty() {
        file.push_comment("");
        file.push_comment("Asked for by the template.");
        for (key, value) in new.guest {
            if !TEMPLATE_KEYS.contains(&key.as_str()) || value.is_empty() {
                return Err(Error::user(format!(
                    "the template \"{}\" asks for \"{key} = {value}\", which a template may not set",
                    new.template
                ))
                .with_hint(format!("a template may set {}", TEMPLATE_KEYS.join(", "))));
            }
            file.push(key, value);
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::{Capabilities, Settings};
    use super::*;

    fn new(ids: Option<IdRange>) -> ConfigFile {
        with_guest(ids, ("lxc.signal.halt", "SIGRTMIN+3")).unwrap()
    }

    fn with_guest(ids: Option<IdRange>, (key, value): (&str, &str)) -> Result<ConfigFile> {
        default_config(&NewConfig {
            name: "web",
            rootfs: &RootPath::Dir("/var/lib/sampan/web/rootfs".into()),
            arch: std::env::consts::ARCH,
            ids,
            template: "debian",
            image: "abc",
            guest: &[(key.to_owned(), value.to_owned())],
            network: &[],
        })
    }

    #[test]
    fn a_template_cannot_reach_out_of_the_container() {
        assert!(with_guest(None, ("lxc.mount.entry", "/ host none bind")).is_err());
        assert!(with_guest(None, ("lxc.cap.drop", "")).is_err());
        let smuggled = with_guest(
            None,
            ("lxc.environment", "A=b\nlxc.mount.entry = / x none bind"),
        );
        let settings = Settings::of(&smuggled.unwrap()).unwrap();
        assert_eq!(settings.mounts.len(), 1);
    }

    #[test]
    fn it_is_understood_again() {
        let ids = IdRange {
            host_start: 1_048_576,
            count: 65_536,
        };
        let settings = Settings::of(&new(Some(ids))).unwrap();
        assert_eq!(settings.root_ids(), (1_048_576, 1_048_576));
        assert!(settings.rootfs_mapped);
        assert_eq!(settings.halt_signal, Some(libc::SIGRTMIN() + 3));
        assert_eq!(settings.mounts.len(), 1);
    }

    #[test]
    fn a_privileged_one_has_no_map_and_makes_no_device_nodes() {
        let settings = Settings::of(&new(None)).unwrap();
        assert!(settings.privileged());
        assert!(!settings.rootfs_mapped);
        let Capabilities::Drop(dropped) = settings.capabilities else {
            panic!("capabilities are dropped by name");
        };
        assert!(dropped.contains(&27));
    }
}
