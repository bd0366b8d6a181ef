//! The tree that a template fills, before it becomes an image.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use sampan_core::{BuildOutcome, Level};

use super::{Wanted, memory};
use crate::{PluginError, Session, staging::Staging};

/// A finished tree and where it lies: gone when dropped.
pub(super) enum Tree {
    Memory(
        PathBuf,
        #[expect(dead_code, reason = "held so that it stays")] Staging,
    ),
    Disk(PathBuf),
}

impl Tree {
    /// The tree.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Memory(path, _) | Self::Disk(path) => path,
        }
    }
}

/// Has the template fill a tree: in memory where there is room, else in `staging`.
pub(super) fn build_tree(
    session: &Session<'_>,
    wanted: Wanted<'_>,
    staging: &Staging,
) -> Result<(Tree, BuildOutcome), PluginError> {
    let build = |staging: &Staging, limit| -> Result<(PathBuf, BuildOutcome), PluginError> {
        let rootfs = staging.path().join("rootfs");
        Ok((rootfs.clone(), build_at(session, wanted, &rootfs, limit)?))
    };
    if let Some(memory) = memory::stage() {
        match build(&memory, Some(memory::LIMIT)) {
            Ok((rootfs, outcome)) => return Ok((Tree::Memory(rootfs, memory), outcome)),
            Err(error) if memory::may_be_to_blame(&error, &memory) => {
                let message = format!("building it in memory failed, now on disk: {error}");
                session.reporter.log(Level::Debug, &message);
            }
            Err(error) => return Err(error),
        }
    }
    let (rootfs, outcome) = build(staging, None)?;
    Ok((Tree::Disk(rootfs), outcome))
}

/// Has the template fill the new directory `tree`; `memory` is the most that it may take.
pub(super) fn build_at(
    session: &Session<'_>,
    wanted: Wanted<'_>,
    tree: &Path,
    memory: Option<u64>,
) -> Result<BuildOutcome, PluginError> {
    DirBuilder::new()
        .mode(0o755)
        .create(tree)
        .map_err(PluginError::io("create", tree))?;
    session.build(wanted.template, wanted.options, tree, memory)
}
