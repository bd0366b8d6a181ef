//! `sampan stop`.

use std::{process::ExitCode, time::Duration};

use sampan_runtime::{Container, Reason, State, StopOptions, Stopped};

use super::several::Names;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
};

/// The exit code for a container that does not run, as lxc-stop has it.
const NOT_RUNNING: u8 = 2;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The init of the container is asked to halt, by the signal that it listens to (or lxc.signal.halt); if
it has not done so in time, it is killed. One that listens to none is killed within seconds.

The exit code is 2 if the container was not running.

Examples:
  sampan stop web
  sampan stop --timeout 10 web db
  sampan stop --kill --all
  sampan stop --reboot web")]
pub struct Args {
    #[command(flatten)]
    names: Names,
    /// Kill it at once
    #[arg(short, long, conflicts_with_all = ["timeout", "reboot", "no_kill"])]
    kill: bool,
    /// How long to wait for it to halt, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Ask it to reboot instead, and wait until it runs again
    #[arg(short, long)]
    reboot: bool,
    /// Fail rather than kill it if it does not halt in time
    #[arg(long, alias = "nokill")]
    no_kill: bool,
    /// Ask only, and do not wait
    #[arg(short = 'W', long, alias = "nowait", conflicts_with_all = ["timeout", "no_kill"])]
    no_wait: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("stopping a container")?;
    args.names.each(
        context,
        |state| state != State::Stopped,
        |container| {
            stop(container, args).map_err(|error| {
                let not_running = error.reason() == Reason::NotRunning;
                let failure = Failure::from(error);
                match not_running {
                    true => failure.with_code(NOT_RUNNING),
                    false => failure,
                }
            })
        },
    )
}

fn stop(container: &Container, args: &Args) -> sampan_runtime::Result<String> {
    let timeout = Duration::from_secs(args.timeout);
    let name = container.name();
    if args.reboot {
        container.reboot(timeout, !args.no_wait)?;
        return Ok(match args.no_wait {
            true => format!("asked {name} to reboot"),
            false => format!("rebooted {name}"),
        });
    }
    let stopped = container.stop(&StopOptions {
        kill: args.kill,
        timeout,
        kill_after: !args.no_kill,
        wait: !args.no_wait,
    })?;
    Ok(words(name.as_str(), stopped))
}

/// What a stop did, as a sentence.
pub fn words(name: &str, stopped: Stopped) -> String {
    match stopped {
        Stopped::Halted => format!("stopped {name}"),
        Stopped::Killed => format!("killed {name}"),
        Stopped::KilledAsItDoesNotListen => {
            format!("stopped {name}; it was killed, as its init listens to no signal to halt")
        }
        Stopped::Asked => format!("asked {name} to stop"),
        _ => format!("stopped {name}; it was killed, as it had not halted in time"),
    }
}
