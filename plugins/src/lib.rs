//! Runs templates: finds them, loads them in a sandboxed worker, fetches for them, and keeps the
//! images they build.
//!
//! No template code ever runs in the process that uses this crate. [`Templates`] finds libraries,
//! [`Session`] calls one in a worker (which is [`worker_main`] in the same binary, started by the
//! runtime's sandbox), [`ImageStore`] keeps what they build.

#![deny(unsafe_code)]

mod cancel;
mod descriptions;
mod download;
mod epoch;
mod error;
mod find;
mod foreign;
mod image;
mod load;
mod memory;
mod mirror;
mod notes;
mod options;
mod protocol;
mod reporter;
mod session;
mod staging;
mod trust;
mod worker;

pub use cancel::Cancellation;
pub use descriptions::Descriptions;
pub use download::Downloader;
pub use error::{Failure, PluginError};
pub use find::{Found, Templates};
pub use image::{
    Delivered, Form, Freshness, ImageKey, ImageRecord, ImageStore, Leftover, Obtained, Output,
    StoredImage, Wanted, unpack_into,
};
pub use memory::Memory;
pub use mirror::apt_mirror;
pub use options::{ResolvedOptions, resolve};
pub use reporter::{Reporter, Silent};
pub use session::{Session, Template};
pub use worker::worker_main;
