//! What can go wrong between a template's name and a finished image.

use std::path::{Path, PathBuf};

use sampan_core::{OptionError, TemplateError};

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// No such template on the search path.
    #[error("there is no template `{name}`")]
    NoTemplate {
        /// What was asked for.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
        /// Where was looked.
        searched: Vec<PathBuf>,
    },
    /// Somebody else could have changed the library.
    #[error("template library {} is not loaded: {reason}", path.display())]
    Untrusted {
        /// The library.
        path: PathBuf,
        /// What is wrong with which path.
        reason: String,
    },
    /// The library is not a template for this host.
    #[error("template library {} cannot be used: {reason}", path.display())]
    Unusable {
        /// The library.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// An option was refused.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The template cannot build for the architecture.
    #[error("template {template} does not build for {arch}; it builds for {}", known.join(", "))]
    Architecture {
        /// The template.
        template: String,
        /// What was asked for.
        arch: String,
        /// What it declares.
        known: Vec<String>,
    },
    /// The template failed and said why.
    #[error("template {template}: {error}")]
    Template {
        /// The template.
        template: String,
        /// What it said.
        error: TemplateError,
    },
    /// The worker ended without an answer.
    #[error(
        "template {template}: its worker {how} while it was to {doing}{}",
        tail_of(last_lines)
    )]
    Died {
        /// The template.
        template: String,
        /// The call.
        doing: &'static str,
        /// The exit status in words.
        how: String,
        /// The last lines it wrote.
        last_lines: Vec<String>,
    },
    /// The worker could not be started.
    #[error("the worker for template {template} could not be started: {}", source.chain())]
    Sandbox {
        /// The template.
        template: String,
        /// What failed.
        source: sampan_runtime::Error,
    },
    /// The person asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A file or directory of the cache could not be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Something inside a rootfs could not be read or written.
    #[error("{}: {source}", path.display())]
    Rootfs {
        /// The rootfs.
        path: PathBuf,
        /// What failed in it.
        source: sampan_core::rootfs::RootfsError,
    },
    /// Nothing in the cache, and nothing may be fetched.
    #[error(
        "there is no image for template {template} with these options in the cache, and --offline forbids to build one"
    )]
    Offline {
        /// The template.
        template: String,
    },
    /// A cached image is not what was written.
    #[error("image {key} is damaged: {reason}")]
    Damaged {
        /// Template and key.
        key: String,
        /// What does not match.
        reason: String,
    },
    /// No image, or several, of that name.
    #[error("{0}")]
    NoImage(String),
    /// The variable SOURCE_DATE_EPOCH makes no sense.
    #[error("SOURCE_DATE_EPOCH cannot be `{value}`: {reason}")]
    SourceDateEpoch {
        /// What it is.
        value: String,
        /// Why it does not do.
        reason: &'static str,
    },
    /// A tree or archive cannot be written where the person wants it.
    #[error("cannot write {}: {reason}", path.display())]
    Output {
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// The finished tree holds something that no image can hold.
    #[error("cannot pack the image: {0}")]
    Unpackable(String),
}

/// Who can mend a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The person who typed the command.
    User,
    /// Whoever looks after the machine, the network or the mirror.
    Environment,
    /// Whoever wrote the template or Sampan.
    Internal,
}

impl PluginError {
    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTemplate {
                nearest, searched, ..
            } => Some(match nearest {
                Some(name) => format!("did you mean `{name}`? See: sampan template ls"),
                None => format!("looked in {}", list_of(searched)),
            }),
            Self::Untrusted { path, .. } => Some(format!(
                "a template's code is trusted to build your systems; look at it, then: chown root {0} and its directory; chmod go-w {0} and its directory",
                path.display()
            )),
            Self::Unusable { .. } => {
                Some("rebuild it against this release's sampan-core".to_owned())
            }
            Self::Option(error) => error.hint(),
            Self::Template { error, .. } => error.hint().map(str::to_owned),
            Self::Sandbox { source, .. } => source.hint().map(str::to_owned),
            Self::Io { source, path, .. } => io_hint(source, path),
            Self::Rootfs { source, path } => io_hint(
                &std::io::Error::from_raw_os_error(source.errno() as i32),
                path,
            ),
            Self::Offline { .. } => Some("leave --offline away once".to_owned()),
            Self::Damaged { key, .. } => Some(format!(
                "remove it with `sampan image rm {key}`; the next create builds it again"
            )),
            Self::NoImage(_) => Some("see: sampan image ls".to_owned()),
            Self::Output { hint, .. } => hint.clone(),
            Self::SourceDateEpoch { .. } => {
                Some("unset it, or set it as in: SOURCE_DATE_EPOCH=$(date +%s)".to_owned())
            }
            Self::Died { .. }
            | Self::Cancelled
            | Self::Architecture { .. }
            | Self::Unpackable(_) => None,
        }
    }

    /// Who can mend it.
    pub fn failure(&self) -> Failure {
        use sampan_core::ErrorKind;
        match self {
            Self::NoTemplate { .. }
            | Self::Option(_)
            | Self::Architecture { .. }
            | Self::Offline { .. }
            | Self::NoImage(_)
            | Self::SourceDateEpoch { .. }
            | Self::Output { .. }
            | Self::Cancelled => Failure::User,
            Self::Untrusted { .. }
            | Self::Sandbox { .. }
            | Self::Io { .. }
            | Self::Rootfs { .. }
            | Self::Damaged { .. } => Failure::Environment,
            Self::Template { error, .. } => match error.kind() {
                ErrorKind::BadOption => Failure::User,
                ErrorKind::Panicked => Failure::Internal,
                _ => Failure::Environment,
            },
            Self::Unusable { .. } | Self::Died { .. } | Self::Unpackable(_) => Failure::Internal,
        }
    }

    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn rootfs(
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(sampan_core::rootfs::RootfsError) -> Self {
        let path = path.into();
        move |source| Self::Rootfs { path, source }
    }
}

fn io_hint(error: &std::io::Error, path: &Path) -> Option<String> {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Some(format!(
            "free some space on the file system of {}; nothing half-made was kept",
            path.display()
        )),
        std::io::ErrorKind::PermissionDenied => Some("run it as root, with sudo".to_owned()),
        std::io::ErrorKind::ReadOnlyFilesystem => {
            Some("choose other directories with --root DIR".to_owned())
        }
        _ => None,
    }
}

fn list_of(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    shown.join(", ")
}

fn tail_of(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("; its last lines:\n    {}", lines.join("\n    "))
}
