//! `sampan destroy`.

use std::process::ExitCode;

use super::several::Names;
use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The files, config and logs of the container are removed.

Examples:
  sampan destroy web
  sampan destroy --force web db")]
pub struct Args {
    #[command(flatten)]
    names: Names,
    /// Kill it if it runs
    #[arg(short, long)]
    force: bool,
    /// Remove its snapshots too
    #[arg(long)]
    snapshots: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("destroying a container")?;
    args.names.each(
        context,
        |_| true,
        |container| {
            let directory = container.dir();
            container.destroy_with(args.force, args.snapshots)?;
            Ok(format!(
                "destroyed {} with everything in {}",
                container.name(),
                directory.display()
            ))
        },
    )
}
