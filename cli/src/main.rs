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
    // What `sampan start` executes for each container. Not a command among the others: describing
    // all of these to the parser takes a start's time, and memory for as long as a container runs.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "monitor") {
        return sampan_runtime::monitor_main(arguments);
    }
    commands::main()
}
