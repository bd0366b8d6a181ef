//! The `sampan` command.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod context;
mod directories;
mod failure;
mod file;
mod limits;
mod network;
mod notify;
mod output;
mod pattern;
mod reporter;
mod settings;
mod signals;
mod timings;
mod words;

fn main() -> std::process::ExitCode {
    // As small as the monitor, and as long in the machine: not a command among the others, which take
    // time and memory to be described to the parser.
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == "network-service")
    {
        return sampan_runtime::service::main(arguments);
    }
    commands::main()
}
