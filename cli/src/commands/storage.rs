//! The arguments that choose a container's storage, and the files of a new container.

use std::path::{Path, PathBuf};

use sampan_core::Span;
use sampan_plugins::{Reporter as _, StoredImage};
use sampan_runtime::{
    ContainerName, Containers, NewContainer, NewStorage, Reason, RootPath, StorageKind,
};

use crate::{
    context::{Context, Workshop},
    failure::Outcome,
};

/// How a container's files are kept.
#[derive(Debug, clap::Args)]
pub struct StorageArgs {
    /// How its files are kept: dir, overlay, btrfs or loop [default: btrfs where the state
    /// directory is on btrfs, else dir; with --size loop]
    #[arg(long = "storage", value_name = "KIND", value_parser = kind)]
    pub kind: Option<StorageKind>,
    /// The most that its files may take, such as 10G (btrfs and loop)
    #[arg(long, value_parser = size)]
    pub size: Option<u64>,
}

/// Begins a container whose files are those of the image.
pub fn begin(
    context: &Context,
    workshop: &Workshop<'_>,
    args: &StorageArgs,
    image: &StoredImage,
    name: &ContainerName,
) -> Outcome<NewContainer> {
    let containers = context.containers();
    let state = &containers.directories().state;
    let kind = args
        .kind
        .unwrap_or_else(|| StorageKind::default_in(state, args.size));
    let mut new = NewStorage::of(kind);
    new.size = args.size;
    new.check(state)?;
    if kind == StorageKind::Overlay {
        return begin_overlay(context, workshop, &containers, image, new, name);
    }
    let since = Span::now();
    let begun = containers.begin_with(name, &new)?;
    let span = Span::since(since, "begin container", "");
    context.console.span(&span);
    match begun.root() {
        RootPath::Dir(path) | RootPath::Btrfs(path) => unpack(context, workshop, image, path)?,
        root => {
            let tree = root.open()?;
            unpack(context, workshop, image, &path_of(&tree))?;
        }
    }
    Ok(begun)
}

/// The path of what a descriptor holds, as long as it is open.
pub fn path_of(tree: &impl std::os::fd::AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd()))
}

/// The image is unpacked once; a container gets an empty difference to it.
fn begin_overlay(
    context: &Context,
    workshop: &Workshop<'_>,
    containers: &Containers,
    image: &StoredImage,
    mut new: NewStorage,
    name: &ContainerName,
) -> Outcome<NewContainer> {
    let layers = containers.layers();
    let hash = &image.record.sha256;
    let id = &hash[..hash.len().min(32)];
    let image_name = image.key.to_string();
    loop {
        let (tree, made) = match layers.find(id) {
            Some(tree) => (tree, false),
            None => {
                let layer = layers.begin(id, &image_name)?;
                unpack(context, workshop, image, &layer.rootfs())?;
                (layer.commit()?, true)
            }
        };
        new.lower = vec![tree];
        let since = Span::now();
        let begun = containers.begin_with(name, &new);
        let span = Span::since(since, "begin container", "");
        context.console.span(&span);
        match begun {
            // Somebody removed the image in between.
            Err(error) if error.reason() == Reason::NotFound => {}
            begun => {
                if made && begun.is_ok() {
                    // Trees of what this image was before. Containers may need them still.
                    let _ = layers.remove(&image_name, Some(id));
                }
                return Ok(begun?);
            }
        }
    }
}

fn unpack(context: &Context, workshop: &Workshop<'_>, image: &StoredImage, to: &Path) -> Outcome {
    let console = &context.console;
    let begun = Span::now();
    sampan_plugins::unpack_into(image, to, console, &workshop.cancellation)?;
    console.span(&Span::since(begun, "unpack image", ""));
    Ok(())
}

fn kind(text: &str) -> Result<StorageKind, String> {
    text.parse()
        .map_err(|_| "choose dir, overlay, btrfs or loop".to_owned())
}

/// Bytes, or with K, M, G or T as many times 1024.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "give a number with K, M, G or T, such as 10G".to_owned();
    let text = text.strip_suffix(['B', 'b']).unwrap_or(text);
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        Some((at, 't' | 'T')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [
            ("1", 1),
            ("64k", 65_536),
            ("10G", 10 << 30),
            ("2TB", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "0", "-1G", "1.5G", "99999999999T", "10é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
