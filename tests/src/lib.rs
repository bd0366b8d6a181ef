//! What the end-to-end tests stand on: a world of its own for each test.

#![forbid(unsafe_code)]

mod choices;
mod clock;
pub mod comparison;
mod debian_host;
pub mod elf;
mod environment;
mod guest;
pub mod internet;
pub mod leaks;
mod lxc;
mod machine;
pub mod measure;
mod mirror;
mod network;
mod process;
mod resolver;
mod server;
mod sweep;
mod terminal;
mod tree;
mod watcher;
mod world;

pub use choices::Choices;
pub use clock::Clock;
pub use debian_host::DebianHost;
pub use environment::TestEnvironment;
pub use internet::Internet;
pub use lxc::Lxc;
pub use machine::{processes, processes_below};
pub use mirror::{CachingMirror, apt_mirror};
pub use network::{HostNetwork, in_network_of};
pub use process::{Background, Ran, deadline_of, wait_until};
pub use resolver::{FakeResolver, reply};
pub use server::Server;
pub use sweep::sweep;
pub use terminal::Terminal;
pub use tree::Tree;
pub use watcher::Watcher;
