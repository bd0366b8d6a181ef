//! The host's services as a trait object that crosses, and the adapters on both sides.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use abi_stable::{
    sabi_trait,
    sabi_types::RRef,
    std_types::{RResult, RSlice, RStr, RString, RVec},
};

use super::wire::{CommandRef, DownloadRef, ErrorRef, LevelCode, OutcomeRef, UnitCode};
use crate::{Command, Download, Host, Level, Outcome, TemplateError, Unit};

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
}

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
}
