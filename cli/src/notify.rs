//! The service manager that waits for this process, if there is one (sd_notify(3)).

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
};

use crate::failure::{Failure, Outcome};

const VARIABLE: &str = "NOTIFY_SOCKET";

/// Who is told how a service is doing.
pub struct Notify {
    socket: Option<UnixDatagram>,
}

impl Notify {
    /// Whom the environment names; nobody, if it names nobody.
    ///
    /// # Errors
    /// The one who is named cannot be reached.
    pub fn from_environment() -> Outcome<Self> {
        let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) else {
            return Ok(Self { socket: None });
        };
        let failed = |error: std::io::Error| {
            Failure::new(format!(
                "cannot reach the service manager at {}: {error}",
                Path::new(&name).display()
            ))
            .hint(format!(
                "it is named by the variable {VARIABLE}; unset it to run without"
            ))
        };
        let address = match name.as_encoded_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
            _ => SocketAddr::from_pathname(&name),
        };
        let socket = UnixDatagram::unbound().map_err(failed)?;
        address
            .and_then(|address| socket.connect_addr(&address))
            .map_err(failed)?;
        Ok(Self {
            socket: Some(socket),
        })
    }

    /// Tells it; one that has gone meanwhile is no reason to stop.
    pub fn tell(&self, lines: &[&str]) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(lines.join("\n").as_bytes());
        }
    }
}
