//! What a client and a supervisor say to each other.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Tried};

/// The client's one word: take the table as it is now.
pub(super) const APPLY: &[u8; 1] = b"a";
/// Longer than a server may take to obey.
const PATIENCE: Duration = Duration::from_secs(60);

/// The supervisor's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) bridge: String,
    /// The bridge's number: another of the same name is another bridge.
    pub(super) index: u32,
    /// The network namespace that the number counts in.
    pub(super) namespace: u64,
    /// Why the table is not what it answers from.
    pub(super) problem: Option<Problem>,
}

/// An error of another process.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::network) struct Problem {
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(in crate::network) fn of(error: &Error) -> Problem {
        Problem {
            message: error.chain(),
            hint: error.hint().map(str::to_owned),
        }
    }

    pub(super) fn into_error(self) -> Error {
        let error = Error::environment(self.message);
        match self.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// Asks a supervisor to take the table as it is.
pub(super) fn apply(stream: &UnixStream) -> Result<Status> {
    let mut stream = stream;
    let mut text = String::new();
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.write_all(APPLY))
        .and_then(|()| stream.read_to_string(&mut text))
        .tried(|| "ask the service of the network".to_owned())?;
    serde_json::from_str(&text)
        .map_err(std::io::Error::from)
        .tried(|| "read the answer of the service of the network".to_owned())
}
