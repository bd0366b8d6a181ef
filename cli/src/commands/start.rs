//! `sampan start`.

use sampan_runtime::StartOptions;

use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container
    pub name: String,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    context.need_root("starting a container")?;
    let container = context.container(&args.name)?;
    let pid = container.start(&StartOptions::default())?;
    context
        .console
        .say(&format!("started {} (init is process {pid})", args.name));
    Ok(())
}
