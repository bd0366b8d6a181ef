//! The host's services as a trait object that crosses, and the adapters on both sides.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use abi_stable::{
    sabi_trait,
    sabi_types::{RMut, RRef},
    std_types::{RResult, RSlice, RStr, RString, RVec},
};

use super::wire::{CommandRef, DownloadRef, ErrorRef, LevelCode, OutcomeRef, SpanRef, UnitCode};
use crate::{Command, Download, ErrorKind, Host, Level, Outcome, Span, TemplateError, Unit};

/// What crosses. Appended methods go to the end and have default bodies.
#[sabi_trait]
pub trait HostServices {
    fn log(&self, level: LevelCode, message: RStr<'_>);
    fn progress(&self, task: RStr<'_>, done: u64, total: u64, unit: UnitCode);
    fn fetch(&self, downloads: RSlice<'_, DownloadRef>) -> RResult<RVec<RString>, ErrorRef>;
    fn fetch_unverified(&self, url: RStr<'_>, limit: u64) -> RResult<RVec<u8>, ErrorRef>;
    fn run(&self, command: CommandRef) -> RResult<OutcomeRef, ErrorRef>;
    #[sabi(last_prefix_field)]
    fn cancelled(&self) -> bool;
    /// Since 1.1, as are those that follow.
    fn span(&self, _span: SpanRef) {}
    /// Fetches and hands each file to `sink` as soon as it is there.
    fn fetch_each(
        &self,
        _downloads: RSlice<'_, DownloadRef>,
        _sink: SinkMut<'_>,
    ) -> RResult<(), ErrorRef> {
        RResult::RErr(ErrorRef::of(&TemplateError::new(
            ErrorKind::Unsupported,
            "this host hands files on only when all are there",
        )))
    }
    /// A host that keeps nothing knows no higher value.
    fn remember_highest(&self, _name: RStr<'_>, value: i64) -> RResult<i64, ErrorRef> {
        RResult::ROk(value)
    }
}

/// What a plugin lends to the host for the length of one `fetch_each`.
#[sabi_trait]
pub trait FetchedSink {
    #[sabi(last_prefix_field)]
    fn ready(&mut self, index: usize, path: RStr<'_>) -> RResult<(), ErrorRef>;
}

/// A borrowed sink, as passed to a host.
pub type SinkMut<'a> = FetchedSink_TO<'a, RMut<'a, ()>>;

/// A borrowed host, as passed to a plugin.
pub type HostRef<'a> = HostServices_TO<'a, RRef<'a, ()>>;

/// Lends a plain [`Host`] across the ABI. A panic in it becomes an error: it must not unwind
/// through the plugin's frames.
pub(super) struct Lent<'a>(pub &'a dyn Host);

impl<'a> Lent<'a> {
    pub(super) fn as_ref(&'a self) -> HostRef<'a> {
        HostRef::from_ptr(RRef::new(self), sabi_trait::TD_Opaque)
    }
}

fn shield<T>(call: impl FnOnce() -> Result<T, TemplateError>) -> RResult<T, ErrorRef> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(TemplateError::failed("the host panicked in a service call")))
        .map_err(|error| ErrorRef::of(&error))
        .into()
}

impl HostServices for Lent<'_> {
    fn log(&self, level: LevelCode, message: RStr<'_>) {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.0.log(level.plain(), message.as_str());
        }));
    }

    fn progress(&self, task: RStr<'_>, done: u64, total: u64, unit: UnitCode) {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.0.progress(task.as_str(), done, total, unit.plain());
        }));
    }

    fn fetch(&self, downloads: RSlice<'_, DownloadRef>) -> RResult<RVec<RString>, ErrorRef> {
        shield(|| {
            let downloads: Vec<Download> =
                downloads.iter().map(|download| download.plain()).collect();
            self.0
                .fetch(&downloads)?
                .into_iter()
                .map(|path| {
                    path.into_os_string()
                        .into_string()
                        .map(RString::from)
                        .map_err(|path| {
                            TemplateError::failed(format!("path {path:?} is not UTF-8"))
                        })
                })
                .collect()
        })
    }

    fn fetch_unverified(&self, url: RStr<'_>, limit: u64) -> RResult<RVec<u8>, ErrorRef> {
        shield(|| self.0.fetch_unverified(url.as_str(), limit).map(RVec::from))
    }

    fn run(&self, command: CommandRef) -> RResult<OutcomeRef, ErrorRef> {
        shield(|| {
            self.0
                .run(&command.plain())
                .map(|outcome| OutcomeRef::of(&outcome))
        })
    }

    fn cancelled(&self) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.0.cancelled())).unwrap_or(true)
    }

    fn span(&self, span: SpanRef) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.span(&span.plain())));
    }

    fn fetch_each(
        &self,
        downloads: RSlice<'_, DownloadRef>,
        mut sink: SinkMut<'_>,
    ) -> RResult<(), ErrorRef> {
        shield(|| {
            let downloads: Vec<Download> =
                downloads.iter().map(|download| download.plain()).collect();
            self.0.fetch_each(&downloads, &mut |index, path| {
                let path = path.to_string_lossy();
                sink.ready(index, RStr::from_str(&path))
                    .into_result()
                    .map_err(ErrorRef::plain)
            })
        })
    }

    fn remember_highest(&self, name: RStr<'_>, value: i64) -> RResult<i64, ErrorRef> {
        shield(|| self.0.remember_highest(name.as_str(), value))
    }
}

