//! Why a template failed, in words that a person can act on.

use std::fmt;

/// What sort of failure a [`TemplateError`] is. New kinds may come in minor versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ErrorKind {
    /// Anything that has no kind of its own.
    Failed,
    /// An option's value cannot be used; the person who typed it can mend it.
    BadOption,
    /// Something could not be fetched.
    Fetch,
    /// A signature, checksum or size did not match: the input must not be trusted.
    Untrusted,
    /// The person asked to stop.
    Cancelled,
    /// The template's code panicked.
    Panicked,
    /// The template or the host does not offer this.
    Unsupported,
}

/// A failure of a template or of a service of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TemplateError {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl TemplateError {
    /// An error of `kind`; `message` says what was tried, on what, and why it failed.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// An error of kind [`ErrorKind::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// An error of kind [`ErrorKind::BadOption`].
    pub fn bad_option(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadOption, message)
    }

    /// An error of kind [`ErrorKind::Untrusted`].
    pub fn untrusted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Untrusted, message)
    }

    /// The error that answers a person's wish to stop.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled")
    }

    /// The same error with a line that says what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with what was being done put before its message.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was tried, on what, and why it failed.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next, where the template knows.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

impl From<crate::rootfs::RootfsError> for TemplateError {
    fn from(error: crate::rootfs::RootfsError) -> Self {
        Self::failed(error.to_string())
    }
}
