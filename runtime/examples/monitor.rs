//! The monitor as a program of its own; the tests' `StartOptions::monitor_program`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    sampan_runtime::monitor_main(std::env::args_os().skip(1))
}
