//! Containers: configuration, isolation, cgroups, console, monitor; and the sandbox in which
//! templates run.
//!
//! This crate knows no templates and no command line. Its only `unsafe` code is in [`sys`].

#![deny(unsafe_code)]

mod autostart;
mod cgroup;
mod claim;
pub mod config;
mod console;
mod container;
mod containers;
mod copy;
mod destroying;
pub mod doctor;
mod editing;
mod error;
mod events;
mod exec;
mod exit;
mod foreground;
pub mod hooks;
mod idmap;
mod init;
mod lifecycle;
mod monitor;
mod name;
mod network;
mod new_container;
mod rename;
mod resources;
mod run_directory;
pub mod sandbox;
mod seccomp;
mod signals;
mod snapshot;
mod starting;
mod storage;
mod subid;
#[allow(unsafe_code, reason = "the one system-call module")]
mod sys;

/// This version of Sampan.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use autostart::{Chosen, Order, Selection};
pub use cgroup::{Limits, LimitsInForce, Usage};
pub use claim::Claim;
pub use console::{LogReader, SessionEnd, Tty};
pub use container::{Container, Info, State, StopOptions};
pub use containers::{Containers, Directories};
pub use copy::SIZE_KEY;
pub use editing::{Edited, Replaced};
pub use error::{Error, ErrorKind, Reason, Result};
pub use events::{Change, Event, Events};
pub use exec::ExecRequest;
pub use exit::{Exit, How, signal_name};
pub use foreground::{ForegroundOptions, Progress};
pub use idmap::IdRange;
pub use lifecycle::{Awaited, Restarted};
pub use monitor::client::Stopped;
pub use monitor::monitor_main;
pub use monitor::policy::RestartPolicy;
pub use name::ContainerName;
pub use network::managed::{
    AttachOptions, Attached, DEFAULT as DEFAULT_NETWORK, Definition as NetworkDefinition, Detached,
    Firewall, Forward, Forwarded, Kind as NetworkKind, NetworkInfo, Networks, Protocol,
};
pub use network::service;
pub use network::uplink::{Form, Uplink};
pub use new_container::NewContainer;
pub use resources::{LimitChange, Rates, SetIn, SetResult};
pub use snapshot::Snapshot;
pub use starting::StartOptions;
pub use storage::{Layers, NewLayer, NewStorage, RootPath, StorageKind};
pub use sys::inherited::inherited_stream;
pub use sys::pidfd::Ended;
pub use sys::tty::window_size;
