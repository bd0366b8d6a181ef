//! Which signals ask a guest's init to halt or to reboot.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long after its start an init may not listen yet, and how long after the request it gets in
/// any case.
const BOOT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(1);

/// A signal that init did not listen to when it was sent. The kernel dropped it, so it is sent again
/// as soon as init listens, and something else is done if it never does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unheard {
    pub(super) signal: i32,
    pub(super) give_up_at: Instant,
}

impl Unheard {
    pub(super) fn new(signal: i32, booted_at: Instant) -> Unheard {
        Unheard {
            signal,
            give_up_at: (Instant::now() + GRACE).max(booted_at + BOOT),
        }
    }
}

/// The signal to halt: what the config says, or else what init takes. `None`: init listens to
/// nothing and would only ignore it.
pub(super) fn signal_to_halt(configured: Option<i32>, init: i32) -> Option<i32> {
    configured.or_else(|| heard_signal_to_halt(init))
}

/// What init takes for a request to halt, whatever the config says.
pub(super) fn heard_signal_to_halt(init: i32) -> Option<i32> {
    choose_halt(Ears::of(init), is_busybox_init(init))
}

/// The signal to reboot, likewise.
pub(super) fn signal_to_reboot(configured: Option<i32>, init: i32) -> Option<i32> {
    let signal = configured.unwrap_or(if is_busybox_init(init) {
        libc::SIGTERM
    } else {
        libc::SIGINT
    });
    is_heard(signal, init).then_some(signal)
}

/// Whether init would notice a signal. While it boots it may not yet, and the kernel then drops the
/// signal.
pub(super) fn is_heard(signal: i32, init: i32) -> bool {
    Ears::of(init).hear(signal)
}

fn choose_halt(ears: Ears, busybox: bool) -> Option<i32> {
    // To BusyBox's init SIGTERM means to reboot.
    let candidates: &[i32] = if busybox {
        &[libc::SIGUSR1, libc::SIGUSR2]
    } else if ears.catch_everything() {
        &[libc::SIGTERM]
    } else {
        // systemd; sysvinit and upstart; and what every program of some manners takes.
        &[libc::SIGRTMIN() + 3, libc::SIGPWR, libc::SIGTERM]
    };
    candidates.iter().copied().find(|signal| ears.hear(*signal))
}

/// Signals that a process takes, as masks.
#[derive(Debug, Clone, Copy, Default)]
struct Ears {
    caught: u64,
    /// To be read from a descriptor, as systemd does, or waited for.
    blocked: u64,
}

impl Ears {
    fn of(pid: i32) -> Ears {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mut ears = Ears::parse(&status);
        ears.blocked |= awaited(pid).unwrap_or(0);
        ears
    }

    fn parse(status: &str) -> Ears {
        let mask = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
                .unwrap_or(0)
        };
        Ears {
            caught: mask("SigCgt:"),
            blocked: mask("SigBlk:"),
        }
    }

    fn hear(self, signal: i32) -> bool {
        (1..=64).contains(&signal) && (self.caught | self.blocked) & (1 << (signal - 1)) != 0
    }

    /// A language's runtime that catches whatever there is (Go's does) says nothing by it.
    fn catch_everything(self) -> bool {
        self.caught.count_ones() > 48
    }
}

/// What a process waits for in sigtimedwait(2), as BusyBox's init does. Its status does not show
/// these as blocked while it waits, so the set is read from where the system call got it.
fn awaited(pid: i32) -> Option<u64> {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let mut words = call.split(' ');
    let number: i64 = words.next()?.parse().ok()?;
    // The machine's own, and on 32 bits i386's old and everybody's new one.
    if ![libc::SYS_rt_sigtimedwait, 177, 421].contains(&number) {
        return None;
    }
    let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    let mut set = [0u8; 8];
    File::open(format!("/proc/{pid}/mem"))
        .and_then(|memory| memory.read_exact_at(&mut set, address))
        .ok()?;
    Some(u64::from_ne_bytes(set))
}

/// A guest that lies here only gets another signal.
fn is_busybox_init(init: i32) -> bool {
    let program = fs::read_link(format!("/proc/{init}/exe")).unwrap_or_default();
    let arguments = fs::read(format!("/proc/{init}/cmdline")).unwrap_or_default();
    let first = String::from_utf8_lossy(arguments.split(|byte| *byte == 0).next().unwrap_or(b""))
        .into_owned();
    let name = |path: &Path| path.file_name().map(|name| name.to_owned());
    name(&program).is_some_and(|name| name == "busybox")
        && name(Path::new(&first)).is_some_and(|name| name == "init" || name == "linuxrc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catching(signals: &[i32]) -> Ears {
        Ears {
            caught: signals.iter().fold(0, |mask, s| mask | 1 << (s - 1)),
            blocked: 0,
        }
    }

    #[test]
    fn systemd_sysvinit_busybox_and_a_deaf_init_are_told_apart() {
        let systemd = "Name:\tsystemd\nSigBlk:\t7fe3c0fe28014a03\nSigCgt:\t00000000000004ec\n";
        let systemd = Ears::parse(systemd);
        assert_eq!(choose_halt(systemd, false), Some(libc::SIGRTMIN() + 3));
        let sysvinit = catching(&[libc::SIGPWR, libc::SIGTERM]);
        assert_eq!(choose_halt(sysvinit, false), Some(libc::SIGPWR));
        let busybox = catching(&[libc::SIGUSR1, libc::SIGUSR2, libc::SIGTERM]);
        assert_eq!(choose_halt(busybox, true), Some(libc::SIGUSR1));
        assert_eq!(choose_halt(Ears::parse(""), false), None);
    }

    #[test]
    fn a_plain_program_and_one_that_catches_everything_get_sigterm() {
        let daemon = catching(&[libc::SIGTERM, libc::SIGUSR1]);
        assert_eq!(choose_halt(daemon, false), Some(libc::SIGTERM));
        let all: Vec<i32> = (1..=64).filter(|s| ![9, 19, 32, 33].contains(s)).collect();
        assert_eq!(choose_halt(catching(&all), false), Some(libc::SIGTERM));
    }

    #[test]
    fn nobody_is_waited_for_a_minute() {
        let long_ago = Instant::now() - Duration::from_secs(100);
        let unheard = Unheard::new(libc::SIGPWR, long_ago);
        assert!(unheard.give_up_at <= Instant::now() + GRACE);
        let booting = Unheard::new(libc::SIGPWR, Instant::now());
        assert!(booting.give_up_at <= Instant::now() + BOOT);
    }
}
