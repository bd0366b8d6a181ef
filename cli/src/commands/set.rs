//! `sampan set`: limits of a container.

use sampan_runtime::{Container, LimitChange, SetIn};

use crate::{context::Context, failure::Outcome, output};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Limits (without a value, a limit is lifted):
  memory=SIZE        memory, as 512M or 1.5G
  swap=SIZE          swap; 0 is none
  cpus=NUMBER        processors' worth of time, as 1.5
  cpu-weight=NUMBER  1 to 10000, the share when processors are short; others have 100
  cpuset=LIST        the processors to run on, as 0-1,3
  pids=NUMBER        processes and threads
  io-weight=NUMBER   1 to 1000, the share when a disk is short; others have 100
  io-max=DEVICE:RATE=NUMBER,…
                     of a disk, per second: rbps, wbps (bytes), riops, wiops (operations)

All of them are set, in the running container and in its config, or none.

Examples:
  sampan set web memory=512M cpus=1.5
  sampan set web io-max=/dev/sda:wbps=10M,wiops=200
  sampan set --running-only web memory=1G
  sampan set web memory=")]
pub struct Args {
    /// The container
    pub name: String,
    /// What to change
    #[arg(value_name = "LIMIT=VALUE", required = true)]
    limits: Vec<String>,
    /// Until it stops; its config stays
    #[arg(long, conflicts_with = "config_only")]
    running_only: bool,
    /// From its next start on
    #[arg(long)]
    config_only: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let changes = args
        .limits
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<LimitChange>, _>>()?;
    context.need_root("changing limits")?;
    let container = context.container(&args.name)?;
    let set_in = match (args.running_only, args.config_only) {
        (true, _) => SetIn::Running,
        (_, true) => SetIn::Config,
        _ => SetIn::Both,
    };
    let result = container.set_limits(&changes, set_in)?;
    output::print(context.global.format, &result, |_| String::new())?;
    let name = &args.name;
    context.console.say(&match (result.running, result.config) {
        (true, true) => format!("set, in {name} and in its config"),
        (true, false) => format!("set in {name} until it stops"),
        _ => format!("set in the config of {name}, from its next start on"),
    });
    if result.running {
        warn_if_full(context, &container)?;
    }
    Ok(())
}

/// The kernel accepts a limit of processes below their number: it ends none of them.
fn warn_if_full(context: &Context, container: &Container) -> Outcome {
    let info = container.info()?;
    let limit = info.limits.and_then(|limits| limits.processes);
    let now = info.usage.and_then(|usage| usage.processes);
    if let (Some(limit), Some(now)) = (limit, now)
        && now >= limit
    {
        context.console.say(&format!(
            "note: it has {now} processes and threads now; no more can start before there are fewer than {limit}"
        ));
    }
    Ok(())
}
