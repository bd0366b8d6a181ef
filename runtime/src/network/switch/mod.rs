//! A switch of VDE on a network's bridge: virtual machines and other switches plug in there, as in the
//! rich network of the Debian Administrator's Handbook.
//!
//! The switch is Debian's `vde_switch`. A *keeper*, a process of ours, starts it with a tap interface,
//! makes that a port of the bridge, and does so again when the switch ends. The switch reads its
//! console from the keeper, and ends by itself when there is no keeper any more; the tap interface
//! goes with it.

mod keeper;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use self::keeper::keep;
use super::service::client::background;
use super::{link, netlink::Netlink};
use crate::error::{Error, Result, Tried};
use crate::run_directory::RunDirectory;

/// What there is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Switch {
    /// The network's bridge.
    pub(crate) bridge: String,
    /// The tap interface between both.
    pub(crate) tap: String,
    /// The directory of the switch's sockets, which plugs know it by.
    pub(crate) socket: PathBuf,
    /// Who may plug in beside root.
    pub(crate) group: Option<String>,
}

/// The words that make this program a keeper.
const COMMAND: [&str; 2] = ["network-service", "switch"];

/// Of the package vde2.
const PROGRAM: &str = "/usr/bin/vde_switch";

/// Lets the switch be as it is to be. `directory` is the network's own (`RUN/.networks/NAME`). The
/// caller has made the bridge, and is the only one at work there.
pub(super) fn ensure(directory: &Path, switch: &Switch) -> Result<()> {
    if is_running(directory, switch)? {
        return Ok(());
    }
    let run = place(directory);
    run.end()?;
    if !Path::new(PROGRAM).exists() {
        return Err(Error::environment(format!(
            "a network of the kind vde needs {PROGRAM}, which is not there"
        ))
        .with_hint("install it: apt-get install vde2"));
    }
    let orders = serde_json::to_string(switch).unwrap_or_default();
    let words = [directory.as_os_str(), orders.as_ref()];
    background(&directory.join("switch.log"), COMMAND, &words)
}

/// Whether it is: the keeper lives, and the tap interface is a port of the bridge.
pub(super) fn is_running(directory: &Path, switch: &Switch) -> Result<bool> {
    let orders = fs::read_to_string(orders_file(directory)).unwrap_or_default();
    if !place(directory).is_locked()? || serde_json::from_str(&orders).ok().as_ref() != Some(switch)
    {
        return Ok(false);
    }
    let what = || format!("look at the interface {}", switch.tap);
    let mut netlink = Netlink::here().tried(what)?;
    let bridge = link::find(&mut netlink, &switch.bridge).tried(what)?;
    let tap = link::find(&mut netlink, &switch.tap).tried(what)?;
    let bridge = bridge.map(|bridge| bridge.index);
    Ok(bridge.is_some() && tap.is_some_and(|tap| tap.controller == bridge))
}

/// Ends it, and returns when nothing of it is left.
pub(super) fn stop(directory: &Path) -> Result<()> {
    place(directory).end()
}

/// Where the keeper has its files, as long as it lives.
fn place(directory: &Path) -> RunDirectory {
    RunDirectory::at(directory.join("switch"))
}

fn orders_file(directory: &Path) -> PathBuf {
    directory.join("switch/orders")
}
