//! Where a person hears of what goes on.

use sampan_core::{Level, Span, Unit};

/// Takes log lines and progress of templates, downloads and packing.
pub trait Reporter {
    /// A line for people.
    fn log(&self, level: Level, message: &str);
    /// How far the named task is; a `total` of 0 is unknown, `done == total` ends the task.
    fn progress(&self, task: &str, done: u64, total: u64, unit: Unit);
    /// Something that has ended, and when it began and ended.
    fn span(&self, _span: &Span) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn log(&self, _level: Level, _message: &str) {}
    fn progress(&self, _task: &str, _done: u64, _total: u64, _unit: Unit) {}
}
