//! `sampan stop`.

use std::time::Duration;

use sampan_runtime::{StopOptions, Stopped};

use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The init of the container is asked to halt; if it has not done so in time, it is killed.

Examples:
  sampan stop web
  sampan stop --timeout 10 web
  sampan stop --kill web")]
pub struct Args {
    /// The container
    pub name: String,
    /// Kill it at once
    #[arg(short, long, conflicts_with = "timeout")]
    kill: bool,
    /// How long to wait for it to halt, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    context.need_root("stopping a container")?;
    let container = context.container(&args.name)?;
    let stopped = container.stop(&StopOptions {
        kill: args.kill,
        timeout: Duration::from_secs(args.timeout),
    })?;
    let name = &args.name;
    context.console.say(&match stopped {
        Stopped::Halted => format!("stopped {name}"),
        Stopped::Killed => format!("killed {name}"),
        Stopped::KilledAsItDoesNotListen => {
            format!("stopped {name}; it was killed, as its init listens to no signal to halt")
        }
        _ => format!("stopped {name}; it was killed, as it had not halted in time"),
    });
    Ok(())
}
