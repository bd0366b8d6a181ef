//! `sampan ls`.

use crate::{context::Context, failure::Outcome, output, words};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(context: &Context, _args: &Args) -> Outcome {
    let containers = context.containers().list()?;
    output::print(context.global.format, &containers, |containers| {
        output::table(
            ["NAME", "STATE", "PID", "MEMORY", "STORAGE", "TEMPLATE"],
            containers.iter().map(|info| {
                let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                [
                    info.name.clone(),
                    super::info::state(info.state),
                    or_dash(info.init_pid.map(|pid| pid.to_string())),
                    or_dash(info.memory.map(words::bytes)),
                    or_dash(info.storage.map(|kind| kind.to_string())),
                    or_dash(info.template.clone()),
                ]
            }),
        )
    })
}
