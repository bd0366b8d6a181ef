//! Values of single keys: signals, capabilities, limits.

/// `lxc.cap.drop` or `lxc.cap.keep`, as numbers of capabilities(7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capabilities {
    /// All but these.
    Drop(Vec<u32>),
    /// These only.
    Keep(Vec<u32>),
}

/// A line of `lxc.cgroup.*` (version 1 words) or `lxc.cgroup2.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupSetting {
    /// Whether it speaks cgroup version 2.
    pub version_2: bool,
    /// The file.
    pub key: String,
    /// What to write.
    pub value: String,
    /// `file:line` for messages.
    pub place: String,
}

/// `lxc.prlimit.NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceLimit {
    /// The name in getrlimit(2), in small letters and without `RLIMIT_`.
    pub name: String,
    /// The number in the kernel.
    pub resource: u32,
    /// The soft limit, `u64::MAX` is none.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// capabilities(7), by number.
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The number of a capability, by name (with or without `cap_`) or number.
pub(super) fn capability(word: &str) -> Option<u32> {
    let lower = word.to_ascii_lowercase();
    let name = lower.strip_prefix("cap_").unwrap_or(&lower);
    CAPABILITIES
        .iter()
        .position(|known| *known == name)
        .map(|number| number as u32)
        .or_else(|| name.parse().ok().filter(|number| *number < 64))
}

/// A signal: `SIGTERM`, `TERM`, `SIGRTMIN+3`, `SIGRTMAX-1` or a number.
pub(crate) fn signal(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    if let Ok(number) = upper.parse::<i32>() {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = if let Some(rest) = name.strip_prefix("RTMIN") {
        Some((libc::SIGRTMIN(), rest))
    } else {
        name.strip_prefix("RTMAX")
            .map(|rest| (libc::SIGRTMAX(), rest))
    };
    if let Some((base, rest)) = real_time {
        let offset = match rest {
            "" => 0,
            _ => rest.parse::<i32>().ok()?,
        };
        return base
            .checked_add(offset)
            .filter(|n| (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(n));
    }
    format!("SIG{name}")
        .parse::<nix::sys::signal::Signal>()
        .ok()
        .map(|signal| signal as i32)
}

/// `soft[:hard]`, each a number or `unlimited`.
pub(super) fn resource_limit(name: &str, value: &str) -> Option<ResourceLimit> {
    let resource = match name {
        "cpu" => libc::RLIMIT_CPU,
        "fsize" => libc::RLIMIT_FSIZE,
        "data" => libc::RLIMIT_DATA,
        "stack" => libc::RLIMIT_STACK,
        "core" => libc::RLIMIT_CORE,
        "rss" => libc::RLIMIT_RSS,
        "nproc" => libc::RLIMIT_NPROC,
        "nofile" => libc::RLIMIT_NOFILE,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "as" => libc::RLIMIT_AS,
        "locks" => libc::RLIMIT_LOCKS,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        _ => return None,
    };
    let number = |text: &str| match text.trim() {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let (soft, hard) = (number(soft)?, number(hard)?);
    (soft <= hard).then(|| ResourceLimit {
        name: name.to_owned(),
        resource,
        soft,
        hard,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_number_and_offset() {
        assert_eq!(signal("SIGPWR"), Some(libc::SIGPWR));
        assert_eq!(signal("usr1"), Some(libc::SIGUSR1));
        assert_eq!(signal("SIGRTMIN+3"), Some(libc::SIGRTMIN() + 3));
        assert_eq!(signal("RTMAX-1"), Some(libc::SIGRTMAX() - 1));
        assert_eq!(signal("15"), Some(15));
        for wrong in ["", "SIG", "0", "-3", "SIGRTMIN+99", "SIGNOPE", "1000"] {
            assert_eq!(signal(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn capabilities_have_the_kernels_numbers() {
        assert_eq!(capability("sys_module"), Some(16));
        assert_eq!(capability("CAP_MKNOD"), Some(27));
        assert_eq!(capability("checkpoint_restore"), Some(40));
        assert_eq!(capability("sys_modul"), None);
    }

    #[test]
    fn resource_limits_have_a_soft_and_a_hard_part() {
        let limit = resource_limit("nofile", "1024:unlimited").unwrap();
        assert_eq!((limit.soft, limit.hard), (1024, u64::MAX));
        assert!(resource_limit("nofile", "2:1").is_none());
        assert!(resource_limit("files", "1").is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_value_makes_a_parser_panic(text in ".*") {
            signal(&text);
            capability(&text);
            resource_limit("nofile", &text);
        }
    }
}
