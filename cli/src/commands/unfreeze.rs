//! `sampan unfreeze`.

use std::process::ExitCode;

use sampan_runtime::State;

use super::several::Names;
use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sampan unfreeze web")]
pub struct Args {
    #[command(flatten)]
    names: Names,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("thawing a container")?;
    args.names.each(
        context,
        |state| state == State::Frozen,
        |container| {
            let name = container.name();
            Ok(match container.thaw()? {
                true => format!("thawed {name}"),
                false => format!("{name} was not frozen"),
            })
        },
    )
}
