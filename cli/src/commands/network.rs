//! `sampan network`: what containers are connected by.

use std::process::ExitCode;

use sampan_runtime::{
    AttachOptions, Firewall, Form, NetworkDefinition, NetworkInfo, NetworkKind, Uplink,
};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output,
};

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
New containers are in sampan0 unless something else is said; it is made when it is first needed.

Examples:
  sampan network create lab -o ipv4=10.20.0.0/24 -o host-access=yes
  sampan network create dark --kind isolated
  sampan network create machines --kind vde
  sampan network create lan --kind bridge --existing br0
  sampan network create br0 --kind bridge --uplink eth0
  sampan network create br0 --kind bridge --uplink eth0 --print ifupdown
  sampan create web -t debian --network lab
  sampan network attach lab db
  sampan network set sampan0 host-access=yes")]
pub enum Command {
    /// List the networks
    Ls,
    /// Show what is known of a network
    Show {
        /// The network
        name: String,
    },
    /// Make a network; it is brought up when it is needed
    Create(CreateArgs),
    /// Remove networks that no container is in
    Rm {
        /// The networks
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Bring networks up; a start does so by itself
    Up(SomeArgs),
    /// Take networks down, with all that was made for them
    Down(SomeArgs),
    /// Put a container into a network, at once if it runs
    #[command(after_help = "Example:\n  sampan network attach lab web")]
    Attach(AttachArgs),
    /// Take a container out of a network, at once if it runs
    #[command(after_help = "Example:\n  sampan network detach lab web")]
    Detach {
        /// The network
        network: String,
        /// The container
        container: String,
    },
    /// Change options of a network, at once
    Set {
        /// The network
        name: String,
        /// dns, dhcp, host-access (yes or no), domain, ipv4, ipv6, socket, group
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
        options: Vec<(String, String)>,
    },
}

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// The name, also of its bridge: 15 characters at most
    name: String,
    /// nat, isolated, vde, bridge, macvlan, ipvlan, vlan or phys
    #[arg(long, default_value = "nat", value_parser = kind)]
    kind: NetworkKind,
    /// The bridge or interface of this host that it stands on (all kinds but nat, isolated and vde)
    #[arg(long, value_name = "INTERFACE")]
    existing: Option<String>,
    /// Of the kind bridge: the host's interface that becomes a port of a new bridge NAME, which takes
    /// over its addresses and routes; all is taken back if a gateway does not answer then
    #[arg(long, value_name = "INTERFACE", conflicts_with = "existing")]
    uplink: Option<String>,
    /// Write what makes that bridge at every boot, for ifupdown, networkd or netplan, and touch
    /// nothing
    #[arg(long, value_name = "FORM", requires = "uplink", value_parser = form)]
    print: Option<Form>,
    /// An option: ipv4, ipv6 (SUBNET, or none), dns, dhcp, host-access, domain; socket,
    /// group (of vde); vlan, mode
    #[arg(short = 'o', long = "option", value_name = "KEY=VALUE", value_parser = pair)]
    options: Vec<(String, String)>,
}

/// Arguments of `attach`.
#[derive(Debug, clap::Args)]
pub struct AttachArgs {
    /// The network
    network: String,
    /// The container
    container: String,
    /// The interface's name in the container [default: the first of eth0, eth1, … that is free]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
}

