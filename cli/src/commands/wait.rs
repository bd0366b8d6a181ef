//! `sampan wait`.

use std::{process::ExitCode, time::Duration};

use sampan_runtime::{Awaited, State};

use super::info;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The exit code is 0 once the container is in one of the states, 1 if it is not within the timeout.
The state that it is in is printed.

Examples:
  sampan wait web                          until it has stopped
  sampan wait web --state running --timeout 30
  sampan wait web --state stopped,frozen")]
pub struct Args {
    /// The container
    pub name: String,
    /// The states to wait for: stopped, starting, running, stopping, frozen, restarting
    #[arg(
        short,
        long = "state",
        value_name = "STATE",
        value_delimiter = ',',
        value_parser = state,
        default_value = "stopped"
    )]
    states: Vec<State>,
    /// How long to wait, in seconds [default: for ever]
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// Fields of `--format json`.
#[derive(serde::Serialize)]
struct Waited<'a> {
    name: &'a str,
    state: State,
    reached: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("waiting for a container")?;
    let patience = args.timeout.map(Duration::from_secs);
    let awaited = context
        .containers()
        .wait(&args.name.parse()?, &args.states, patience)?;
    let (state, reached) = match awaited {
        Awaited::Reached(state) => (state, true),
        Awaited::TimedOut(state) => (state, false),
    };
    let waited = Waited {
        name: &args.name,
        state,
        reached,
    };
    output::print(context.global.format, &waited, |waited| {
        format!("{}\n", info::state(waited.state))
    })?;
    if reached {
        return Ok(ExitCode::SUCCESS);
    }
    let states: Vec<String> = args
        .states
        .iter()
        .map(|state| info::state(*state))
        .collect();
    Err(Failure::new(format!(
        "container \"{}\" was not {} within {} seconds; it is {}",
        args.name,
        states.join(" or "),
        args.timeout.unwrap_or_default(),
        info::state(state)
    )))
}

/// As it is printed, or as LXC writes it.
fn state(word: &str) -> Result<State, String> {
    serde_json::from_value(word.to_lowercase().into()).map_err(|_| {
        "a state is stopped, starting, running, stopping, frozen or restarting".to_owned()
    })
}
