//! What `sampan start` executes for each container, and what stays as long as that runs.
//!
//! A program of its own because of what it leaves out: templates, downloads and the command line
//! make `sampan` large, and every start and every running container would pay for what relocating
//! that costs.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    sampan_runtime::monitor_main(std::env::args_os().skip(1))
}
