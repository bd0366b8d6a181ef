//! What the supervisor says to the server: a line of JSON each time something changes.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use crate::network::service::table::Table;

/// The server's answer.
pub(in super::super) const OBEYED: &[u8] = b"!";

/// All that there is to know.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct Orders {
    pub(in super::super) table: Table,
    /// Who is asked about the names of others.
    pub(in super::super) resolvers: Vec<SocketAddr>,
}

/// What has come so far.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Takes all that is there; returns whether the other side is there still.
    pub(super) fn read(&mut self, stream: &mut UnixStream) -> io::Result<bool> {
        let mut part = [0; 16 << 10];
        loop {
            match stream.read(&mut part) {
                Ok(0) => return Ok(false),
                Ok(count) => self.bytes.extend(&part[..count]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The next whole line.
    pub(super) fn next(&mut self) -> io::Result<Option<Orders>> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let orders = serde_json::from_slice(&self.bytes[..end])?;
        // Its memory too: it is as large as the table, and the next one may be long in coming.
        self.bytes = self.bytes.split_off(end + 1);
        Ok(Some(orders))
    }
}
