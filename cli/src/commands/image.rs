//! `sampan image`: what has been built.

mod build;

use std::path::PathBuf;

use sampan_plugins::StoredImage;
use serde::Serialize;

use crate::{context::Context, failure::Outcome, output, words};

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the images in the cache
    Ls,
    /// Find or build an image, in the cache or wherever you say
    Build(build::Args),
    /// Remove images; containers made from them stay, and keep those that they lie on (overlay)
    Rm {
        /// TEMPLATE, TEMPLATE/KEY or the first characters of a KEY
        #[arg(required = true, value_name = "NAME_OR_KEY")]
        images: Vec<String>,
    },
    /// Read images and compare them with their recorded SHA-256
    Verify {
        /// Which ones [default: all]
        #[arg(value_name = "NAME_OR_KEY")]
        images: Vec<String>,
    },
    /// Write an image's archive (tar, zstd) to a new file
    #[command(after_help = "Example:\n  sampan image export debian debian.tar.zst")]
    Export {
        /// TEMPLATE, TEMPLATE/KEY or the first characters of a KEY
        #[arg(value_name = "NAME_OR_KEY")]
        image: String,
        /// The file; it must not exist
        file: PathBuf,
    },
}

/// An image as it is printed.
#[derive(Serialize)]
struct Shown {
    template: String,
    key: String,
    arch: String,
    options: std::collections::BTreeMap<String, String>,
    size: u64,
    unpacked_size: u64,
    sha256: String,
    built_at: u64,
    path: String,
    packages: usize,
}

#[derive(Serialize)]
struct Verified {
    image: String,
    sound: bool,
    problem: Option<String>,
}

/// Runs the subcommand.
pub fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::Ls => ls(context),
        Command::Build(args) => build::run(context, args),
        Command::Rm { images } => rm(context, images),
        Command::Verify { images } => verify(context, images),
        Command::Export { image, file } => {
            let images = context.images();
            images.export(&images.find(image)?, file)?;
            context.console.say(&format!("wrote {}", file.display()));
            Ok(())
        }
    }
}

fn ls(context: &Context) -> Outcome {
    let images: Vec<Shown> = context.images().list()?.iter().map(shown).collect();
    output::print(context.global.format, &images, |images| {
        output::table(
            ["IMAGE", "ARCH", "SIZE", "UNPACKED", "BUILT", "OPTIONS"],
            images.iter().map(|image| {
                let options: Vec<String> = image
                    .options
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                [
                    format!(
                        "{}/{}",
                        image.template,
                        &image.key[..image.key.len().min(12)]
                    ),
                    image.arch.clone(),
                    words::bytes(image.size),
                    words::bytes(image.unpacked_size),
                    words::ago(image.built_at),
                    options.join(" "),
                ]
            }),
        )
    })
}

fn rm(context: &Context, names: &[String]) -> Outcome {
    let images = context.images();
    for name in names {
        let image = images.find(name)?;
        let name = image.key.to_string();
        let layers = context.containers().layers();
        layers.check_unused(&name)?;
        images.remove(&image)?;
        layers.remove(&name, None)?;
        context.console.say(&format!("removed image {}", image.key));
    }
    Ok(())
}

fn verify(context: &Context, names: &[String]) -> Outcome {
    let store = context.images();
    let images = match names {
        [] => store.list()?,
        names => names
            .iter()
            .map(|name| store.find(name))
            .collect::<Result<_, _>>()?,
    };
    let mut verified = Vec::new();
    let mut worst = Ok(());
    for image in &images {
        let result = store.verify(image);
        verified.push(Verified {
            image: image.key.to_string(),
            sound: result.is_ok(),
            problem: result.as_ref().err().map(ToString::to_string),
        });
        if let Err(error) = result {
            worst = Err(error);
        }
    }
    output::print(context.global.format, &verified, |verified| {
        output::table(
            ["IMAGE", "STATE"],
            verified.iter().map(|image| {
                let state = if image.sound { "sound" } else { "damaged" };
                [image.image.clone(), state.to_owned()]
            }),
        )
    })?;
    Ok(worst?)
}

fn shown(image: &StoredImage) -> Shown {
    let record = &image.record;
    Shown {
        template: image.key.template.clone(),
        key: image.key.key.clone(),
        arch: record.arch.clone(),
        options: record.options.iter().cloned().collect(),
        size: record.size,
        unpacked_size: record.unpacked_size,
        sha256: record.sha256.clone(),
        built_at: record.built_at,
        path: image.path.display().to_string(),
        packages: record.packages.len(),
    }
}
