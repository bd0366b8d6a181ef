//! `sampan info`.

use std::fmt::Write as _;

use sampan_runtime::{Info, State};

use crate::{context::Context, failure::Outcome, limits, output, words};

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
        let mut fields = vec![
            ("name", Some(info.name.clone())),
            ("state", Some(state(info.state))),
            ("init", info.init_pid.map(|pid| format!("process {pid}"))),
            ("started", info.started_at.map(words::ago)),
            ("restarts", restarts),
            ("last run", last_run),
            (
                "addresses",
                (!info.ips.is_empty()).then(|| {
                    let all: Vec<String> = info.ips.iter().map(ToString::to_string).collect();
                    all.join(", ")
                }),
            ),
        ];
        fields.extend(usage(info));
        fields.extend([
            ("root is", root),
            ("autostart", info.autostart.then(|| "yes".to_owned())),
            (
                "groups",
                (!info.groups.is_empty()).then(|| info.groups.join(", ")),
            ),
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
        ]);
        output::fields(fields)
    })
}

/// What it uses, and of how much.
fn usage(info: &Info) -> Vec<(&'static str, Option<String>)> {
    let (Some(usage), Some(allowed)) = (info.usage, &info.limits) else {
        return Vec::new();
    };
    let sized = |used: Option<u64>, limit| used.map(|n| limits::of(n, limit, words::bytes));
    let memory = sized(usage.memory, allowed.memory).map(|now| match usage.memory_peak {
        Some(peak) => format!("{now} (at most {})", words::bytes(peak)),
        None => now,
    });
    let counted = |n: u64| n.to_string();
    let io = match (usage.io_read, usage.io_written) {
        (Some(read), Some(written)) => Some(format!(
            "{} read, {} written",
            words::bytes(read),
            words::bytes(written)
        )),
        _ => None,
    };
    vec![
        ("memory", memory),
        ("swap", sized(usage.swap, allowed.swap)),
        ("cpu time", usage.cpu_usec.map(limits::cpu_time)),
        ("processors", limits::processors(allowed)),
        (
            "processes",
            usage
                .processes
                .map(|n| limits::of(n, allowed.processes, counted)),
        ),
        ("disks", io),
    ]
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
        State::Frozen => "frozen",
        State::Restarting => "restarting",
        _ => "unknown",
    }
    .to_owned()
}
