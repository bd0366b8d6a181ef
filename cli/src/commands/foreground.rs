//! `sampan start --foreground`: for a service manager, or for a person who wants to see it boot.

use std::{io::IsTerminal, process::ExitCode};

use sampan_runtime::{Container, Exit, ForegroundOptions, How, Progress};

use super::console::{Key, key_name};
use crate::{context::Context, failure::Outcome, notify::Notify};

/// Runs the container until it ends.
pub fn run(context: &Context, container: &Container, escape: Key) -> Outcome<ExitCode> {
    let notify = Notify::from_environment()?;
    let name = container.name().as_str();
    let interactive = std::io::stdin().is_terminal();
    let options = ForegroundOptions {
        escape: escape.0.filter(|_| interactive),
        ..ForegroundOptions::default()
    };
    let mut tell = |progress| match progress {
        Progress::Running(pid) => {
            let own = format!("MAINPID={}", std::process::id());
            let status = format!("STATUS=init is process {pid}");
            notify.tell(&["READY=1", &own, &status]);
            let leave = options.escape.map_or(String::new(), |key| {
                format!("; {} q asks it to halt", key_name(key))
            });
            if interactive {
                let say = format!("started {name} (init is process {pid}){leave}");
                context.console.say(&say);
            }
        }
        Progress::Stopping => {
            notify.tell(&["STOPPING=1", "STATUS=asked to halt"]);
            if interactive {
                let say = format!("asked {name} to halt; once more kills it");
                context.console.say_below(&say);
            }
        }
        _ => context.console.say_below(&format!(
            "some of the console was left out, as nobody took it: sampan logs {name}"
        )),
    };
    let exit = container.run_in_foreground(&options, &mut tell)?;
    notify.tell(&[&format!("STATUS=init {exit}")]);
    if interactive {
        let say = format!("{name} has ended: init {exit}");
        context.console.say_below(&say);
    }
    Ok(code(&exit))
}

/// What a caller wants to know: 0 after a halt, else init's status, or 128 plus the signal.
pub fn code(exit: &Exit) -> ExitCode {
    let code = match (exit.how, exit.status, exit.signal) {
        (_, Some(status), _) => status,
        (_, _, Some(signal)) => 128 + signal,
        (How::Halted | How::Rebooted, ..) => 0,
        (How::MonitorKilled, ..) => 128 + 9,
        _ => 1,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
