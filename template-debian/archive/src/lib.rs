//! A verified reader of Debian archives, and a bootstrap from one.
//!
//! Everything starts at a mirror's `InRelease`: [`openpgp`] accepts it only with a good signature
//! by a key of the keyring, [`release`] checks that it is the suite that was asked for and not
//! stale, and from there on every byte is named by its size and SHA-256 ([`source`]). [`resolve`]
//! chooses packages as debootstrap does, [`unpack`] writes them straight into the rootfs through
//! sampan-core's safe paths, [`dpkg_database`] records them as dpkg would have, and [`configure`]
//! runs the maintainer scripts inside. [`bootstrap`] ties it together.
//!
//! There is no network code here and nothing of the machine is touched: bytes, commands and
//! progress go through [`sampan_core::Host`].

#![forbid(unsafe_code)]

pub mod bootstrap;
pub mod clean;
pub mod compression;
pub mod configure;
pub mod date;
pub mod deb;
pub mod deb822;
pub mod dpkg_database;
mod error;
pub mod lock;
pub mod openpgp;
pub mod options;
pub mod packages;
pub mod relation;
pub mod release;
pub mod resolve;
pub mod selection;
pub mod source;
pub mod tarball;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod unpack;
pub mod version;

pub use error::Error;

/// What fails here fails with an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
