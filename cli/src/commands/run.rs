//! `sampan run`: one command in a container of its own, which is gone afterwards.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use sampan_runtime::{
    Claim, Container, ContainerName, ExecRequest, ForegroundOptions, Reason, StorageKind,
    config::{NewConfig, default_config},
};

use super::{
    exec::{self, LOGIN},
    foreground,
    requested::{self, ImageArgs},
    storage::{self, StorageArgs},
};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    network::{self, NetworkArgs},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The command gets this process's input and output, or a terminal of the container in their place, and
the signals that this process gets. The exit code is the command's, as for `exec`. The container is
gone afterwards, however it ended; its first process, which looks after the command, is sampan's and
needs no program inside. With a NAME the command runs in that container, which must be stopped, in
place of its init, and the container stays.

Examples:
  sampan run -t debian -- apt-get --version
  sampan run -t debian --memory 512M                a login shell
  tar -c src | sampan run -t busybox -- tar -x
  sampan run web -- dpkg --verify                   in a stopped container")]
pub struct Args {
    /// A stopped container to run it in, instead of a new one
    #[arg(conflicts_with = "ImageArgs", required_unless_present = "template")]
    container: Option<String>,
    #[command(flatten)]
    image: Option<ImageArgs>,
    /// The name of the new container [default: run- and eight digits]
    #[arg(long, conflicts_with = "container")]
    name: Option<String>,
    /// How much memory it may use, such as 512M
    #[arg(long, value_name = "SIZE", conflicts_with = "container")]
    memory: Option<String>,
    #[command(flatten)]
    network: NetworkArgs,
    /// A variable of the command's environment
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    environment: Vec<String>,
    /// The command's working directory [default: /]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// The user id inside
    #[arg(short, long, default_value_t = 0)]
    uid: u32,
    /// The group id inside
    #[arg(short, long, default_value_t = 0)]
    gid: u32,
    /// The command and its arguments [default: lxc.execute.cmd, or a login shell]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("running a container")?;
    let existing = match &args.container {
        Some(name) => Some(context.container(name)?),
        None => None,
    };
    let request = ExecRequest {
        argv: argv(args, existing.as_ref())?,
        environment: exec::variables(&args.environment)?,
        uid: args.uid,
        gid: args.gid,
        directory: args.workdir.clone(),
    };
    let options = ForegroundOptions {
        execute: Some(request),
        ..ForegroundOptions::default()
    };
    let (container, claim) = match (existing, &args.image) {
        (Some(container), _) => (container, None),
        (None, Some(image)) => {
            let (container, claim) = create(context, args, image)?;
            (container, Some(claim))
        }
        (None, None) => return Err(Failure::new("neither a container nor a template is given")),
    };
    let ended = container.run_in_foreground(&options, &mut |_| {});
    // Its monitor does it; unless it was killed, or there never was one.
    if claim.is_some() && container.dir().exists() {
        // Also after a failure; that is the one to be told.
        let destroyed = container.destroy(true);
        if ended.is_ok() {
            destroyed?;
        }
    }
    drop(claim);
    match ended {
        Ok(exit) => Ok(foreground::code(&exit)),
        Err(error) => {
            let code = match error.reason() {
                Reason::CommandNotFound => 127,
                Reason::CommandNotExecutable => 126,
                _ => return Err(error.into()),
            };
            eprint!("{}", Failure::from(error).words());
            Ok(ExitCode::from(code))
        }
    }
}

/// What was typed; or what the container's config says; or a login shell.
fn argv(args: &Args, existing: Option<&Container>) -> Outcome<Vec<OsString>> {
    if !args.command.is_empty() {
        return Ok(args.command.clone());
    }
    let configured = match existing {
        Some(container) => container.settings()?.execute,
        None => Vec::new(),
    };
    Ok(match configured.is_empty() {
        true => ["/bin/sh", "-c", LOGIN].map(Into::into).to_vec(),
        false => configured.into_iter().map(Into::into).collect(),
    })
}

/// A container that goes with the claim.
fn create(context: &Context, args: &Args, image: &ImageArgs) -> Outcome<(Container, Claim)> {
    let name: ContainerName = match &args.name {
        Some(name) => name.parse()?,
        None => ContainerName::random("run-")?,
    };
    let networks = args.network.names(context)?;
    let workshop = context.workshop()?;
    let requested = requested::obtain(context, &workshop, image)?;
    let found = &requested.obtained.image;
    // Of what the image has, nothing is copied.
    let storage = StorageArgs {
        kind: Some(StorageKind::Overlay),
        size: None,
    };
    let new = storage::begin(context, &workshop, &storage, found, &name)?;
    let configured = workshop.session().configure(
        &requested.template,
        &requested.options,
        name.as_str(),
        false,
        new.root(),
    )?;
    let network = network::join(context, &new, &networks)?;
    let mut config = default_config(&NewConfig {
        name: name.as_str(),
        rootfs: &new.final_root(),
        arch: &requested.options.arch,
        ids: Some(new.ids()),
        template: &found.key.template,
        image: &found.key.to_string(),
        guest: &configured.config,
        network: &network,
    })?;
    config.push("lxc.ephemeral", "1");
    if let Some(memory) = &args.memory {
        config.push("lxc.cgroup2.memory.max", memory);
    }
    // From here on signals are the command's.
    workshop.release_signals();
    if workshop.cancellation.is_cancelled() {
        return Err(sampan_plugins::PluginError::Cancelled.into());
    }
    let claim = new.claim()?;
    Ok((new.commit(&config)?, claim))
}
