//! `sampan destroy`.

use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container; its files, config and logs are removed
    pub name: String,
    /// Kill it if it runs
    #[arg(short, long)]
    force: bool,
    /// Remove its snapshots too
    #[arg(long)]
    snapshots: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    context.need_root("destroying a container")?;
    let container = context.container(&args.name)?;
    let directory = container.dir();
    container.destroy_with(args.force, args.snapshots)?;
    context.console.say(&format!(
        "destroyed {} with everything in {}",
        args.name,
        directory.display()
    ));
    Ok(())
}
