//! `sampan image build`: an image in the cache, or written to a directory or an archive.

use std::path::PathBuf;

use sampan_plugins::Output;
use serde::Serialize;

use super::{Shown, shown};
use crate::{
    commands::requested::{self, ImageArgs},
    context::{Context, Workshop},
    failure::{Failure, Outcome},
    file, output,
    timings::{Subject, TimingsArg},
    words,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --output the image goes to the cache, from which containers are created. With it, a current
image of the cache is copied there, and a fresh build goes there only.

SOURCE_DATE_EPOCH in the environment makes everything in the image that old or older.

Examples:
  sampan image build -t debian -o suite=trixie -o variant=minbase
  sampan image build -t debian -o variant=minbase --output rootfs
  sampan image build -t debian --output debian.tar.zst --force")]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Write it to DIR, FILE.tar.zst or FILE.tar; DIR must be missing or empty
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Replace the FILE of --output
    #[arg(long, requires = "output")]
    force: bool,
    /// Write the lock file to FILE: what `-o lock=FILE` needs to build the same image again
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    #[command(flatten)]
    timings: TimingsArg,
}

/// What is printed of an image in the cache.
#[derive(Serialize)]
struct Built {
    #[serde(flatten)]
    image: Shown,
    built: bool,
}

/// What is printed of an image that was written to a place.
#[derive(Serialize)]
struct Written {
    template: String,
    arch: String,
    options: std::collections::BTreeMap<String, String>,
    path: String,
    form: &'static str,
    size: Option<u64>,
    sha256: Option<String>,
    packages: usize,
    source_date_epoch: i64,
    built: bool,
}

/// Runs the subcommand.
pub fn run(context: &Context, args: &Args) -> Outcome {
    context.need_root("building an image")?;
    let output = args
        .output
        .as_ref()
        .map(|path| Output::new(path, args.force))
        .transpose()?;
    if let Some(path) = &args.lock {
        file::check(path)?;
    }
    args.timings.check()?;
    let workshop = context.workshop()?;
    match &output {
        Some(output) => write_to(context, &workshop, args, output),
        None => store(context, &workshop, args),
    }
}

fn store(context: &Context, workshop: &Workshop<'_>, args: &Args) -> Outcome {
    let requested = requested::obtain_current(context, workshop, &args.image)?;
    let record = &requested.obtained.image.record;
    finish(context, args, &record.lock, requested.obtained.built)?;
    let built = Built {
        image: shown(&requested.obtained.image),
        built: requested.obtained.built,
    };
    output::print(context.global.format, &built, |built| {
        output::fields([
            (
                "image",
                Some(format!("{}/{}", built.image.template, built.image.key)),
            ),
            ("from", Some(origin(built.built))),
            ("path", Some(built.image.path.clone())),
            ("size", Some(words::bytes(built.image.size))),
            ("sha256", Some(built.image.sha256.clone())),
        ])
    })
}

fn write_to(context: &Context, workshop: &Workshop<'_>, args: &Args, output: &Output) -> Outcome {
    let (template, options, delivered) =
        requested::deliver(context, workshop, &args.image, output)?;
    finish(context, args, &delivered.lock, delivered.built)?;
    let written = Written {
        template: template.description.name,
        arch: options.arch,
        options: options.identity.into_iter().collect(),
        path: delivered.path.display().to_string(),
        form: delivered.form.word(),
        size: delivered.size,
        sha256: delivered.sha256,
        packages: delivered.packages.len(),
        source_date_epoch: delivered.source_date_epoch,
        built: delivered.built,
    };
    output::print(context.global.format, &written, |written| {
        output::fields([
            ("path", Some(written.path.clone())),
            ("from", Some(origin(written.built))),
            ("form", Some(written.form.to_owned())),
            ("size", written.size.map(words::bytes)),
            ("sha256", written.sha256.clone()),
        ])
    })
}

/// Writes what was asked for besides the image.
fn finish(context: &Context, args: &Args, lock: &str, built: bool) -> Outcome {
    if let Some(path) = &args.lock {
        if lock.is_empty() {
            let template = &args.image.template;
            return Err(Failure::new(format!(
                "cannot write {}: template {template} made no lock file for this image",
                path.display()
            ))
            .hint("the image itself is there; leave --lock away"));
        }
        file::replace(path, lock.as_bytes())?;
    }
    let title = args.image.title();
    let subject = Subject {
        title: &title,
        built,
    };
    args.timings.write(context, &subject)
}

fn origin(built: bool) -> String {
    match built {
        true => "a fresh build".to_owned(),
        false => "the cache".to_owned(),
    }
}
