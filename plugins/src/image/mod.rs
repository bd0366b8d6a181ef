//! Images: what templates build, kept as compressed archives that are the same bytes for the same
//! inputs.
//!
//! DIRECTORY/v1/TEMPLATE/KEY.tar.zst and KEY.json; see docs/image-format.md. The record is written
//! last and removed first, so an image is there exactly when its record is. The version in the
//! path changes with the format: an old binary does not see newer images.

mod files;
mod key;
mod leftovers;
mod looked;
mod memory;
mod obtain;
mod output;
mod pack;
mod record;
mod settle;
mod store;
mod tree;
mod unpack;

pub use key::ImageKey;
pub use leftovers::Leftover;
pub use obtain::{Freshness, Obtained, Wanted};
pub use output::{Delivered, Form, Output};
pub use record::ImageRecord;
pub use store::{ImageStore, StoredImage};
pub use unpack::unpack_into;

/// The format of archives and records, part of every key and path.
pub(crate) const FORMAT: &str = "v1";
