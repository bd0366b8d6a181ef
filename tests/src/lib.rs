//! What the end-to-end tests stand on: a world of its own for each test.

#![forbid(unsafe_code)]

pub mod elf;
mod environment;
mod guest;
pub mod leaks;
mod lxc;
mod machine;
pub mod measure;
mod mirror;
mod network;
mod process;
mod resolver;
mod server;
mod terminal;
mod tree;
mod watcher;

pub use environment::TestEnvironment;
pub use lxc::Lxc;
pub use machine::{processes, processes_below};
pub use mirror::{CachingMirror, apt_mirror};
pub use network::HostNetwork;
pub use process::{Background, Ran, deadline_of, wait_until};
pub use resolver::{FakeResolver, reply};
pub use server::Server;
pub use terminal::Terminal;
pub use tree::Tree;
pub use watcher::Watcher;
