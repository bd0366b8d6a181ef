//! `sampan rename`.

use sampan_runtime::ContainerName;

use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Its logs and what its config says of itself follow; what stands in its files stays.

Example:
  sampan rename web old-web")]
pub struct Args {
    /// The container; it must be stopped
    pub old: String,
    /// Its new name
    pub new: String,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let name: ContainerName = args.new.parse()?;
    context.need_root("renaming a container")?;
    let container = context.container(&args.old)?;
    context.containers().rename(&container, &name)?;
    context
        .console
        .say(&format!("renamed {} to {name}", args.old));
    Ok(())
}
