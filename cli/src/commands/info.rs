//! `sampan info`.

use std::fmt::Write as _;

use sampan_runtime::{Info, State};

use crate::{context::Context, failure::Outcome, output, words};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container
    pub name: String,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let info = context.container(&args.name)?.info()?;
    output::print(context.global.format, &info, |info| {
        let memory = info.memory.map(|now| match info.memory_limit {
            Some(limit) => format!("{} of {}", words::bytes(now), words::bytes(limit)),
            None => words::bytes(now),
        });
        let root = match (info.privileged, info.host_uid) {
            (Some(true), _) => Some("the host's root (privileged)".to_owned()),
            (_, Some(uid)) => Some(format!("user id {uid} on the host")),
            _ => None,
        };
        output::fields([
            ("name", Some(info.name.clone())),
            ("state", Some(state(info.state))),
            ("init", info.init_pid.map(|pid| format!("process {pid}"))),
            ("started", info.started_at.map(words::ago)),
            ("memory", memory),
            ("root is", root),
            ("template", info.template.clone()),
            ("image", info.image.clone()),
            (
                "rootfs",
                info.rootfs.as_ref().map(|path| path.display().to_string()),
            ),
            ("storage", storage(info)),
            ("config", Some(info.config.display().to_string())),
            ("console", Some(info.console_log.display().to_string())),
            ("log", Some(info.log.display().to_string())),
        ])
    })
}

/// How its files are kept, in one line.
fn storage(info: &Info) -> Option<String> {
    let mut words = info.storage?.to_string();
    if let Some(size) = info.size_limit {
        let _ = write!(words, ", at most {}", words::bytes(size));
    }
    for lower in &info.lower {
        let _ = write!(words, ", on {}", lower.display());
    }
    Some(words)
}

/// A state as a word, the same as in JSON.
pub fn state(state: State) -> String {
    match state {
        State::Stopped => "stopped",
        State::Starting => "starting",
        State::Running => "running",
        State::Stopping => "stopping",
        _ => "unknown",
    }
    .to_owned()
}
