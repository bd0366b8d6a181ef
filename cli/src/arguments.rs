//! What can be typed: the arguments that all commands share, and the commands.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::commands::{
    autostart, config, console, copy, create, destroy, doctor, events, exec, forward, freeze,
    image, info, logs, ls, network, rename, restart, run, set, shell, snapshot, start, stop,
    template, top, unfreeze, wait,
};

const EXAMPLES: &str = "\
Examples:
  sampan create web -t debian --start      a Debian container, built or from the cache
  sampan shell web                         a login shell in it
  sampan exec web -- systemctl status      one command, its exit code
  sampan stop web
  sampan destroy web";

/// System containers from templates.
#[derive(Debug, Parser)]
#[command(name = "sampan", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    /// What all commands share.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Reads this program's arguments. Help and mistakes end it, with clap's words.
    pub fn read() -> Arguments {
        let typed: Vec<OsString> = std::env::args_os().collect();
        Arguments::of_one_command(&typed).unwrap_or_else(|| Arguments::parse_from(typed))
    }

    /// Reads them with a parser that knows one command, the first word that is one. What it
    /// understands, the whole parser understands alike; that one takes three times as long, because
    /// every command gets its copy of the arguments that all share.
    fn of_one_command(typed: &[OsString]) -> Option<Arguments> {
        let all = Command::augment_subcommands(clap::Command::new("sampan"));
        let mut words = typed.iter().skip(1);
        let command = words.find_map(|word| all.find_subcommand(word))?.clone();
        let parser = Global::augment_args(clap::Command::new("sampan"))
            .subcommand_required(true)
            .subcommand(command);
        let matches = parser.try_get_matches_from(typed).ok()?;
        Arguments::from_arg_matches(&matches).ok()
    }
}

/// Arguments of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Put every directory (state, cache, run, log) below DIR
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        help_heading = "For every command"
    )]
    pub root: Option<PathBuf>,
    /// Where the containers are [default: /var/lib/sampan]
    #[arg(
        short = 'P',
        long,
        value_name = "DIR",
        global = true,
        help_heading = "For every command",
        env = "SAMPAN_PATH"
    )]
    pub path: Option<PathBuf>,
    /// How data is printed
    #[arg(
        long,
        value_enum,
        default_value_t,
        global = true,
        help_heading = "For every command"
    )]
    pub format: Format,
    /// Say nothing but errors
    #[arg(
        short,
        long,
        global = true,
        help_heading = "For every command",
        conflicts_with = "verbose"
    )]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, help_heading = "For every command")]
    pub verbose: bool,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs; the fields are documented and stable
    Json,
}

/// The commands. What each takes is described to the parser when it is typed: all of it takes as long
/// as an `exec` does.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Create a container from a template
    Create(create::Args),
    /// Start containers
    Start(start::Args),
    /// Stop containers
    Stop(stop::Args),
    /// Stop and start containers
    Restart(restart::Args),
    /// Let no process of a container run for a while
    Freeze(freeze::Args),
    /// Let a frozen container run again
    Unfreeze(unfreeze::Args),
    /// Start or stop the containers that start with the machine
    Autostart(autostart::Args),
    /// Wait until a container is in some state
    Wait(wait::Args),
    /// Show what happens to containers, as it happens
    Events(events::Args),
    /// Remove containers with everything in them
    Destroy(destroy::Args),
    /// Make a container from another one, with an identity of its own
    Copy(copy::Args),
    /// Give a container another name
    Rename(rename::Args),
    /// Snapshots: what a container was at a moment
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// List the containers
    Ls(ls::Args),
    /// Show what is known of a container
    Info(info::Args),
    /// Read or change the configuration of a container
    #[command(subcommand)]
    Config(config::Command),
    /// Show what running containers use, live
    Top(top::Args),
    /// Change the limits of a container
    Set(set::Args),
    /// Run a command in a running container
    Exec(exec::Args),
    /// Open a login shell in a running container
    Shell(shell::Args),
    /// Run one command in a container of its own, which is gone afterwards
    Run(Box<run::Args>),
    /// Open a container's console, or one of its terminals
    Console(console::Args),
    /// Show what a container wrote to its console
    Logs(logs::Args),
    /// Networks: what containers are connected by
    #[command(subcommand)]
    Network(network::Command),
    /// Ports of this host that lead to a container
    Forward(forward::Args),
    /// Templates: what can be built
    #[command(subcommand)]
    Template(template::Command),
    /// Images: what has been built
    #[command(subcommand)]
    Image(image::Command),
    /// Look whether this machine can do what containers need
    Doctor(doctor::Args),
    /// The process that runs a template's code
    #[command(hide = true)]
    Worker,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(words: &[&str]) -> Option<Arguments> {
        let typed: Vec<OsString> = words.iter().map(OsString::from).collect();
        Arguments::of_one_command(&typed)
    }

    #[test]
    fn the_short_way_reads_what_the_long_one_reads() {
        for words in [
            &["sampan", "exec", "web", "--", "start", "-q"][..],
            &[
                "sampan", "--root", "/r", "start", "web", "-q", "--format", "json",
            ],
            &["sampan", "snapshot", "ls", "web", "-P", "/p"],
            &["sampan", "image", "ls"],
            &["sampan", "ls"],
        ] {
            let long = Arguments::try_parse_from(words).unwrap();
            let short = one(words).unwrap();
            assert_eq!(format!("{short:?}"), format!("{long:?}"), "{words:?}");
        }
    }

    #[test]
    fn help_mistakes_and_values_that_look_like_commands_go_the_long_way() {
        for words in [
            &["sampan", "start"][..],
            &["sampan", "start", "--help"],
            &["sampan", "--version"],
            &["sampan", "frobnicate"],
            &["sampan", "--root", "start", "ls"],
        ] {
            assert!(one(words).is_none(), "{words:?}");
        }
        let words = ["sampan", "--root", "start", "ls"];
        let long = Arguments::try_parse_from(words).unwrap();
        assert_eq!(long.global.root, Some(PathBuf::from("start")));
        assert!(matches!(long.command, Command::Ls(_)));
    }

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory;
        let mut whole = Arguments::command();
        whole.build();
        whole.debug_assert();
    }
}
