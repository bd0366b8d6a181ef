//! `sampan autostart`.

use std::{process::ExitCode, time::Duration};

use sampan_runtime::{
    Chosen, Container, Reason, Selection, StartOptions, State, StopOptions, Stopped,
};

use super::{info, several::at_once, stop};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output, signals,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Starts the containers with lxc.start.auto = 1, by group, lxc.start.order and name. Those of one group
with the same order are started at once; before the next ones, the longest lxc.start.delay of them is
waited for. To stop, the order is reversed. What fails does not keep the others from starting.

A container may be in several groups (lxc.group). Without -g those in no group are meant; an empty name
means them too.

Examples:
  sampan autostart -g onboot,            the group \"onboot\", then those in no group
  sampan autostart --list --all
  sampan autostart --stop --all --ignore-auto")]
pub struct Args {
    /// Stop them instead, in reverse order
    #[arg(short, long, alias = "shutdown", conflicts_with_all = ["restart", "list"])]
    stop: bool,
    /// Restart them instead
    #[arg(short, long, alias = "reboot", conflicts_with = "list")]
    restart: bool,
    /// Kill them rather than ask them to halt; implies --stop unless --restart is given
    #[arg(short, long, conflicts_with_all = ["list", "timeout"])]
    kill: bool,
    /// Only show which containers are meant, and in which order
    #[arg(short = 'L', long)]
    list: bool,
    /// How long to wait for one to halt, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Only these groups, in this order
    #[arg(short, long, value_name = "GROUP,…")]
    groups: Vec<String>,
    /// Of any group or none
    #[arg(short, long, conflicts_with = "groups")]
    all: bool,
    /// Also containers without lxc.start.auto = 1
    #[arg(short = 'A', long)]
    ignore_auto: bool,
}

/// Fields of `--list --format json`.
#[derive(serde::Serialize)]
struct Row {
    name: String,
    stage: usize,
    group: Option<String>,
    order: i32,
    delay: u32,
    auto: bool,
    groups: Vec<String>,
    state: State,
}

/// What became of one container.
enum Done {
    /// What was asked for.
    Changed(String),
    /// It was so already.
    Nothing,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    if !args.list {
        context.need_root("starting and stopping containers")?;
    }
    let groups = match (&args.groups[..], args.all) {
        (_, true) => None,
        ([], _) => Some(vec![String::new()]),
        (groups, _) => Some(
            groups
                .iter()
                .flat_map(|word| word.split(','))
                .map(|group| group.trim().to_owned())
                .collect(),
        ),
    };
    let selection = Selection {
        groups,
        ignore_auto: args.ignore_auto,
    };
    let order = context.containers().autostart(&selection)?;
    let mut failed = order.broken.len();
    for (_, error) in order.broken {
        eprint!("{}", Failure::from(error).words());
    }
    if args.list {
        list(context, &order.stages)?;
        return Ok(ExitCode::from(u8::from(failed > 0)));
    }
    let stopping = (args.stop || args.kill) && !args.restart;
    let mut stages = order.stages;
    if stopping {
        stages.reverse();
    }
    let (mut changed, mut unchanged, mut interrupted) = (0, 0, None);
    let last = stages.len();
    for (number, stage) in stages.into_iter().enumerate() {
        let mut delay = 0;
        let containers = stage
            .into_iter()
            .filter_map(|chosen| match context.container(chosen.name.as_str()) {
                Ok(container) => Some((container, chosen.settings.delay)),
                Err(failure) => {
                    eprint!("{}", failure.words());
                    failed += 1;
                    None
                }
            })
            .collect();
        let work = |(container, delay): &(Container, u32)| {
            let done = if stopping {
                stop_one(container, args)
            } else {
                start_one(container, args)
            };
            (done.map_err(Failure::from), *delay)
        };
        at_once(containers, &work, |(done, its_delay)| match done {
            Ok(Done::Changed(line)) => {
                context.console.say(&line);
                changed += 1;
                delay = delay.max(its_delay);
            }
            Ok(Done::Nothing) => unchanged += 1,
            Err(failure) => {
                eprint!("{}", failure.words());
                failed += 1;
            }
        });
        if !stopping && number + 1 < last {
            let delay = Duration::from_secs(delay.into());
            interrupted = signals::sleep(delay)?;
            if interrupted.is_some() {
                break;
            }
        }
    }
    let verb = match (stopping, args.restart) {
        (true, _) => "stopped",
        (_, true) => "restarted",
        _ => "started",
    };
    context.console.say(&format!(
        "{changed} {verb}, {unchanged} with nothing to do, {failed} failed"
    ));
    if let Some(signal) = interrupted {
        context.console.say(&format!(
            "ended by {signal}, so the later ones were left alone"
        ));
        return Ok(ExitCode::from(128 + signal as u8));
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn start_one(container: &Container, args: &Args) -> sampan_runtime::Result<Done> {
    let name = container.name();
    if args.restart {
        let restarted = container.restart(&stop_options(args), &StartOptions::default())?;
        let before = match restarted.stopped {
            Some(stopped) => stop::words(name.as_str(), stopped),
            None => format!("{name} was not running"),
        };
        return Ok(Done::Changed(format!("{before}; started it")));
    }
    match container.start(&StartOptions::default()) {
        Ok(_) => Ok(Done::Changed(format!("started {name}"))),
        Err(error) if error.reason() == Reason::Running => Ok(Done::Nothing),
        Err(error) => Err(error),
    }
}

fn stop_one(container: &Container, args: &Args) -> sampan_runtime::Result<Done> {
    let stopped: Result<Stopped, _> = container.stop(&stop_options(args));
    match stopped {
        Ok(stopped) => Ok(Done::Changed(stop::words(
            container.name().as_str(),
            stopped,
        ))),
        Err(error) if error.reason() == Reason::NotRunning => Ok(Done::Nothing),
        Err(error) => Err(error),
    }
}

fn stop_options(args: &Args) -> StopOptions {
    StopOptions {
        kill: args.kill,
        timeout: Duration::from_secs(args.timeout),
        ..StopOptions::default()
    }
}

fn list(context: &Context, stages: &[Vec<Chosen>]) -> Outcome {
    let mut rows = Vec::new();
    for (stage, chosen) in stages.iter().enumerate() {
        for one in chosen {
            rows.push(Row {
                name: one.name.to_string(),
                stage: stage + 1,
                group: one.group.clone(),
                order: one.settings.order,
                delay: one.settings.delay,
                auto: one.settings.auto,
                groups: one.settings.groups.clone(),
                state: context.container(one.name.as_str())?.state()?,
            });
        }
    }
    output::print(context.global.format, &rows, |rows| {
        output::table(
            ["STAGE", "NAME", "ORDER", "DELAY", "GROUPS", "STATE"],
            rows.iter().map(|row| {
                let groups = row.groups.join(",");
                [
                    row.stage.to_string(),
                    row.name.clone(),
                    row.order.to_string(),
                    row.delay.to_string(),
                    match groups.is_empty() {
                        true => "-".to_owned(),
                        false => groups,
                    },
                    info::state(row.state),
                ]
            }),
        )
    })
}
