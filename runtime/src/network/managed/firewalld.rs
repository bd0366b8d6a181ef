//! firewalld, which refuses what comes from interfaces that it was not told of.
//!
//! Since version 2.1 its table belongs to it (nft(8), `flags owner`): nobody else can put a rule there.
//! So it is asked to put a bridge into its zone `trusted`, with the command that comes with it, and
//! only until it is reloaded: its files stay as they are. What a container may do is decided in our own
//! tables, which see the same packets.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result, Tried};
use crate::network::nft::{self, Family, Table, interface_name};

/// Comes with it, and only there: a program of the caller's PATH would run as root.
const PROGRAM: &str = "/usr/bin/firewall-cmd";

const TABLE: Table<'static> = Table {
    family: Family::Inet,
    name: "firewalld",
};

/// Whether it filters here.
pub(super) fn filters() -> io::Result<bool> {
    nft::has_table(TABLE)
}

/// Whether it was told of a bridge, by us or a person.
pub(super) fn knows(bridge: &str) -> io::Result<bool> {
    nft::mentions(TABLE, &interface_name(bridge))
}

/// Whether it lacks a bridge that it could be told of.
pub(super) fn lacks(bridge: &str) -> io::Result<bool> {
    Ok(filters()? && Path::new(PROGRAM).exists() && !knows(bridge)?)
}

/// Has it let a bridge through.
pub(super) fn open(bridge: &str) -> Result<()> {
    ask(&["--zone=trusted", &format!("--add-interface={bridge}")])
}

/// Takes that back. A zone that a person has chosen stays.
pub(super) fn close(bridge: &str) -> Result<()> {
    let what = || "look for the rules of firewalld".to_owned();
    if !filters().tried(what)? || !knows(bridge).tried(what)? || !Path::new(PROGRAM).exists() {
        return Ok(());
    }
    let interface = format!("--query-interface={bridge}");
    if ask(&["--zone=trusted", &interface]).is_err() {
        return Ok(());
    }
    ask(&["--zone=trusted", &format!("--remove-interface={bridge}")])
}

/// What a person can type where we could not.
pub(super) fn command(bridge: &str) -> String {
    format!("firewall-cmd --zone=trusted --add-interface={bridge}")
}

fn ask(arguments: &[&str]) -> Result<()> {
    let line = || format!("firewall-cmd {}", arguments.join(" "));
    let mut command = Command::new(PROGRAM);
    command
        .arg("--quiet")
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null());
    let output = command.output().tried(|| format!("run {}", line()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::environment(format!(
        "{} said: {}",
        line(),
        said.trim()
    )))
}
