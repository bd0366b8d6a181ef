//! End-to-end tests: the real binary, real namespaces, a real mirror, real peers.
//!
//! One binary, so that what is shared is built once; every test has a `--root` of its own.

#![forbid(unsafe_code)]

mod archives;
mod attacks;
mod console;
mod containers;
mod crashes;
mod debian;
mod deliver;
mod exact;
mod foreign;
mod guest;
mod images;
mod lock;
mod mistakes;
mod network;
mod oracle;
mod output;
mod templates;
mod tour;
mod trust;
