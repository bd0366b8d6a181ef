//! Names and addresses for those in a network: DNS and DHCP on its bridge.
//!
//! A *supervisor* holds the sockets and a lock by which one knows that it lives. A *server*, which it
//! starts in a sandbox, answers on them: it is what reads the messages of guests. `ensure`, `update`
//! and `stop` are for whoever makes networks and containers.

mod answers;
pub(super) mod client;
pub(super) mod control;
mod dhcp;
mod dns;
mod place;
mod resolvers;
mod server;
mod sockets;
mod supervised;
mod supervisor;
mod table;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

#[doc(hidden)]
pub use self::answers::Answers;
pub use self::table::{Host, Table};
use crate::error::{Error, Result};
use crate::network::switch;

/// Lets a network's service answer from this table: starts it if it does not run, and returns when
/// it answers. `directory` is the network's own (`RUN/.networks/NAME`); the service runs in the
/// caller's network namespace, as `/proc/self/exe network-service`, which has to call [`main`].
///
/// # Errors
/// The cause why it does not answer.
pub fn ensure(directory: &Path, bridge: &str, table: &Table) -> Result<()> {
    client::ensure(directory, bridge, table)
        .map_err(|error| error.wrap(format!("could not serve the network {}", table.network)))
}

/// Lets it answer from this table, and returns when it does. Without effect on one that does not
/// run: it gets its table when it is started.
///
/// # Errors
/// The cause why it does not answer from it.
pub fn update(directory: &Path, table: &Table) -> Result<()> {
    client::update(directory, table)
        .map_err(|error| error.wrap(format!("could not serve the network {}", table.network)))
}

/// Ends it, and returns when nothing of it is left. Not an error if it does not run.
///
/// # Errors
/// The cause why something is left.
pub fn stop(directory: &Path) -> Result<()> {
    client::stop(directory)
}

/// Whether it runs. Cheap, and waits for nobody.
///
/// # Errors
/// The cause why that cannot be known.
pub fn is_running(directory: &Path) -> Result<bool> {
    place::Place::of(directory).run().is_locked()
}

/// The main function of the hidden command `network-service`. `arguments` are those after the
/// command's name: `run DIRECTORY BRIDGE` is the supervisor, `serve` the server, `switch DIRECTORY
/// ORDERS` the keeper of a switch. `ensure DIRECTORY
/// BRIDGE`, `update DIRECTORY` (both with the table on standard input) and `stop DIRECTORY` do what
/// the functions of these names do.
///
/// Must be called early, before the process has threads.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words: Vec<String> = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let directory = || Path::new(arguments.get(1).map_or("".as_ref(), OsString::as_os_str));
    let table = || {
        serde_json::from_reader(std::io::stdin())
            .map_err(|e| Error::user(format!("standard input is no table: {e}")))
    };
    let done = match &words[..] {
        ["serve", ..] => server::serve(&words[1..]),
        ["switch", _, _] => switch::keep(directory(), words[2]),
        ["run", _, bridge] => supervisor::supervise(directory(), bridge),
        ["ensure", _, bridge] => table().and_then(|table| ensure(directory(), bridge, &table)),
        ["update", _] => table().and_then(|table| update(directory(), &table)),
        ["stop", _] => stop(directory()),
        _ => Err(Error::user("this command is not for people")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.chain());
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
