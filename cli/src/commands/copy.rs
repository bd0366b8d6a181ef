//! `sampan copy`: a container from another one.

use sampan_runtime::{ContainerName, NewContainer, StartOptions, config::ConfigFile};

use super::personal;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The copy has its own user ids, network addresses, host name, machine-id and SSH host keys.

Examples:
  sampan copy web web2
  sampan copy base job17 --snapshot --start    shares the files of base")]
pub struct Args {
    /// The container to copy; it must be stopped
    pub source: String,
    /// The name of the copy
    pub name: String,
    /// Share what both have in common: an overlay on the original, a snapshot on btrfs
    #[arg(short, long)]
    snapshot: bool,
    /// Start it as well
    #[arg(long)]
    start: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let name: ContainerName = args.name.parse()?;
    context.need_root("copying a container")?;
    let containers = context.containers();
    let source = context.container(&args.source)?;
    let (new, config) = containers.begin_copy(&source, &name, args.snapshot)?;
    finish(context, new, &config, &args.source, args.start)
}

/// Gives a copy its identity, makes it exist and, if that is wanted, starts it.
pub fn finish(
    context: &Context,
    new: NewContainer,
    config: &ConfigFile,
    source: &str,
    start: bool,
) -> Outcome {
    let name = new.name().clone();
    personal::make_own(context, &new, config, source)?;
    let created = new.commit(config)?;
    if !start {
        context.console.say(&format!(
            "made {name} from {source}; start it with: sampan start {name}"
        ));
        return Ok(());
    }
    let pid = created
        .start(&StartOptions::default())
        .map_err(|error| Failure::from(error).context(&format!("{name} was made, but")))?;
    context.console.say(&format!(
        "made {name} from {source} and started it (init is process {pid})"
    ));
    Ok(())
}
