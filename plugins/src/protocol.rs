//! What the worker and its parent say to each other.
//!
//! One stream socket. A frame is two little-endian u32 lengths, a JSON message and raw bytes. The
//! parent sends one [`Call`]; from then on the worker speaks first, and each of its messages but
//! [`FromWorker::Log`], [`FromWorker::Progress`] and [`FromWorker::Span`] gets one [`Reply`] (a
//! fetch: one for each file and one at the end), until it says
//! [`FromWorker::Done`]. The worker is not trusted: its frames are capped, and every path and
//! address in them is checked by who acts on it.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use sampan_core::{
    BuildOutcome, ConfigureOutcome, ContainerRequest, Description, Download, Level, Request, Span,
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

/// Both sides' cap of either part of a frame, in bytes.
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
    Span(Span),
    /// Answered by one [`Reply::Ready`] for each file, then [`Reply::AllReady`] or a failure.
    Fetch(Vec<Download>),
    FetchUnverified {
        url: String,
        limit: u64,
    },
    RememberHighest {
        name: String,
        value: i64,
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
    /// A file that was asked for: its place among the downloads, and its path below [`DOWNLOADS`].
    Ready(usize, PathBuf),
    AllReady,
    /// The frame's raw bytes are the answer.
    Bytes,
    Highest(i64),
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
    let mut incoming = Incoming::default();
    loop {
        let missing = incoming.missing()?;
        if missing == 0 {
            return incoming.take();
        }
        let before = incoming.buffer.len();
        stream
            .take(missing as u64)
            .read_to_end(&mut incoming.buffer)?;
        if incoming.buffer.len() - before < missing {
            return match incoming.buffer.len() {
                0 => Ok(None),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

/// A frame that arrives piece by piece, so that its reader can do something else meanwhile.
#[derive(Default)]
pub(crate) struct Incoming {
    buffer: Vec<u8>,
}

impl Incoming {
    /// Reads once, as much as there is of the frame; `false` at the stream's end.
    pub(crate) fn fill(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let mut piece = [0_u8; 64 * 1024];
        let want = self.missing()?.min(piece.len());
        let got = stream.read(&mut piece[..want])?;
        self.buffer.extend_from_slice(&piece[..got]);
        Ok(got > 0)
    }

    /// The frame, once it is whole.
    pub(crate) fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<u8>)>> {
        if self.buffer.len() < HEADER || self.missing()? > 0 {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.buffer);
        let (json, _) = lengths(&frame)?;
        let (json, raw) = frame[HEADER..].split_at(json);
        let message = serde_json::from_slice(json).map_err(io::Error::other)?;
        Ok(Some((message, raw.to_vec())))
    }

    /// Whether a frame has begun and is not whole.
    pub(crate) fn is_torn(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// How many bytes to read before there is more to know; 0 when the frame is whole.
    fn missing(&self) -> io::Result<usize> {
        if self.buffer.len() < HEADER {
            return Ok(HEADER - self.buffer.len());
        }
        let (json, raw) = lengths(&self.buffer)?;
        Ok((HEADER + json + raw).saturating_sub(self.buffer.len()))
    }
}

const HEADER: usize = 8;

/// The two lengths at the beginning of a frame, which is at least [`HEADER`] long.
fn lengths(frame: &[u8]) -> io::Result<(usize, usize)> {
    let length = |at: usize| {
        let number = u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        (number <= FRAME_LIMIT)
            .then_some(number as usize)
            .ok_or_else(|| io::Error::other("a message from the worker is too large"))
    };
    Ok((length(0)?, length(4)?))
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

    #[test]
    fn a_frame_that_arrives_byte_by_byte_holds_nobody_up() {
        let mut wire = Vec::new();
        send(&mut wire, &Reply::Cancelled(true), b"raw").unwrap();
        let mut incoming = Incoming::default();
        for (index, byte) in wire.iter().enumerate() {
            assert!(
                incoming.take::<Reply>().unwrap().is_none(),
                "whole at {index}"
            );
            assert!(incoming.fill(&mut [*byte].as_slice()).unwrap());
            assert!(incoming.is_torn());
        }
        let (reply, raw) = incoming.take::<Reply>().unwrap().unwrap();
        assert!(matches!(reply, Reply::Cancelled(true)));
        assert_eq!(raw, b"raw");
        assert!(!incoming.is_torn());
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = receive::<FromWorker>(&mut bytes.as_slice());
        }
    }
}
