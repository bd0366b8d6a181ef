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
    match arguments.next() {
        Some(first) if first == "monitor" => return sampan_runtime::monitor_main(arguments),
        // As small, and as long in the machine.
        Some(first) if first == "network-service" => {
            return sampan_runtime::service::main(arguments);
        }
        _ => {}
    }
    commands::main()
}
