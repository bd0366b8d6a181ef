//! One file per command: its arguments and one function.

pub mod autostart;
pub mod config;
pub mod console;
pub mod copy;
pub mod create;
pub mod destroy;
pub mod doctor;
pub mod events;
pub mod exec;
mod foreground;
pub mod forward;
pub mod freeze;
pub mod image;
pub mod info;
pub mod logs;
pub mod ls;
pub mod network;
mod personal;
pub mod rename;
mod requested;
pub mod restart;
pub mod run;
pub mod set;
mod several;
pub mod shell;
pub mod snapshot;
pub mod start;
pub mod stop;
mod storage;
pub use self::storage::path_of;
pub mod template;
pub mod top;
pub mod unfreeze;
pub mod wait;

use std::process::ExitCode;

use crate::{
    arguments::{Arguments, Command},
    context::Context,
    failure::Outcome,
};

/// Reads the arguments, runs the command, and turns its result into words and an exit code:
/// 0 done, 1 failed, 2 not understood; `exec` and `shell` pass on the command's.
pub fn main() -> ExitCode {
    let arguments = Arguments::read();
    let context = Context::new(arguments.global);
    match run(&context, arguments.command) {
        Ok(code) => code,
        Err(failure) => {
            // Nobody can be told that standard error is closed.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr().lock(),
                failure.words().as_bytes(),
            );
            ExitCode::from(failure.code())
        }
    }
}

fn run(context: &Context, command: Command) -> Outcome<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Create(args) => create::run(context, &args).map(done),
        Command::Start(args) => start::run(context, &args),
        Command::Stop(args) => stop::run(context, &args),
        Command::Restart(args) => restart::run(context, &args),
        Command::Freeze(args) => freeze::run(context, &args),
        Command::Unfreeze(args) => unfreeze::run(context, &args),
        Command::Autostart(args) => autostart::run(context, &args),
        Command::Wait(args) => wait::run(context, &args),
        Command::Events(args) => events::run(context, &args).map(done),
        Command::Destroy(args) => destroy::run(context, &args),
        Command::Copy(args) => copy::run(context, &args).map(done),
        Command::Rename(args) => rename::run(context, &args).map(done),
        Command::Snapshot(command) => snapshot::run(context, &command).map(done),
        Command::Ls(args) => ls::run(context, &args).map(done),
        Command::Info(args) => info::run(context, &args).map(done),
        Command::Network(command) => network::run(context, &command),
        Command::Forward(args) => forward::run(context, &args).map(done),
        Command::Config(command) => config::run(context, &command).map(done),
        Command::Top(args) => top::run(context, &args).map(done),
        Command::Set(args) => set::run(context, &args).map(done),
        Command::Exec(args) => exec::run(context, &args),
        Command::Shell(args) => shell::run(context, &args),
        Command::Console(args) => console::run(context, &args),
        Command::Run(args) => run::run(context, &args),
        Command::Logs(args) => logs::run(context, &args).map(done),
        Command::Template(command) => template::run(context, &command).map(done),
        Command::Image(command) => image::run(context, &command).map(done),
        Command::Doctor(args) => doctor::run(context, &args),
        Command::Worker => Ok(sampan_plugins::worker_main()),
    }
}
