//! What can be typed: the arguments that all commands share, and the commands.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::commands::{
    autostart, config, console, copy, create, destroy, events, exec, forward, freeze, image, info,
    logs, ls, network, rename, restart, run, set, shell, snapshot, start, stop, template, top,
    unfreeze, wait,
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

/// The commands.
#[derive(Debug, Subcommand)]
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
    /// The process that runs a template's code
    #[command(hide = true)]
    Worker,
}
