//! The crate's one error type: what was tried, why it failed, and what to do next.
//!
//! It is opaque on purpose: a caller decides by [`ErrorKind`] (whose fault, for the exit) and by
//! [`Reason`] (which of the few situations it may want to treat specially), and shows the chain of
//! messages. Adding a message is therefore never a breaking change.

use std::error::Error as StdError;
use std::fmt;

/// Whose turn it is to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be fulfilled as it stands: a bad name, a wrong config line.
    User,
    /// The machine refuses: permissions, kernel features, disk space.
    Environment,
    /// Sampan's own fault.
    Internal,
}

/// Situations that a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing special; read the message.
    Other,
    /// There is no container of that name.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The container runs, and must not for this.
    Running,
    /// The container is stopped, and must run for this.
    NotRunning,
    /// The command of `exec` does not exist in the container.
    CommandNotFound,
    /// The command of `exec` exists but cannot be executed.
    CommandNotExecutable,
}

/// A failure of the runtime.
pub struct Error {
    kind: ErrorKind,
    reason: Reason,
    message: String,
    hint: Option<String>,
    console: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the request.
    pub fn user(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::User, message)
    }

    /// An error of the machine.
    pub fn environment(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Environment, message)
    }

    /// An error of this program.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Internal, message)
    }

    /// What was tried, and the operating system's answer. Permission errors of a process that is
    /// not root get the hint that nearly always applies.
    pub(crate) fn os(tried: impl Into<String>, cause: impl Into<std::io::Error>) -> Error {
        let cause = cause.into();
        let hint = hint_for(cause.raw_os_error());
        let error = Error::new(ErrorKind::Environment, tried).because(cause);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            reason: Reason::Other,
            message: message.into(),
            hint: None,
            console: None,
            source: None,
        }
    }

    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Which known situation this is.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What a person can do next.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The last lines of the container's console, if they may tell more.
    pub fn console(&self) -> Option<&str> {
        self.console.as_deref()
    }

    pub(crate) fn with_console(mut self, lines: Option<String>) -> Error {
        self.console = lines;
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_reason(mut self, reason: Reason) -> Error {
        self.reason = reason;
        self
    }

    pub(crate) fn because(mut self, cause: impl StdError + Send + Sync + 'static) -> Error {
        self.source = Some(Box::new(cause));
        self
    }

    /// Puts a sentence in front; kind, reason and hint stay those of the cause.
    pub(crate) fn wrap(self, message: impl Into<String>) -> Error {
        Error {
            kind: self.kind,
            reason: self.reason,
            message: message.into(),
            hint: self.hint.clone(),
            console: self.console.clone(),
            source: Some(Box::new(self)),
        }
    }

    /// The whole chain on one line, `outer: inner: cause`.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.chain())?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|cause| cause as &(dyn StdError + 'static))
    }
}

/// Turns operating-system results into [`Error`]s that say what was tried.
pub(crate) trait Tried<T> {
    /// `what` completes "could not …".
    fn tried(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Tried<T> for std::result::Result<T, E> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::os(format!("could not {}", what()), cause))
    }
}

fn hint_for(errno: Option<i32>) -> Option<&'static str> {
    match errno {
        Some(libc::EPERM | libc::EACCES) if !nix::unistd::geteuid().is_root() => {
            Some("run it with sudo")
        }
        Some(libc::ENOSPC) => Some("the disk, or a quota on it, is full: free some space"),
        Some(libc::EROFS) => Some("the file system is mounted read-only"),
        Some(libc::EMFILE | libc::ENFILE) => Some("too many open files: raise `ulimit -n`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_reads_from_what_was_tried_to_the_cause() {
        let error = Error::os(
            "could not open /x",
            std::io::Error::from_raw_os_error(libc::ENOENT),
        )
        .wrap("could not start web");
        assert_eq!(
            error.chain(),
            "could not start web: could not open /x: No such file or directory (os error 2)"
        );
        assert_eq!(error.kind(), ErrorKind::Environment);
    }

    #[test]
    fn wrapping_keeps_kind_reason_and_hint() {
        let error = Error::user("no container \"wbe\"")
            .with_reason(Reason::NotFound)
            .with_hint("did you mean web?")
            .wrap("could not stop");
        assert_eq!(error.reason(), Reason::NotFound);
        assert_eq!(error.hint(), Some("did you mean web?"));
        assert_eq!(error.kind(), ErrorKind::User);
    }
}
