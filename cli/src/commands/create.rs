//! `sampan create`: a container from a template.

use sampan_runtime::{
    ContainerName, SIZE_KEY, StartOptions,
    config::{NewConfig, default_config},
};

use super::{
    requested::{self, ImageArgs},
    storage::{self, StorageArgs},
};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    limits::LimitArgs,
    network::{self, NetworkArgs},
    timings::{Subject, TimingsArg},
};
use sampan_core::Span;
use sampan_plugins::Reporter as _;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sampan create web -t debian --start
  sampan create old -t debian -o suite=bookworm -o include=openssh-server,vim
  sampan create many -t debian --storage overlay
  sampan create large -t debian --size 10G
  sampan create tiny -t busybox --offline
  sampan create lone -t debian --network none
  sampan create small -t debian --memory 512M --cpus 1.5 --pids 200")]
pub struct Args {
    /// The name: letters, digits, `.`, `_` and `-`
    pub name: String,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    timings: TimingsArg,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Start it as well
    #[arg(long)]
    start: bool,
    /// Without a user namespace: root inside is root on the host
    #[arg(long)]
    privileged: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let name: ContainerName = args.name.parse()?;
    context.need_root("creating a container")?;
    let containers = context.containers();
    // Said now rather than after a download; what counts is the rename at the end.
    if containers.open(&name).is_ok() {
        return Err(
            Failure::new(format!("there is a container `{name}` already")).hint(format!(
                "choose another name, or remove it with: sampan destroy {name}"
            )),
        );
    }
    args.timings.check()?;
    let limits = args.limits.changes()?;
    let networks = args.network.names(context)?;
    let begun = Span::now();
    let workshop = context.workshop()?;
    let requested = requested::obtain(context, &workshop, &args.image)?;
    let console = &context.console;
    console.span(&Span::since(begun, "find image", ""));
    let image = &requested.obtained.image;
    if !requested.obtained.built {
        let key = &image.key;
        context
            .console
            .say(&format!("using image {key} from the cache"));
    }

    let new = storage::begin(context, &workshop, &args.storage, image, &name)?;
    let begun = Span::now();
    let configured = workshop.session().configure(
        &requested.template,
        &requested.options,
        name.as_str(),
        args.privileged,
        new.root(),
    )?;
    console.span(&Span::since(begun, "configure container", ""));
    let network = network::join(context, &new, &networks)?;
    let begun = Span::now();
    let final_root = new.final_root();
    let mut config = default_config(&NewConfig {
        name: name.as_str(),
        rootfs: &final_root,
        arch: &requested.options.arch,
        ids: (!args.privileged).then(|| new.ids()),
        template: &image.key.template,
        image: &image.key.to_string(),
        guest: &configured.config,
        network: &network,
    })?;
    if let Some(size) = args.storage.size {
        config.push(SIZE_KEY, &size.to_string());
    }
    let config = new.limited(config, &limits)?;
    if workshop.cancellation.is_cancelled() {
        return Err(sampan_plugins::PluginError::Cancelled.into());
    }
    let created = new.commit(&config)?;
    console.span(&Span::since(begun, "commit container", ""));
    let subject = Subject {
        title: &args.image.title(),
        built: requested.obtained.built,
    };
    args.timings.write(context, &subject)?;
    if !args.start {
        context.console.say(&format!(
            "created {name}; start it with: sampan start {name}"
        ));
        return Ok(());
    }
    let pid = created
        .start(&StartOptions::default())
        .map_err(|error| Failure::from(error).context(&format!("{name} was created, but")))?;
    context.console.say(&format!(
        "created and started {name} (init is process {pid})"
    ));
    Ok(())
}
