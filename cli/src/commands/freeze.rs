//! `sampan freeze`.

use std::{process::ExitCode, time::Duration};

use sampan_runtime::State;

use super::several::Names;
use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The command returns when every process of the container is frozen. If one cannot be, the others run on
and the error names it.

Examples:
  sampan freeze web
  sampan unfreeze web")]
pub struct Args {
    #[command(flatten)]
    names: Names,
    /// How long it may take, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("freezing a container")?;
    args.names.each(
        context,
        |state| state == State::Running,
        |container| {
            let name = container.name();
            Ok(match container.freeze(Duration::from_secs(args.timeout))? {
                true => format!("froze {name}"),
                false => format!("{name} was frozen already"),
            })
        },
    )
}
