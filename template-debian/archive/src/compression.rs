//! Decompression with a limit: a small file may unfold to any size.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use liblzma::{read::XzDecoder, stream};

/// More memory than this is not spent on one .xz file; `xz -9` needs 65 MiB. Several are read at
/// the same time.
const XZ_MEMORY: u64 = 128 << 20;

/// The largest window of a .zst file, as a power of two: what zstd itself accepts unasked.
const ZSTD_WINDOW: u32 = 27;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, `.gz`.
    Gzip,
    /// xz, `.xz`.
    Xz,
    /// Zstandard, `.zst`.
    Zstd,
}

impl Compression {
    /// By the end of a name after `stem`: `data.tar.xz` after `data.tar` is xz.
    pub fn of(name: &str, stem: &str) -> Option<Self> {
        match name.strip_prefix(stem)? {
            "" => Some(Self::None),
            ".gz" => Some(Self::Gzip),
            ".xz" => Some(Self::Xz),
            ".zst" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Reads what is in `bytes`; after `limit` bytes there is an error instead of more.
    pub fn reader<'b>(self, bytes: &'b [u8], limit: u64) -> io::Result<Box<dyn Read + 'b>> {
        let inner: Box<dyn Read + 'b> = match self {
            Self::None => Box::new(bytes),
            Self::Gzip => Box::new(MultiGzDecoder::new(bytes)),
            Self::Xz => {
                let stream = stream::Stream::new_stream_decoder(XZ_MEMORY, stream::CONCATENATED)?;
                Box::new(XzDecoder::new_stream(bytes, stream))
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Box::new(decoder)
            }
        };
        Ok(Box::new(Limited {
            inner,
            left: limit,
            limit,
        }))
    }

    /// All that is in `bytes`, `limit` bytes at most.
    #[cfg(test)]
    pub(crate) fn read_all(self, bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.reader(bytes, limit)?.read_to_end(&mut all)?;
        Ok(all)
    }
}

struct Limited<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(got as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it unfolds to more than {}", amount(self.limit)),
            )
        })?;
        Ok(got)
    }
}

/// A size for people: whole MiB where there are any.
pub(crate) fn amount(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::compress;

    #[test]
    fn every_kind_is_read_back_up_to_its_limit() {
        let text = b"abc".repeat(10_000);
        for kind in [
            Compression::None,
            Compression::Gzip,
            Compression::Xz,
            Compression::Zstd,
        ] {
            let bytes = compress(kind, &text);
            assert_eq!(kind.read_all(&bytes, 30_000).unwrap(), text);
            assert!(
                kind.read_all(&bytes, 29_999).is_err(),
                "{kind:?} passed its limit"
            );
        }
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let text = b"abc".repeat(10_000);
        for kind in [Compression::Gzip, Compression::Xz, Compression::Zstd] {
            let bytes = compress(kind, &text);
            assert!(
                kind.read_all(&bytes[..bytes.len() - 9], 1 << 20).is_err(),
                "{kind:?}"
            );
        }
    }
}
