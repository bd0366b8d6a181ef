//! End-to-end tests: the real binary, real namespaces, a real mirror, real peers.
//!
//! One binary, so that what is shared is built once; every test has a `--root` of its own.

#![forbid(unsafe_code)]

mod archives;
mod attach;
mod attacks;
mod autostart;
mod clock;
mod config;
mod config_liblxc;
mod console;
mod containers;
mod copy;
mod crashes;
mod debian;
mod deliver;
mod doctor;
mod exact;
mod exhausted;
mod faults;
mod firewalls;
mod foreground;
mod foreign;
mod forward;
mod freezing;
mod guard;
mod guest;
mod hooks;
mod images;
mod interop;
mod interop_lxc;
mod isolation;
mod lifecycle;
mod load;
mod lock;
mod mistakes;
mod names;
mod nat;
mod network;
mod network_faults;
mod network_keys;
mod network_routed;
mod network_switch;
mod network_vde;
mod oracle;
mod output;
mod releases;
mod remembered;
mod rename;
mod resources;
mod run;
mod snapshot;
mod storage;
mod sweep;
mod templates;
mod tour;
mod trust;
mod units;
mod uplink;
