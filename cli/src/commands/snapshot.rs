//! `sampan snapshot`: what a container was at a moment.

use sampan_runtime::ContainerName;

use super::copy;
use crate::{context::Context, failure::Outcome, output, words};

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Keep the files and the config of a stopped container
    #[command(
        after_help = "Example:\n  sampan snapshot create web before-upgrade --comment \"all is well\""
    )]
    Create {
        /// The container
        name: String,
        /// The name of the snapshot [default: snap0, snap1, …]
        snapshot: Option<String>,
        /// Words that say what it is
        #[arg(short, long)]
        comment: Option<String>,
    },
    /// List the snapshots of a container, the oldest first
    Ls {
        /// The container
        name: String,
    },
    /// Make a stopped container what it was, or another one of it
    #[command(after_help = "\
What the container is now is lost; make a snapshot of it first if it is needed.

Examples:
  sampan snapshot restore web before-upgrade
  sampan snapshot restore web before-upgrade --as web-then")]
    Restore {
        /// The container
        name: String,
        /// The snapshot
        snapshot: String,
        /// Leave the container alone and make this new one
        #[arg(long = "as", value_name = "NEW")]
        new: Option<String>,
    },
    /// Remove snapshots
    Rm {
        /// The container
        name: String,
        /// The snapshots
        #[arg(required = true)]
        snapshots: Vec<String>,
    },
}

/// Runs the subcommand.
pub fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::Create {
            name,
            snapshot,
            comment,
        } => {
            context.need_root("making a snapshot")?;
            let container = context.container(name)?;
            let snapshot = snapshot
                .as_deref()
                .map(str::parse::<ContainerName>)
                .transpose()?;
            let made = container.snapshot(snapshot.as_ref(), comment.as_deref())?;
            context
                .console
                .say(&format!("made snapshot {} of {name}", made.name));
            Ok(())
        }
        Command::Ls { name } => ls(context, name),
        Command::Restore {
            name,
            snapshot,
            new,
        } => restore(context, name, snapshot, new.as_deref()),
        Command::Rm { name, snapshots } => {
            context.need_root("removing a snapshot")?;
            let container = context.container(name)?;
            for snapshot in snapshots {
                container.remove_snapshot(snapshot)?;
                context
                    .console
                    .say(&format!("removed snapshot {snapshot} of {name}"));
            }
            Ok(())
        }
    }
}

fn ls(context: &Context, name: &str) -> Outcome {
    let snapshots = context.container(name)?.snapshots()?;
    output::print(context.global.format, &snapshots, |snapshots| {
        output::table(
            ["SNAPSHOT", "MADE", "SIZE", "COMMENT"],
            snapshots.iter().map(|snapshot| {
                [
                    snapshot.name.clone(),
                    words::ago(snapshot.created_at),
                    words::bytes(snapshot.size),
                    snapshot.comment.clone().unwrap_or_default(),
                ]
            }),
        )
    })
}

fn restore(context: &Context, name: &str, snapshot: &str, new: Option<&str>) -> Outcome {
    context.need_root("restoring a snapshot")?;
    let container = context.container(name)?;
    let Some(new) = new else {
        container.restore(snapshot)?;
        context
            .console
            .say(&format!("{name} is what it was in snapshot {snapshot}"));
        return Ok(());
    };
    let (new, config) = context
        .containers()
        .begin_restored(&container, snapshot, &new.parse()?)?;
    copy::finish(context, new, &config, name, false)
}
