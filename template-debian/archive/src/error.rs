//! What can fail, and what a person can do about it.

use sampan_core::{ErrorKind, TemplateError, rootfs::RootfsError};

/// A failure on the way from a mirror to a root file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A control file breaks the rules of deb822(5).
    #[error("cannot read {what}: line {line}: {reason}")]
    Syntax {
        /// The file.
        what: String,
        /// The line, from 1.
        line: usize,
        /// The rule.
        reason: String,
    },
    /// A relation field cannot be understood.
    #[error("cannot read the relation `{relation}` of {owner}: {reason}")]
    Relation {
        /// The package.
        owner: String,
        /// The text.
        relation: String,
        /// Why not.
        reason: &'static str,
    },
    /// A package's stanza lacks something or names something impossible.
    #[error("cannot use {what}: {reason}")]
    Malformed {
        /// The file or package.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A keyring holds nothing that can be used.
    #[error("cannot use keyring {keyring}: {reason}")]
    Keyring {
        /// The keyring.
        keyring: String,
        /// Why not.
        reason: String,
    },
    /// No signature of an InRelease file was acceptable.
    #[error("cannot trust {what}: {}", reasons.join("; "))]
    Signature {
        /// Where the file came from.
        what: String,
        /// One sentence for each signature, or for the file as a whole.
        reasons: Vec<String>,
        /// Whether another keyring could help.
        keyring_may_help: bool,
    },
    /// The signed Release is not what was asked for.
    #[error("cannot use {what}: {reason}")]
    Release {
        /// Where the file came from.
        what: String,
        /// Why not.
        reason: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// Bytes are not those that the archive signed.
    #[error("cannot trust {what}: {reason}")]
    Untrusted {
        /// The file.
        what: String,
        /// What differs.
        reason: String,
    },
    /// A set of packages cannot be chosen.
    #[error("{message}")]
    Unsatisfiable {
        /// Package, dependency and the versions that there are.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// A maintainer script or dpkg failed.
    #[error("{doing} failed with code {code}:\n{output}")]
    Script {
        /// What was run.
        doing: String,
        /// Its exit code.
        code: i32,
        /// Its last lines.
        output: String,
    },
    /// A local file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// The root file system cannot be written.
    #[error("{what}: {source}")]
    Rootfs {
        /// What was being done.
        what: String,
        /// Which path and why.
        source: RootfsError,
    },
    /// A service of the host failed.
    #[error("{0}")]
    Host(TemplateError),
}

impl Error {
    pub(crate) fn syntax(what: &str, line: usize, reason: &str) -> Self {
        Self::Syntax {
            what: what.to_owned(),
            line,
            reason: reason.to_owned(),
        }
    }

    pub(crate) fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed {
            what: what.into(),
            reason: reason.into(),
        }
    }

    /// For use with `map_err`.
    pub(crate) fn rootfs(what: impl Into<String>) -> impl FnOnce(RootfsError) -> Self {
        let what = what.into();
        move |source| Self::Rootfs { what, source }
    }

    /// What to do next, where it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Signature {
                keyring_may_help: true,
                ..
            } => Some(
                "if you trust this archive, give the file with its keys as -o keyring=FILE"
                    .to_owned(),
            ),
            Self::Release { hint, .. } | Self::Unsatisfiable { hint, .. } => hint.clone(),
            Self::Host(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }
}

impl From<TemplateError> for Error {
    fn from(error: TemplateError) -> Self {
        Self::Host(error)
    }
}

impl From<RootfsError> for Error {
    fn from(source: RootfsError) -> Self {
        Self::Rootfs {
            what: "cannot build the root file system".to_owned(),
            source,
        }
    }
}

impl From<Error> for TemplateError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Host(_) => {
                if let Error::Host(error) = error {
                    return error;
                }
                ErrorKind::Failed
            }
            Error::Signature { .. } | Error::Untrusted { .. } | Error::Release { .. } => {
                ErrorKind::Untrusted
            }
            Error::Keyring { .. } | Error::Unsatisfiable { .. } => ErrorKind::BadOption,
            _ => ErrorKind::Failed,
        };
        let converted = Self::new(kind, error.to_string());
        match error.hint() {
            Some(hint) => converted.with_hint(hint),
            None => converted,
        }
    }
}
