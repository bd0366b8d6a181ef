//! `sampan events`.

use std::io::Write;

use sampan_runtime::{Change, ContainerName, Event, signal_name};

use crate::{
    arguments::Format,
    context::Context,
    failure::{Failure, Outcome},
    output, words,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints a line for every change from now on, until it is interrupted. With `--format json` each line is
an object with the fields `time`, `container` and `event`, and others that depend on the event
(docs/json.md).

Examples:
  sampan events
  sampan events web db
  sampan events --format json | jq -r 'select(.event == \"stopped\") | .container'")]
pub struct Args {
    /// Only these containers; they need not exist yet
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    context.need_root("watching containers")?;
    for name in &args.names {
        name.parse::<ContainerName>()?;
    }
    let mut events = context.containers().events()?;
    context.console.say("watching; Ctrl-C ends it");
    loop {
        let Some(event) = events.next(None)? else {
            return Ok(());
        };
        let wanted = args.names.is_empty()
            || args.names.contains(&event.container)
            || matches!(&event.change, Change::Renamed { to } if args.names.contains(to))
            || event.change == Change::Missed;
        if !wanted {
            continue;
        }
        let line = match context.global.format {
            Format::Table => for_people(&event),
            Format::Json => serde_json::to_string(&event)
                .map_err(|error| Failure::new(format!("cannot print as JSON: {error}")))?,
        };
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            Ok(()) => {}
            // Whoever read has had enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                return Err(Failure::new(format!(
                    "cannot write to standard output: {error}"
                )));
            }
        }
    }
}

fn for_people(event: &Event) -> String {
    if event.change == Change::Missed {
        return "some events were missed".to_owned();
    }
    let what = match &event.change {
        Change::Created => "created".to_owned(),
        Change::Starting => "starting".to_owned(),
        Change::Running { init_pid } => format!("running (init is process {init_pid})"),
        Change::StartFailed { message } => format!("not started: {message}"),
        Change::Rebooting => "rebooting".to_owned(),
        Change::Restarting { exit, delay } => {
            format!("restarting in {delay} s (init {exit})")
        }
        Change::Stopping {
            signal: Some(signal),
        } => format!("stopping (asked by {})", signal_name(*signal)),
        Change::Stopping { signal: None } => "stopping (killed)".to_owned(),
        Change::Frozen => "frozen".to_owned(),
        Change::Thawed => "thawed".to_owned(),
        Change::Stopped { exit } if exit.gave_up => {
            format!("stopped (init {exit}; started again often enough)")
        }
        Change::Stopped { exit } => format!("stopped (init {exit})"),
        Change::Renamed { to } => format!("renamed to {to}"),
        Change::Destroyed => "destroyed".to_owned(),
        _ => "changed".to_owned(),
    };
    output::printable(&format!(
        "{}  {}  {what}",
        words::moment(event.time),
        event.container
    ))
}
