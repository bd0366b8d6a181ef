//! What the end-to-end tests stand on: a world of its own for each test.

#![forbid(unsafe_code)]

mod environment;
mod machine;
mod process;
mod server;

pub use environment::TestEnvironment;
pub use machine::processes;
pub use process::{Background, Ran, deadline_of, wait_until};
pub use server::Server;
