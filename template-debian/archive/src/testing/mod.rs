//! A synthetic, signed Debian archive for tests: keys, .debs, indices, InRelease.
//!
//! Behind the feature `testing`. Everything in here panics when it fails, as a test does: that is
//! why `expect` stands here without further proof.

mod deb;
#[cfg(test)]
mod host;
mod key;
mod mirror;

pub use deb::{DebBuilder, ar, bomb, compress, tar_header};
#[cfg(test)]
pub(crate) use host::{ADDRESS, MemoryHost};
pub use key::{Binding, Key, keyring, sign_cleartext};
pub use mirror::{BuiltMirror, Mirror};
/// Kinds of tar entries.
pub use tar::EntryType;
