//! The arguments that choose an image, shared by `create` and `image build`.

use std::path::Path;

use sampan_plugins::{Delivered, Freshness, Obtained, Output, ResolvedOptions, Template, Wanted};

use crate::{
    context::{Context, Workshop},
    failure::Outcome,
};

/// Which image.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {
    /// The template; see `sampan template ls`
    #[arg(short, long, value_name = "TEMPLATE")]
    pub template: String,
    /// An option of the template; see `sampan template show TEMPLATE`
    #[arg(short = 'o', long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
    /// The Debian name of the architecture [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Build the image even if the one in the cache is current
    #[arg(long, conflicts_with = "offline")]
    pub refresh: bool,
    /// Use what the cache has and fetch nothing
    #[arg(long)]
    pub offline: bool,
}

impl ImageArgs {
    /// What was asked for, in one line.
    pub fn title(&self) -> String {
        let words = [self.template.as_str()].into_iter();
        let words = words.chain(self.options.iter().map(String::as_str));
        words
            .chain(self.arch.as_deref())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// An image and how it was asked for.
pub struct Requested {
    /// The template.
    pub template: Template,
    /// Its options.
    pub options: ResolvedOptions,
    /// The image.
    pub obtained: Obtained,
}

/// Finds or builds the image for a container. A mirror that was asked in the last ten minutes is not
/// asked again.
pub fn obtain(context: &Context, workshop: &Workshop<'_>, args: &ImageArgs) -> Outcome<Requested> {
    let freshness = match freshness(args) {
        Freshness::Current => Freshness::Recent,
        other => other,
    };
    obtain_if(context, workshop, args, freshness)
}

/// Finds or builds the image; a mirror is asked.
pub fn obtain_current(
    context: &Context,
    workshop: &Workshop<'_>,
    args: &ImageArgs,
) -> Outcome<Requested> {
    obtain_if(context, workshop, args, freshness(args))
}

fn obtain_if(
    context: &Context,
    workshop: &Workshop<'_>,
    args: &ImageArgs,
    freshness: Freshness,
) -> Outcome<Requested> {
    let (template, options) = resolve(workshop, args)?;
    let wanted = Wanted {
        template: &template,
        options: &options,
    };
    let obtained = context
        .images()
        .obtain(&workshop.session(), wanted, freshness)?;
    Ok(Requested {
        template,
        options,
        obtained,
    })
}

/// Writes the image to `output`, from the cache or built.
pub fn deliver(
    context: &Context,
    workshop: &Workshop<'_>,
    args: &ImageArgs,
    output: &Output,
) -> Outcome<(Template, ResolvedOptions, Delivered)> {
    let (template, options) = resolve(workshop, args)?;
    let wanted = Wanted {
        template: &template,
        options: &options,
    };
    let delivered =
        context
            .images()
            .deliver(&workshop.session(), wanted, freshness(args), output)?;
    Ok((template, options, delivered))
}

fn resolve(workshop: &Workshop<'_>, args: &ImageArgs) -> Outcome<(Template, ResolvedOptions)> {
    let template = workshop.template(&args.template)?;
    let options = sampan_plugins::resolve(
        &template,
        args.arch.as_deref(),
        &args.options,
        Path::new("/etc/apt"),
    )?;
    Ok((template, options))
}

fn freshness(args: &ImageArgs) -> Freshness {
    match (args.refresh, args.offline) {
        (true, _) => Freshness::Rebuild,
        (_, true) => Freshness::Offline,
        _ => Freshness::Current,
    }
}
