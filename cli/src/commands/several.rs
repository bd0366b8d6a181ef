//! Commands that take several containers: each does its work, each failure is told.

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        mpsc::{self, Sender},
    },
};

use sampan_runtime::{Container, State};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
};

/// More at once would only make each other wait.
const AT_ONCE: usize = 16;

/// Which containers.
#[derive(Debug, clap::Args)]
pub struct Names {
    /// The containers
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,
    /// All containers for which there is something to do
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
}

impl Names {
    /// Does some work on each container, several at once, and says what came of it. `--all` means
    /// those in a state that `applies`.
    pub fn each(
        &self,
        context: &Context,
        applies: impl Fn(State) -> bool,
        work: impl Fn(&Container) -> Outcome<String> + Sync,
    ) -> Outcome<ExitCode> {
        let mut opened = Vec::new();
        let mut failures = Vec::new();
        if self.all {
            for info in context.containers().list()? {
                if applies(info.state) {
                    opened.push(context.container(&info.name)?);
                }
            }
        }
        let mut seen = Vec::new();
        for name in &self.names {
            // Twice the same name is one container.
            if !seen.contains(&name) {
                seen.push(name);
                match context.container(name) {
                    Ok(container) => opened.push(container),
                    Err(failure) => failures.push(failure),
                }
            }
        }
        if seen.len() == 1 {
            // Alone, it is the command's own failure.
            if let Some(failure) = failures.pop() {
                return Err(failure);
            }
            let [container] = &opened[..] else {
                return Ok(ExitCode::SUCCESS);
            };
            context.console.say(&work(container)?);
            return Ok(ExitCode::SUCCESS);
        }
        if self.all && opened.is_empty() {
            context.console.say("there is no container to do that with");
        }
        for failure in &failures {
            eprint!("{}", failure.words());
        }
        at_once(opened, &work, |result| match result {
            Ok(line) => context.console.say(&line),
            Err(failure) => {
                eprint!("{}", failure.words());
                failures.push(failure);
            }
        });
        // One that failed in earnest counts more than one with nothing to do.
        let codes = failures.iter().map(Failure::code);
        Ok(ExitCode::from(codes.min().unwrap_or(0)))
    }
}

/// Works on several things in threads; their results are taken here, as they come.
pub fn at_once<T: Send, R: Send>(
    things: Vec<T>,
    work: &(impl Fn(&T) -> R + Sync),
    mut take: impl FnMut(R),
) {
    let workers = things.len().min(AT_ONCE);
    let queue = Mutex::new(things.into_iter());
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, queue): (Sender<R>, _) = (sender.clone(), &queue);
            scope.spawn(move || {
                loop {
                    let next = match queue.lock() {
                        Ok(mut queue) => queue.next(),
                        Err(_) => None,
                    };
                    let Some(thing) = next else { return };
                    if sender.send(work(&thing)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for result in results {
            take(result);
        }
    });
}
