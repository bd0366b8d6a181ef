//! `sampan start`.

use std::process::ExitCode;

use sampan_runtime::{StartOptions, State};

use super::{
    console::{Key, key},
    foreground,
    several::Names,
};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sampan start web
  sampan start web db
  sampan start --all
  sampan start -F web                 in the foreground, with its console on this terminal

In the foreground the container ends with this process. SIGTERM, SIGINT, SIGHUP and SIGQUIT, or
Ctrl-a q on a terminal, ask it to halt; the second time it is killed. Without a terminal what it
shows goes to standard output. A service manager named by NOTIFY_SOCKET is told when it runs. The
exit code is that of its init, 0 after a halt, 128 plus the signal's number if one ended it. The
restart policy of its config does not apply: that is the caller's to have (docs/systemd.md).")]
pub struct Args {
    #[command(flatten)]
    names: Names,
    /// Stay, and end with the container
    #[arg(short = 'F', long, conflicts_with = "all")]
    foreground: bool,
    /// The key that asks it to halt when q follows: `^a`, or `a` for the same; `none`
    #[arg(short, long, value_name = "KEY", default_value = "^a", value_parser = key, requires = "foreground")]
    escape: Key,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("starting a container")?;
    if args.foreground {
        let [name] = &args.names.names[..] else {
            return Err(Failure::new("only one container can be in the foreground"));
        };
        return foreground::run(context, &context.container(name)?, args.escape);
    }
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
