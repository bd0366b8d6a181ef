//! The services that the host lends to a template for the length of one call.

use std::path::PathBuf;

use crate::TemplateError;

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Level {
    /// For somebody who looks for a fault.
    Debug,
    /// For everybody.
    Info,
    /// Something that a person should know although the work goes on.
    Warn,
}

/// What a progress report counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Unit {
    /// Things: packages, files, steps.
    Items,
    /// Bytes.
    Bytes,
}

/// One file to fetch, known by its hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Download {
    /// Where it may be had; later ones are tried when earlier ones fail.
    pub urls: Vec<String>,
    /// SHA-256 as 64 lower case hexadecimal digits. The host hands on no other bytes.
    pub sha256: String,
    /// The exact size in bytes. No more is ever read.
    pub size: u64,
    /// What people see, such as a package's name.
    pub label: String,
}

/// A piece of work that has ended, for people who want to see what takes the time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Span {
    /// What was done: `download`, `unpack`, `configure` …
    pub task: String,
    /// To what, such as a package's name; empty for a whole stage.
    pub item: String,
    /// When it began, microseconds since 1970 ([`Span::now`]).
    pub begun: u64,
    /// When it ended, microseconds since 1970.
    pub ended: u64,
}

impl Span {
    /// Microseconds since 1970.
    pub fn now() -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
    }

    /// Something that began at `begun` and ends now.
    pub fn since(begun: u64, task: impl Into<String>, item: impl Into<String>) -> Self {
        Self {
            task: task.into(),
            item: item.into(),
            begun,
            ended: Self::now(),
        }
    }
}

/// A command to run inside the rootfs, as the container's root, without network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Command {
    /// Program (looked up in the usual PATH inside the rootfs) and arguments.
    pub argv: Vec<String>,
    /// Variables added to PATH, HOME and LANG=C.UTF-8.
    pub env: Vec<(String, String)>,
    /// What the command reads from standard input.
    pub stdin: Vec<u8>,
    /// Answer fsync and its kin at once: the tree is packed and synced as a whole later.
    pub skip_sync: bool,
    /// Open descriptor 3 for the command to write lines to, which come back in
    /// [`Outcome::status`] with the moment when each was read. A host before 1.1 does not.
    pub status: bool,
}

impl Command {
    /// A command without further variables and with empty standard input.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            skip_sync: true,
            ..Self::default()
        }
    }

    /// The same command with one more variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The same command with this standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Outcome {
    /// The exit code, or 128 plus the number of the signal that ended it.
    pub code: i32,
    /// Standard output and error together: the last 64 KiB.
    pub output: String,
    /// What the command wrote to descriptor 3, a line each, with the time in microseconds since
    /// 1970: the last 16384 lines. Empty unless [`Command::status`] asked for it.
    pub status: Vec<(u64, String)>,
}

impl Outcome {
    /// Whether the command ended with exit code 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

/// The services lent to a template. New ones come with default bodies.
pub trait Host {
    /// Tells people something.
    fn log(&self, level: Level, message: &str);

    /// Reports how far the named task is. A `total` of 0 means that it is not known; `done ==
    /// total` ends the task.
    fn progress(&self, task: &str, done: u64, total: u64, unit: Unit);

    /// Fetches files whose hashes are known, in parallel, resumed, retried and cached; answers
    /// with one readable path for each, in order. The files are read-only and already verified.
    fn fetch(&self, downloads: &[Download]) -> Result<Vec<PathBuf>, TemplateError>;

    /// Fetches metadata whose signature the template checks itself, `limit` bytes at most.
    fn fetch_unverified(&self, url: &str, limit: u64) -> Result<Vec<u8>, TemplateError>;

    /// Runs a command inside the rootfs. A command that could not be started is an error; one
    /// that ended badly is an [`Outcome`].
    fn run(&self, command: &Command) -> Result<Outcome, TemplateError>;

    /// Whether the person asked to stop. Long work asks now and then.
    fn cancelled(&self) -> bool;

    /// Fetches as [`Host::fetch`] does, and hands each file on as soon as it is there: its place
    /// among `downloads` and its path. An error of `ready` ends the rest.
    fn fetch_each(
        &self,
        downloads: &[Download],
        ready: &mut dyn FnMut(usize, PathBuf) -> Result<(), TemplateError>,
    ) -> Result<(), TemplateError> {
        for (index, path) in self.fetch(downloads)?.into_iter().enumerate() {
            ready(index, path)?;
        }
        Ok(())
    }

    /// Tells that a piece of work has ended and when, for `--timings`.
    fn span(&self, _span: &Span) {}

    /// Remembers the highest value ever told under a name, from one call to the next and from one
    /// run to the next, for this template alone; answers with that highest value, this one
    /// included. A template notices by it that it is shown something older than it has seen.
    fn remember_highest(&self, name: &str, value: i64) -> Result<i64, TemplateError> {
        let _ = name;
        Ok(value)
    }

    /// Logs at [`Level::Info`].
    fn info(&self, message: &str) {
        self.log(Level::Info, message);
    }

    /// Fails when the person asked to stop.
    fn check_cancelled(&self) -> Result<(), TemplateError> {
        if self.cancelled() {
            return Err(TemplateError::cancelled());
        }
        Ok(())
    }

    /// Runs a command and makes an exit code other than 0 an error with the output's last lines.
    fn run_ok(&self, command: &Command) -> Result<Outcome, TemplateError> {
        let outcome = self.run(command)?;
        if outcome.success() {
            return Ok(outcome);
        }
        let tail: Vec<&str> = outcome.output.lines().rev().take(15).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Err(TemplateError::failed(format!(
            "`{}` in the rootfs ended with code {}:\n{}",
            command.argv.join(" "),
            outcome.code,
            tail.join("\n")
        )))
    }
}
