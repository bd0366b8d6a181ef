//! `sampan forward`: ports of this host that lead to a container.

use sampan_runtime::Forward;

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
The port leads there whenever the container runs, over IPv4 and IPv6, and goes with the container.
A container that is called `ls` or `rm` is named after `add`.

Examples:
  sampan forward web 8080:80
  sampan forward dns 53:53/udp
  sampan forward ls
  sampan forward rm web 8080"
)]
pub struct Args {
    #[command(flatten)]
    add: Add,
    #[command(subcommand)]
    command: Option<Command>,
}

/// A port and where it leads.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The container
    #[arg(required = true)]
    name: Option<String>,
    /// HOST:CONTAINER, with /udp for UDP
    #[arg(required = true, value_name = "PORTS")]
    ports: Vec<String>,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lead a port to a container
    Add(Add),
    /// List the forwarded ports
    Ls,
    /// Lead a port there no more
    Rm {
        /// The container
        name: String,
        /// The host's port, with /udp for UDP
        #[arg(required = true)]
        ports: Vec<String>,
    },
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    match &args.command {
        None => add(context, &args.add),
        Some(Command::Add(args)) => add(context, args),
        Some(Command::Ls) => ls(context),
        Some(Command::Rm { name, ports }) => rm(context, name, ports),
    }
}

fn add(context: &Context, add: &Add) -> Outcome {
    context.need_root("forwarding a port")?;
    let name = add
        .name
        .as_deref()
        .ok_or_else(|| Failure::new("no container is named"))?;
    let container = context.container(name)?;
    for text in &add.ports {
        let forward: Forward = text.parse()?;
        context.networks().forward(&container, forward)?;
        context.console.say(&format!(
            "port {}/{} leads to port {} of {name}",
            forward.host, forward.protocol, forward.guest
        ));
    }
    Ok(())
}

fn rm(context: &Context, name: &str, ports: &[String]) -> Outcome {
    context.need_root("stopping to forward a port")?;
    let container = context.container(name)?;
    for text in ports {
        let Forward { host, protocol, .. } = text.parse()?;
        context.networks().unforward(&container, host, protocol)?;
        context
            .console
            .say(&format!("port {host}/{protocol} leads to {name} no more"));
    }
    Ok(())
}

fn ls(context: &Context) -> Outcome {
    let forwards = context.networks().forwards()?;
    output::print(context.global.format, &forwards, |forwards| {
        output::table(
            ["CONTAINER", "HOST", "PORT", "PROTOCOL"],
            forwards.iter().map(|forward| {
                [
                    forward.container.clone(),
                    forward.host.to_string(),
                    forward.port.to_string(),
                    forward.protocol.to_string(),
                ]
            }),
        )
    })
}
