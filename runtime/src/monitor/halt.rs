//! Which signal asks a guest's init to halt.

use std::fs;

/// The signal: what the config says; or what systemd takes; or what LXC's other inits take; or
/// none, when init listens to neither and would only ignore them.
pub(super) fn signal_for(configured: Option<i32>, init: i32) -> Option<i32> {
    if configured.is_some() {
        return configured;
    }
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap_or_default();
    choose(&status)
}

/// Whether init would notice a signal: it catches it, or blocks it to read it from a descriptor,
/// as systemd does. While it boots it may do neither yet, and the kernel then drops the signal.
pub(super) fn is_heard(signal: i32, init: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap_or_default();
    listens(&status, signal)
}

fn choose(status: &str) -> Option<i32> {
    [libc::SIGRTMIN() + 3, libc::SIGPWR]
        .into_iter()
        .find(|signal| listens(status, *signal))
}

fn listens(status: &str, signal: i32) -> bool {
    ["SigBlk:", "SigCgt:"].iter().any(|field| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| (1..=64).contains(&signal) && mask & (1 << (signal - 1)) != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_sysvinit_and_a_deaf_init_are_told_apart() {
        let systemd = "Name:\tsystemd\nSigBlk:\t7fe3c0fe28014a03\nSigCgt:\t00000000000004ec\n";
        assert_eq!(choose(systemd), Some(libc::SIGRTMIN() + 3));
        let other = format!("SigBlk:\t0\nSigCgt:\t{:016x}\n", 1u64 << (libc::SIGPWR - 1));
        assert_eq!(choose(&other), Some(libc::SIGPWR));
        assert_eq!(choose("SigBlk:\t0\nSigCgt:\t0\n"), None);
    }
}
