//! `sampan restart`.

use std::{process::ExitCode, time::Duration};

use sampan_runtime::{StartOptions, State, StopOptions};

use super::{several::Names, stop};
use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The container is stopped as `sampan stop` does and started with its config as it is now. (A guest that
reboots, or `sampan stop --reboot`, keeps the config it was started with.) One that does not run is
started.

Examples:
  sampan restart web
  sampan restart --kill web db
  sampan restart --all")]
pub struct Args {
    #[command(flatten)]
    names: Names,
    /// Kill it at once
    #[arg(short, long, conflicts_with = "timeout")]
    kill: bool,
    /// How long to wait for it to halt, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("restarting a container")?;
    let options = StopOptions {
        kill: args.kill,
        timeout: Duration::from_secs(args.timeout),
        ..StopOptions::default()
    };
    args.names.each(
        context,
        |state| state != State::Stopped,
        |container| {
            let name = container.name();
            let restarted = container.restart(&options, &StartOptions::default())?;
            let before = match restarted.stopped {
                Some(stopped) => stop::words(name.as_str(), stopped),
                None => format!("{name} was not running"),
            };
            Ok(format!(
                "{before}; started it (init is process {})",
                restarted.init_pid
            ))
        },
    )
}
