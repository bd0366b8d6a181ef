//! What a config says of the monitor itself.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use crate::config::Settings;
use crate::error::{Result, Tried};
use crate::sys::namespace;

/// Obeys `lxc.log.file` and `lxc.monitor.unshare`. Before anything is opened or run.
pub(super) fn obey(settings: &Settings) -> Result<()> {
    if let Some(path) = &settings.log.file {
        let what = || format!("log to {} (lxc.log.file)", path.display());
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)
            .tried(what)?;
        nix::unistd::dup2_stderr(&log).tried(what)?;
    }
    if settings.monitor_unshare {
        namespace::unshare_mounts()
            .tried(|| "get a mount namespace of its own (lxc.monitor.unshare)".to_owned())?;
    }
    Ok(())
}
