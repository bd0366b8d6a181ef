//! `sampan start`.

use std::process::ExitCode;

use sampan_runtime::{StartOptions, State};

use super::several::Names;
use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sampan start web
  sampan start web db
  sampan start --all")]
pub struct Args {
    #[command(flatten)]
    names: Names,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("starting a container")?;
    args.names.each(
        context,
        |state| state == State::Stopped,
        |container| {
            let pid = container.start(&StartOptions::default())?;
            Ok(format!(
                "started {} (init is process {pid})",
                container.name()
            ))
        },
    )
}
