//! Programs of the host's that take part in networks: `lxc.net.N.script.up` and `.down`.
//!
//! They are told what liblxc tells them: the kind of network, its link and the host's end of a veth,
//! as arguments, and with version 1 of hooks in the environment too.

use crate::config::{Network, NetworkKind, Script, Settings};
use crate::container::Container;
use crate::error::Result;
use crate::hooks::{self, Context, Output};
use crate::network::Owner;

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Up,
    Down,
}

impl Moment {
    fn name(self) -> &'static str {
        match self {
            Moment::Up => "up",
            Moment::Down => "down",
        }
    }
}

/// Runs the scripts of interfaces that are still on the host when theirs runs: those that are given
/// away. The others' run when they are made.
pub(super) fn up_before(
    owner: Owner<'_>,
    settings: &Settings,
    context: &Context,
    output: &mut Output,
) -> Result<()> {
    up(
        owner,
        settings,
        |kind| kind == NetworkKind::Phys,
        context,
        output,
    )
}

/// Runs the scripts of all networks but those of [`up_before`].
pub(super) fn up_after(
    owner: Owner<'_>,
    settings: &Settings,
    context: &Context,
    output: &mut Output,
) -> Result<()> {
    up(
        owner,
        settings,
        |kind| kind != NetworkKind::Phys,
        context,
        output,
    )
}

fn up(
    owner: Owner<'_>,
    settings: &Settings,
    which: impl Fn(NetworkKind) -> bool,
    context: &Context,
    output: &mut Output,
) -> Result<()> {
    for network in settings.networks.iter().filter(|it| which(it.kind)) {
        if let Some(script) = &network.up_script {
            run(owner, network, (Moment::Up, script), context, output)?;
        }
    }
    Ok(())
}

/// Runs those at the end. A failure changes nothing any more and is logged.
pub(super) fn down(
    container: &Container,
    (settings, networks): (&Settings, &[Network]),
    context: &Context,
) {
    let mut output = match Output::new(&hooks::log_file(container, settings)) {
        Ok(output) => output,
        Err(error) => return eprintln!("{error:?}"),
    };
    for network in networks {
        let Some(script) = &network.down_script else {
            continue;
        };
        let call = (Moment::Down, script);
        if let Err(error) = run(container.owner(), network, call, context, &mut output) {
            eprintln!("{error:?}");
        }
    }
}

fn run(
    owner: Owner<'_>,
    network: &Network,
    (moment, script): (Moment, &Script),
    context: &Context,
    output: &mut Output,
) -> Result<()> {
    // As in LXC, where there is nothing to be set up.
    if network.kind == NetworkKind::None {
        return Ok(());
    }
    let (words, variables) = told(owner, network);
    let mut context = context.clone();
    if context.version() > 0 {
        for (name, value) in variables {
            context.tell(name, value);
        }
    }
    let program = context.program_of("net", moment.name(), &script.command, &words)?;
    let sentence = format!(
        "run lxc.net.{}.script.{} = {} ({})",
        network.number,
        moment.name(),
        script.command,
        script.place
    );
    hooks::run_script(program, &sentence, output)
}

/// Arguments and variables about a network.
fn told(owner: Owner<'_>, network: &Network) -> (Vec<String>, Vec<(&'static str, String)>) {
    let kind = network.kind.name();
    let mut words = vec![kind.to_owned()];
    let mut variables = vec![("LXC_NET_TYPE", kind.to_owned())];
    let link = network.link.clone().unwrap_or_default();
    if !link.is_empty() {
        words.push(link.clone());
    }
    let parent = [NetworkKind::Veth, NetworkKind::Macvlan, NetworkKind::Phys];
    if parent.contains(&network.kind) {
        variables.push(("LXC_NET_PARENT", link));
    }
    if network.kind == NetworkKind::Veth {
        let peer = owner.veth(network);
        words.push(peer.clone());
        variables.push(("LXC_NET_PEER", peer));
    }
    (words, variables)
}
