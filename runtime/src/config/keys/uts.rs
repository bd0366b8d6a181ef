//! Host name and architecture.

use super::Key;
use super::value::text;

#[cfg(target_arch = "x86_64")]
const SAME_ARCHITECTURE: &[&str] = &["x86_64", "amd64", "linux64"];
#[cfg(target_arch = "aarch64")]
const SAME_ARCHITECTURE: &[&str] = &["aarch64", "arm64", "linux64"];

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.uts.name",
        "NAME",
        "the host name; without it the container's name",
        |draft, line| {
            if line.value.len() > 64 {
                return Err(line.wrong("is longer than the 64 bytes of a host name"));
            }
            draft.settings.host_name = text(line);
            Ok(())
        },
    ),
    Key::new(
        "lxc.arch",
        "ARCHITECTURE",
        "the guest's architecture; only that of this machine is supported",
        |_, line| {
            if line.value.is_empty() || SAME_ARCHITECTURE.contains(&line.value.as_str()) {
                return Ok(());
            }
            Err(line.wrong("is not the architecture of this machine; others are not supported"))
        },
    ),
];
