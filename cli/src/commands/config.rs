//! `sampan config`: a container's configuration, read and changed.

mod change;
mod edit;

use sampan_runtime::{
    Edited,
    config::{self, Assignment},
};
use serde::Serialize;

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output,
};
use sampan_core::Level;
use sampan_plugins::Reporter as _;

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Keys are those of lxc.container.conf(5); docs/config.md says what each does. A change counts from the
container's next start.

Examples:
  sampan config get web lxc.uts.name
  sampan config set web lxc.cgroup2.memory.max 512M
  sampan config set web lxc.mount.entry \"/srv/data srv/data none bind,create=dir\" --add
  sampan config unset web lxc.cgroup2.memory.max
  sampan config show web --verbose
  sampan config edit web")]
pub enum Command {
    /// Print the value of a key, or the values, one a line
    #[command(after_help = "Example:\n  sampan config get web lxc.cap.drop")]
    Get {
        /// The container
        name: String,
        /// The key
        key: String,
    },
    /// Give a key a value, or several to one that holds several
    Set(change::SetArgs),
    /// Remove a key
    Unset(change::UnsetArgs),
    /// Print all that counts: with what is included, without what is overridden, in today's words
    #[command(after_help = "\
With --verbose each line is followed by the file and line it comes from.

Example:
  sampan config show web --verbose")]
    Show {
        /// The container
        name: String,
    },
    /// Change it in an editor; what cannot be obeyed is not taken
    Edit(edit::Args),
}

/// A line that counts, as it is printed.
#[derive(Serialize)]
struct Shown {
    key: String,
    value: String,
    file: String,
    line: usize,
    written: String,
}

/// Runs the command.
pub fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::Get { name, key } => get(context, name, key),
        Command::Set(args) => change::set(context, args),
        Command::Unset(args) => change::unset(context, args),
        Command::Show { name } => show(context, name),
        Command::Edit(args) => edit::run(context, args),
    }
}

fn get(context: &Context, name: &str, key: &str) -> Outcome {
    let file = context.container(name)?.config()?;
    let key = config::today(key);
    let lines = shown(config::values_of(config::effective(&file)?, &key));
    if lines.is_empty() {
        let failure = Failure::new(format!("{key} is not set in the config of {name}"));
        return Err(
            if key.starts_with("sampan.") || config::keys::find(&key).is_some() {
                failure
            } else {
                match config::keys::nearest_to(&key).as_slice() {
                    [] => failure.hint("no key has this name; docs/config.md lists them"),
                    near => failure.hint(format!(
                        "no key has this name; did you mean {}?",
                        near.join(" or ")
                    )),
                }
            },
        );
    }
    output::print(context.global.format, &lines, |lines| {
        lines
            .iter()
            .map(|line| format!("{}\n", output::printable(&line.value)))
            .collect()
    })
}

fn show(context: &Context, name: &str) -> Outcome {
    let file = context.container(name)?.config()?;
    let lines = shown(config::counting(config::effective(&file)?));
    output::print(context.global.format, &lines, |lines| {
        lines
            .iter()
            .map(|line| text(line, context.global.verbose))
            .collect()
    })?;
    for problem in config::problems(&file) {
        context.console.log(Level::Warn, &problem.chain());
    }
    Ok(())
}

fn shown(lines: Vec<Assignment>) -> Vec<Shown> {
    lines
        .into_iter()
        .map(|line| Shown {
            file: line.file.display().to_string(),
            line: line.number,
            key: line.key,
            value: line.value,
            written: line.written,
        })
        .collect()
}

/// A line of a config; its origin is a comment, which stands on a line of its own there.
fn text(line: &Shown, origin: bool) -> String {
    let pair = output::printable(&format!("{} = {}", line.key, line.value));
    if !origin {
        return format!("{pair}\n");
    }
    let was = if line.written == line.key {
        String::new()
    } else {
        format!(", as {}", line.written)
    };
    let place = output::printable(&format!("{}:{}{was}", line.file, line.line));
    format!("# {place}\n{pair}\n")
}

/// Tells what an edit came to.
fn report(context: &Context, name: &str, edited: &Edited) {
    for problem in &edited.problems {
        let problem = format!("not by this change, but still: {}", problem.chain());
        context.console.log(Level::Warn, &problem);
    }
    context.console.say(&match (edited.changed, edited.running) {
        (false, _) => format!("the config of {name} is as it was"),
        (true, false) => format!("changed the config of {name}"),
        (true, true) => format!(
            "changed the config of {name}; it runs with the former one, the change counts from its next start"
        ),
    });
}
