//! From a container on disk to a monitor with a running init.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::control::Control;
use super::terminal::Terminal;
use super::{Monitor, boot, now};
use crate::container::{Container, check_rootfs};
use crate::error::{Error, Reason, Result, Tried};

impl Monitor {
    pub(super) fn start(container: Container) -> Result<Monitor> {
        let run = container.run_directory();
        let Some(lock) = run.lock()? else {
            return Err(Error::user("it is already running").with_reason(Reason::Running));
        };
        let begun = (|| {
            let settings = container.settings()?;
            check_rootfs(&settings.rootfs)?;
            // Only when they are asked for: the guest's init, not this process, gets the rest.
            let mut mask = SigSet::empty();
            for signal in [
                Signal::SIGTERM,
                Signal::SIGINT,
                Signal::SIGHUP,
                Signal::SIGPIPE,
            ] {
                mask.add(signal);
            }
            let what = || "set up signals".to_owned();
            mask.thread_block().tried(what)?;
            let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
            let signals = SignalFd::with_flags(&mask, flags).tried(what)?;
            let control = Control::new(run.listen()?)?;
            let owner = settings.root_ids();
            let log = container.console_log();
            let log = settings.console_log.as_deref().unwrap_or(&log);
            let console = Terminal::open(owner, Some(log))?;
            let ttys = (0..settings.ttys)
                .map(|_| Terminal::open(owner, None))
                .collect::<Result<Vec<_>>>()?;
            let cgroup = container.cgroup()?;
            Ok((settings, signals, control, console, ttys, cgroup))
        })();
        let (settings, signals, control, console, ttys, cgroup) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let _ = run.remove();
                return Err(error);
            }
        };
        let (init, network) = match boot::boot(&container, &settings, &cgroup, &console, &ttys) {
            Ok(booted) => booted,
            Err(error) => {
                for failed in [cgroup.kill(), cgroup.remove(), run.remove()] {
                    if let Err(error) = failed {
                        eprintln!("{}", error.chain());
                    }
                }
                return Err(error);
            }
        };
        Ok(Monitor {
            container,
            settings,
            cgroup,
            console,
            ttys,
            control,
            signals,
            init,
            network,
            started_at: now(),
            stopping: false,
            unheard: None,
            _lock: lock,
        })
    }
}
