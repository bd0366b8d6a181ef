//! `sampan info`.

use sampan_runtime::State;

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
        let restarts = info.restarts.filter(|n| *n > 0).map(|n| n.to_string());
        let last_run = info.last_exit.as_ref().map(|exit| {
            let by = match (exit.requested, exit.gave_up) {
                (true, _) => ", when it was asked to stop",
                (_, true) => ", and was started again often enough",
                _ => "",
            };
            format!("init {exit}{by}, {}", words::ago(exit.at))
        });
        output::fields([
            ("name", Some(info.name.clone())),
            ("state", Some(state(info.state))),
            ("init", info.init_pid.map(|pid| format!("process {pid}"))),
            ("started", info.started_at.map(words::ago)),
            ("restarts", restarts),
            ("last run", last_run),
            ("memory", memory),
            ("root is", root),
            ("template", info.template.clone()),
            ("image", info.image.clone()),
            (
                "rootfs",
                info.rootfs.as_ref().map(|path| path.display().to_string()),
            ),
            ("config", Some(info.config.display().to_string())),
            ("console", Some(info.console_log.display().to_string())),
            ("log", Some(info.log.display().to_string())),
        ])
    })
}

/// A state as a word, the same as in JSON.
pub fn state(state: State) -> String {
    match state {
        State::Stopped => "stopped",
        State::Starting => "starting",
        State::Running => "running",
        State::Stopping => "stopping",
        State::Frozen => "frozen",
        State::Restarting => "restarting",
        _ => "unknown",
    }
    .to_owned()
}