/// The plugin's view of the host that was lent to it.
pub(super) struct Borrowed<'a>(pub HostRef<'a>);

impl Host for Borrowed<'_> {
    fn log(&self, level: Level, message: &str) {
        self.0.log(LevelCode::of(level), message.into());
    }

    fn progress(&self, task: &str, done: u64, total: u64, unit: Unit) {
        self.0
            .progress(task.into(), done, total, UnitCode::of(unit));
    }

    fn fetch(&self, downloads: &[Download]) -> Result<Vec<PathBuf>, TemplateError> {
        let downloads: Vec<DownloadRef> = downloads.iter().map(DownloadRef::of).collect();
        let paths = self
            .0
            .fetch(RSlice::from_slice(&downloads))
            .into_result()
            .map_err(ErrorRef::plain)?;
        Ok(paths
            .into_iter()
            .map(|path| PathBuf::from(path.into_string()))
            .collect())
    }

    fn fetch_unverified(&self, url: &str, limit: u64) -> Result<Vec<u8>, TemplateError> {
        self.0
            .fetch_unverified(url.into(), limit)
            .into_result()
            .map(RVec::into_vec)
            .map_err(ErrorRef::plain)
    }

    fn run(&self, command: &Command) -> Result<Outcome, TemplateError> {
        self.0
            .run(CommandRef::of(command))
            .into_result()
            .map(OutcomeRef::plain)
            .map_err(ErrorRef::plain)
    }

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }

    fn span(&self, span: &Span) {
        self.0.span(SpanRef::of(span));
    }

    fn fetch_each(
        &self,
        downloads: &[Download],
        ready: &mut dyn FnMut(usize, PathBuf) -> Result<(), TemplateError>,
    ) -> Result<(), TemplateError> {
        let records: Vec<DownloadRef> = downloads.iter().map(DownloadRef::of).collect();
        let mut sink = Sink(ready);
        let fetched = self.0.fetch_each(
            RSlice::from_slice(&records),
            SinkMut::from_ptr(RMut::new(&mut sink), sabi_trait::TD_Opaque),
        );
        match fetched.into_result().map_err(ErrorRef::plain) {
            // A host before 1.1. Whatever else fails, fails before this answer.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                for (index, path) in self.fetch(downloads)?.into_iter().enumerate() {
                    ready(index, path)?;
                }
                Ok(())
            }
            fetched => fetched,
        }
    }

    fn remember_highest(&self, name: &str, value: i64) -> Result<i64, TemplateError> {
        self.0
            .remember_highest(name.into(), value)
            .into_result()
            .map_err(ErrorRef::plain)
    }
}

/// The plugin's closure, lent to the host. A panic in it must not unwind through the host's frames.
struct Sink<'a>(&'a mut dyn FnMut(usize, PathBuf) -> Result<(), TemplateError>);

impl FetchedSink for Sink<'_> {
    fn ready(&mut self, index: usize, path: RStr<'_>) -> RResult<(), ErrorRef> {
        let path = PathBuf::from(path.as_str());
        catch_unwind(AssertUnwindSafe(|| (self.0)(index, path)))
            .unwrap_or_else(|_| {
                Err(TemplateError::new(
                    ErrorKind::Panicked,
                    "the template panicked while it took a file",
                ))
            })
            .map_err(|error| ErrorRef::of(&error))
            .into()
    }
}
