//! The `sampan` command.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod context;
mod directories;
mod failure;
mod file;
mod limits;
mod notify;
mod output;
mod pattern;
mod reporter;
mod signals;
mod timings;
mod words;

fn main() -> std::process::ExitCode {
    commands::main()
}
