//! Settings of the kernel's below /proc/sys/net, of the network namespace of this process
//! (Documentation/networking/ip-sysctl).

use std::fs;

use crate::error::{Error, Result, Tried};

/// The value of a setting, as `ipv4/ip_forward`.
pub(crate) fn read(key: &str) -> Result<String> {
    let path = format!("/proc/sys/net/{key}");
    let text = fs::read_to_string(&path).tried(|| format!("read {path}"))?;
    Ok(text.trim().to_owned())
}

/// Looks whether a setting that is the host's affair is 1.
///
/// # Errors
/// It is not, with the command that makes it so.
pub(crate) fn must_be_on(key: &str, for_whom: &str) -> Result<()> {
    if read(key)? == "1" {
        return Ok(());
    }
    let key = format!("net/{key}=1");
    Err(
        Error::environment(format!("{for_whom} needs the kernel's setting {key}"))
            .with_hint(format!("sysctl -w {key}")),
    )
}

/// Gives it another value.
pub(crate) fn write(key: &str, value: &str) -> Result<()> {
    if read(key)? == value {
        return Ok(());
    }
    let path = format!("/proc/sys/net/{key}");
    fs::write(&path, value).tried(|| format!("write {value} to {path}"))
}
