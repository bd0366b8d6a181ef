//! What the worker and its parent say to each other.
//!
//! One stream socket. A frame is two little-endian u32 lengths, a JSON message and raw bytes. The
//! parent sends one [`Call`]; from then on the worker speaks first, and each of its messages but
//! [`FromWorker::Log`] and [`FromWorker::Progress`] gets one [`Reply`], until it says
//! [`FromWorker::Done`]. The worker is not trusted: its frames are capped, and every path and
//! address in them is checked by who acts on it.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use sampan_core::{
    BuildOutcome, ConfigureOutcome, ContainerRequest, Description, Download, Level, Request,
    TemplateError, Unit,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The descriptor at which a worker finds its socket.
pub(crate) const SOCKET: i32 = 3;
/// Where a worker finds its library.
pub(crate) const PLUGIN: &str = "/plugin/template.so";
/// Where a worker finds the rootfs.
pub(crate) const ROOTFS: &str = "/rootfs";
/// Where a worker finds the cache of downloads.
pub(crate) const DOWNLOADS: &str = "/downloads";
/// Where a worker finds the files that options name.
pub(crate) const FILES: &str = "/files";

const FRAME_LIMIT: u32 = 64 << 20;

/// What a worker is started for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    Describe,
    Fingerprint(Request),
    Build(Request),
    Configure(ContainerRequest),
}

impl Call {
    /// The call as a phrase after "while it was to".
    pub(crate) fn doing(&self) -> &'static str {
        match self {
            Self::Describe => "describe itself",
            Self::Fingerprint(_) => "look for news",
            Self::Build(_) => "build the image",
            Self::Configure(_) => "configure the container",
        }
    }
}

/// What a call brings back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Description {
        abi_version: String,
        description: Description,
    },
    Fingerprint(Option<String>),
    Built(BuildOutcome),
    Configured(ConfigureOutcome),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    Log(Level, String),
    Progress {
        task: String,
        done: u64,
        total: u64,
        unit: Unit,
    },
    Fetch(Vec<Download>),
    FetchUnverified {
        url: String,
        limit: u64,
    },
    Cancelled,
    Done(Box<Ended>),
}

/// How a call ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ended {
    Answer(Answer),
    Failed(TemplateError),
    /// The library could not be used.
    Unusable(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// One path below [`DOWNLOADS`] for each download.
    Paths(Vec<PathBuf>),
    /// The frame's raw bytes are the answer.
    Bytes,
    Cancelled(bool),
    Failed(TemplateError),
}

/// Sends one frame.
pub(crate) fn send<T: Serialize>(
    stream: &mut impl Write,
    message: &T,
    raw: &[u8],
) -> io::Result<()> {
    let json = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = |bytes: &[u8]| {
        u32::try_from(bytes.len())
            .ok()
            .filter(|length| *length <= FRAME_LIMIT)
            .ok_or_else(|| io::Error::other("a message to or from the worker is too large"))
    };
    let mut frame = Vec::with_capacity(8 + json.len() + raw.len());
    frame.extend_from_slice(&length(&json)?.to_le_bytes());
    frame.extend_from_slice(&length(raw)?.to_le_bytes());
    frame.extend_from_slice(&json);
    frame.extend_from_slice(raw);
    stream.write_all(&frame)
}

/// Receives one frame; `None` when the other side has closed between frames.
pub(crate) fn receive<T: DeserializeOwned>(
    stream: &mut impl Read,
) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut lengths = [0_u8; 8];
    match stream.read(&mut lengths)? {
        0 => return Ok(None),
        got => stream.read_exact(&mut lengths[got..])?,
    }
    let length = |at: usize| {
        u32::from_le_bytes([
            lengths[at],
            lengths[at + 1],
            lengths[at + 2],
            lengths[at + 3],
        ])
    };
    let (json, raw) = (length(0), length(4));
    if json > FRAME_LIMIT || raw > FRAME_LIMIT {
        return Err(io::Error::other("a message from the worker is too large"));
    }
    let json = read_exactly(stream, json)?;
    let raw = read_exactly(stream, raw)?;
    let message = serde_json::from_slice(&json).map_err(io::Error::other)?;
    Ok(Some((message, raw)))
}

/// Grows with what arrives, so that a length alone allocates nothing.
fn read_exactly(stream: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_comes_back_as_it_was_sent() {
        let mut wire = Vec::new();
        send(&mut wire, &Reply::Bytes, b"raw").unwrap();
        let (reply, raw) = receive::<Reply>(&mut wire.as_slice()).unwrap().unwrap();
        assert!(matches!(reply, Reply::Bytes));
        assert_eq!(raw, b"raw");
    }

    #[test]
    fn a_closed_stream_is_no_frame_and_half_a_frame_is_an_error() {
        assert!(receive::<Reply>(&mut [].as_slice()).unwrap().is_none());
        let mut wire = Vec::new();
        send(&mut wire, &Reply::Bytes, b"raw").unwrap();
        wire.pop();
        assert!(receive::<Reply>(&mut wire.as_slice()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = receive::<FromWorker>(&mut bytes.as_slice());
        }
    }
}