/// Some networks, or all.
#[derive(Debug, clap::Args)]
pub struct SomeArgs {
    /// The networks
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

/// Runs the subcommand.
pub fn run(context: &Context, command: &Command) -> Outcome<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Ls => ls(context).map(done),
        Command::Show { name } => show(context, name).map(done),
        Command::Create(args) => create(context, args).map(done),
        Command::Attach(args) => attach(context, args).map(done),
        Command::Detach { network, container } => detach(context, network, container).map(done),
        Command::Rm { names } => {
            context.need_root("removing a network")?;
            each(context, names, "removed the network", |name| {
                Ok(context.networks().remove(name)?)
            })
        }
        Command::Up(args) => {
            context.need_root("bringing a network up")?;
            let names = args.names(context)?;
            let code = each(context, &names, "brought up the network", |name| {
                Ok(context.networks().up(name)?)
            })?;
            for name in &names {
                tell_of_firewalls(context, name);
            }
            Ok(code)
        }
        Command::Down(args) => {
            context.need_root("taking a network down")?;
            let names = args.names(context)?;
            each(context, &names, "took down the network", |name| {
                Ok(context.networks().down(name)?)
            })
        }
        Command::Set { name, options } => {
            context.need_root("changing a network")?;
            context.networks().set(name, options)?;
            context.console.say(&format!("changed the network {name}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl SomeArgs {
    fn names(&self, context: &Context) -> Outcome<Vec<String>> {
        if !self.all {
            return Ok(self.names.clone());
        }
        let all = context.networks().list()?;
        Ok(all.into_iter().map(|network| network.name).collect())
    }
}

/// Goes on past one that fails.
fn each(
    context: &Context,
    names: &[String],
    done: &str,
    work: impl Fn(&str) -> Outcome,
) -> Outcome<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match work(name) {
            Ok(()) => context.console.say(&format!("{done} {name}")),
            Err(failure) => {
                eprint!("{}", failure.words());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// What others have in the way, and what was done about it. One that did not come up has said why.
fn tell_of_firewalls(context: &Context, name: &str) {
    let networks = context.networks();
    let info = networks
        .open(name)
        .and_then(|network| networks.info(&network));
    for Firewall { name, open, how } in info.map_or(Vec::new(), |info| info.firewalls) {
        match open {
            true => context
                .console
                .say(&format!("{name} lets it through: {how}")),
            false => eprintln!("warning: {name} may not let it through\nhint: {how}"),
        }
    }
}

fn create(context: &Context, args: &CreateArgs) -> Outcome {
    let mut network = NetworkDefinition::new(&args.name, args.kind)?;
    if let Some(uplink) = &args.uplink {
        network.set("uplink", uplink)?;
    }
    if let (Some(form), Some(interface)) = (args.print, args.uplink.clone()) {
        let bridge = args.name.clone();
        let text = Uplink { interface, bridge }.persistent(form)?;
        return output::write(text.as_bytes());
    }
    context.need_root("making a network")?;
    match (&args.existing, args.kind.is_managed()) {
        _ if args.uplink.is_some() => {}
        (Some(link), false) => network.set("link", link)?,
        (None, false) => {
            return Err(Failure::new(format!(
                "a network of the kind {} stands on an interface of this host",
                args.kind
            ))
            .hint("name it: --existing br0; or make one above an interface: --uplink eth0"));
        }
        (Some(_), true) => {
            return Err(Failure::new(format!(
                "a network of the kind {} has a bridge of its own",
                args.kind
            ))
            .hint("to use one that is there: --kind bridge"));
        }
        (None, true) => {}
    }
    let mut ipv6 = true;
    for (key, value) in &args.options {
        network.set(key, value)?;
        ipv6 &= key != "ipv6";
    }
    let networks = context.networks();
    let made = networks.create(network, ipv6)?;
    // At once: what is done to the host shall not come as a surprise, with some later start.
    if args.uplink.is_some()
        && let Err(error) = networks.up(&made.name)
    {
        networks.remove(&made.name)?;
        return Err(error.into());
    }
    let subnet = made
        .ipv4
        .map(|own| format!(" ({}/{})", own.address, own.bits));
    context.console.say(&format!(
        "created the network {}{}",
        made.name,
        subnet.unwrap_or_default()
    ));
    Ok(())
}

fn attach(context: &Context, args: &AttachArgs) -> Outcome {
    context.need_root("attaching a network")?;
    let container = context.container(&args.container)?;
    let networks = context.networks();
    let options = AttachOptions {
        interface: args.interface.clone(),
    };
    let (mut told, mut prepared) = (true, None);
    let attached = networks
        .attach(&container, &args.network, &options, |attached| {
            prepared = Some(attached.interface.clone());
            let network = networks.open(&args.network)?;
            told = crate::network::tell_of_attached(context, &container, &network, attached)?;
            Ok::<(), Failure>(())
        })
        .inspect_err(|_| {
            if let Some(interface) = &prepared {
                // Why it failed is told; this is only tidying up.
                let _ = crate::network::tell_of_detached(context, &container, interface);
            }
        })?;
    let addresses: Vec<String> = attached.addresses.iter().map(ToString::to_string).collect();
    let addresses = match addresses.is_empty() {
        true => String::new(),
        false => format!(" ({})", addresses.join(", ")),
    };
    context.console.say(&format!(
        "attached {} to {} as {}{addresses}{}",
        args.container,
        args.network,
        attached.interface,
        when(attached.running),
    ));
    if !told {
        context.console.say(
            "its files are out of reach while it runs: its resolv.conf and its own network \
             configuration are as they were",
        );
    }
    Ok(())
}

fn detach(context: &Context, network: &str, name: &str) -> Outcome {
    context.need_root("detaching a network")?;
    let container = context.container(name)?;
    let detached = context.networks().detach(&container, network)?;
    crate::network::tell_of_detached(context, &container, &detached.interface)?;
    context.console.say(&format!(
        "detached {name} from {network}: it has no {} any more{}",
        detached.interface,
        when(detached.running)
    ));
    Ok(())
}

/// What does not run has it, or not, from its next start on.
fn when(running: bool) -> &'static str {
    if running {
        ""
    } else {
        ", from its next start on"
    }
}

fn ls(context: &Context) -> Outcome {
    let networks = context.networks();
    let mut all = Vec::new();
    for network in networks.list()? {
        all.push(networks.info(&network)?);
    }
    output::print(context.global.format, &all, |all| {
        output::table(
            [
                "NAME",
                "KIND",
                "STATE",
                "LINK",
                "IPV4",
                "IPV6",
                "CONTAINERS",
            ],
            all.iter().map(|network| {
                let or_dash =
                    |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
                [
                    network.name.clone(),
                    network.kind.to_string(),
                    state(network).to_owned(),
                    network.link.clone(),
                    or_dash(&network.ipv4),
                    or_dash(&network.ipv6),
                    network.containers.len().to_string(),
                ]
            }),
        )
    })
}

fn show(context: &Context, name: &str) -> Outcome {
    let networks = context.networks();
    let network = networks.info(&networks.open(name)?)?;
    output::print(context.global.format, &network, |network| {
        let word = |yes: bool| Some(if yes { "yes" } else { "no" }.to_owned());
        let own = |yes| network.kind.is_managed().then(|| word(yes)).flatten();
        output::fields([
            ("name", Some(network.name.clone())),
            ("kind", Some(network.kind.to_string())),
            ("state", Some(state(network).to_owned())),
            ("link", Some(network.link.clone())),
            ("uplink", network.uplink.clone()),
            ("ipv4", network.ipv4.clone()),
            ("ipv6", network.ipv6.clone()),
            ("dns", own(network.dns)),
            ("dhcp", own(network.dhcp)),
            ("host-access", own(network.host_access)),
            (
                "socket",
                network
                    .socket
                    .as_ref()
                    .map(|path| path.display().to_string()),
            ),
            (
                "firewalls",
                (!network.firewalls.is_empty()).then(|| {
                    let words = network
                        .firewalls
                        .iter()
                        .map(|Firewall { name, open, how }| {
                            let open = if *open { "open" } else { "closed" };
                            format!("{name} {open}: {how}")
                        });
                    words.collect::<Vec<_>>().join("; ")
                }),
            ),
            (
                "containers",
                (!network.containers.is_empty()).then(|| network.containers.join(" ")),
            ),
        ])
    })
}

fn state(network: &NetworkInfo) -> &'static str {
    if network.up { "up" } else { "down" }
}

fn kind(text: &str) -> Result<NetworkKind, String> {
    text.parse()
        .map_err(|_| "choose nat, isolated, vde, bridge, macvlan, ipvlan, vlan or phys".to_owned())
}

fn form(text: &str) -> Result<Form, String> {
    text.parse()
        .map_err(|_| "choose ifupdown, networkd or netplan".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
