//! Starting, changing and ending a network's service.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::control::{self, Problem};
use super::place::Place;
use super::sockets::Endpoints;
use super::supervisor::{index_of, network_namespace};
use super::table::Table;
use crate::container::must_be_root;
use crate::error::{Error, Result, Tried};
use crate::sys::pidfd;

/// For one that is just starting or ending.
const A_WHILE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

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
        let Some(stream) = connect(&place)? else {
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
        end(&place)?;
    }
}

/// See [`super::update`].
pub(super) fn update(directory: &Path, table: &Table) -> Result<()> {
    let place = Place::of(directory);
    let Some(_turn) = place.turn_if_there()? else {
        return Ok(());
    };
    let Some(stream) = connect(&place)? else {
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
    end(&place)
}

/// The supervisor's socket; `None` if it does not run.
fn connect(place: &Place) -> Result<Option<UnixStream>> {
    let deadline = Instant::now() + A_WHILE;
    loop {
        match place.run().connect() {
            Ok(stream) => return Ok(Some(stream)),
            Err(_) if !place.run().is_locked()? => return Ok(None),
            // On its way up, started by one that was killed meanwhile, or down. Nothing tells both: a
            // socket that appears, and a lock that is let go.
            Err(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(e) => return Err(e).tried(|| "reach the service of the network".to_owned()),
        }
    }
}

fn start(place: &Place, directory: &Path, bridge: &str) -> Result<()> {
    let path = place.log();
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .tried(|| format!("open {}", path.display()))?;
    let (mut read, write) = std::io::pipe().tried(|| "open a pipe".to_owned())?;
    let mut command = Command::new("/proc/self/exe");
    command
        .args(COMMAND)
        .arg(directory)
        .arg(bridge)
        // It lives long: it should hold neither secrets nor a directory of its caller.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(write)
        .stderr(log);
    // It goes to a session of its own, and init inherits it soon.
    command.spawn().tried(|| "execute sampan".to_owned())?;
    // Our copy of the pipe's end is in there.
    drop(command);

    let mut text = String::new();
    read.read_to_string(&mut text)
        .tried(|| "read the report of the service".to_owned())?;
    match serde_json::from_str::<Option<Problem>>(&text) {
        Ok(None) => Ok(()),
        Ok(Some(problem)) => Err(problem.into_error()),
        Err(_) => Err(
            Error::internal("the service of the network ended without a report")
                .with_hint(format!("see {}", path.display())),
        ),
    }
}

/// Ends it, and removes its files. The caller has the turn.
fn end(place: &Place) -> Result<()> {
    let run = place.run();
    // One that starts can be told to end once it listens.
    if connect(place)?.is_some()
        && let Some(supervisor) = run.monitor()?
    {
        let what = || "end the service of the network".to_owned();
        // One that has ended meanwhile is what is wanted.
        let _ = pidfd::signal(supervisor.as_fd(), Signal::SIGTERM);
        if !pidfd::ended(supervisor.as_fd(), Some(A_WHILE)).tried(what)? {
            pidfd::signal(supervisor.as_fd(), Signal::SIGKILL).tried(what)?;
            pidfd::ended(supervisor.as_fd(), Some(A_WHILE)).tried(what)?;
        }
    }
    // Of one that was killed; or there was none, only a table.
    match run.exists() {
        true => {
            let _lock = run.lock()?;
            run.remove()
        }
        false => Ok(()),
    }
}
