//! Starting, changing and ending a network's service.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::control::{self, Problem};
use super::place::Place;
use super::sockets::Endpoints;
use super::supervisor::{index_of, network_namespace};
use super::table::Table;
use crate::container::must_be_root;
use crate::error::{Error, Result, Tried};

/// The words that make this program a supervisor.
pub(super) const COMMAND: [&str; 2] = ["network-service", "run"];

/// See [`super::ensure`].
pub(super) fn ensure(directory: &Path, bridge: &str, table: &Table) -> Result<()> {
    must_be_root("answer names in a network")?;
    if Endpoints::of(table).is_empty() {
        return stop(directory);
    }
    let place = Place::of(directory);
    loop {
        let _turn = place.turn()?;
        table.write(&place.table())?;
        let Some(stream) = place.run().reach()? else {
            return start(&place, directory, bridge);
        };
        let status = control::apply(&stream)?;
        let same = status.bridge == bridge
            && status.index == index_of(bridge)?
            && status.namespace == network_namespace()?;
        if same {
            return match status.problem {
                Some(problem) => Err(problem.into_error()),
                None => Ok(()),
            };
        }
        // The name is another bridge's by now. With the supervisor goes the table.
        place.run().end()?;
    }
}

/// See [`super::update`].
pub(super) fn update(directory: &Path, table: &Table) -> Result<()> {
    let place = Place::of(directory);
    let Some(_turn) = place.turn_if_there()? else {
        return Ok(());
    };
    let Some(stream) = place.run().reach()? else {
        return Ok(());
    };
    table.write(&place.table())?;
    match control::apply(&stream)?.problem {
        Some(problem) => Err(problem.into_error()),
        None => Ok(()),
    }
}

/// See [`super::stop`].
pub(super) fn stop(directory: &Path) -> Result<()> {
    let place = Place::of(directory);
    let Some(_turn) = place.turn_if_there()? else {
        return Ok(());
    };
    place.run().end()
}

fn start(place: &Place, directory: &Path, bridge: &str) -> Result<()> {
    let words = [directory.as_os_str(), bridge.as_ref()];
    background(&place.log(), COMMAND, &words)
}

/// Starts a process of this program that leaves the caller's, and returns when it says that it works.
/// What it says later goes to the log.
pub(in crate::network) fn background(
    path: &Path,
    command: [&str; 2],
    words: &[&OsStr],
) -> Result<()> {
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .tried(|| format!("open {}", path.display()))?;
    let (mut read, write) = std::io::pipe().tried(|| "open a pipe".to_owned())?;
    let mut process = Command::new("/proc/self/exe");
    process
        .args(command)
        .args(words)
        // It lives long: it should hold neither secrets nor a directory of its caller.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(write)
        .stderr(log);
    // It goes to a session of its own, and init inherits it soon.
    process.spawn().tried(|| "execute sampan".to_owned())?;
    // Our copy of the pipe's end is in there.
    drop(process);

    let mut text = String::new();
    read.read_to_string(&mut text)
        .tried(|| "read the report of a process of the network".to_owned())?;
    match serde_json::from_str::<Option<Problem>>(&text) {
        Ok(None) => Ok(()),
        Ok(Some(problem)) => Err(problem.into_error()),
        Err(_) => Err(
            Error::internal("a process of the network ended without a report")
                .with_hint(format!("see {}", path.display())),
        ),
    }
}
