//! Progress on standard error: bars on a terminal, plain lines elsewhere.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sampan_core::{Level, Span, Unit};
use sampan_plugins::Reporter;

use crate::{arguments::Global, words};

/// Tells a person what goes on.
pub struct Console {
    least: Level,
    quiet: bool,
    bars: Option<MultiProgress>,
    tasks: RefCell<HashMap<String, Task>>,
    spans: RefCell<Vec<Span>>,
    warned: RefCell<VecDeque<String>>,
}

struct Task {
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Console {
    /// For these arguments and this standard error.
    pub fn new(global: &Global) -> Self {
        let bars = (std::io::stderr().is_terminal() && !global.quiet)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self {
            least: if global.verbose {
                Level::Debug
            } else {
                Level::Info
            },
            quiet: global.quiet,
            bars,
            tasks: RefCell::default(),
            spans: RefCell::default(),
            warned: RefCell::default(),
        }
    }

    /// A line for people, unless they asked for quiet.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.line(line);
        }
    }

    /// A line for people below what a guest has shown: its last line may have no end, and the
    /// terminal may be raw.
    pub fn say_below(&self, line: &str) {
        if !self.quiet {
            eprint!("\r\n{line}\r\n");
        }
    }

    /// What has ended so far, for `--timings`.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.borrow().clone()
    }

    fn line(&self, line: &str) {
        match &self.bars {
            // A terminal that takes no line takes no bar either.
            Some(bars) => drop(bars.println(line)),
            None => eprintln!("{line}"),
        }
    }

    /// Says the same once: a template that is asked for a fingerprint and then builds meets the same
    /// mirror twice.
    fn warn(&self, message: &str) {
        let mut warned = self.warned.borrow_mut();
        if warned.iter().any(|earlier| earlier == message) {
            return;
        }
        if warned.len() == REMEMBERED_WARNINGS {
            warned.pop_front();
        }
        warned.push_back(message.to_owned());
        drop(warned);
        self.line(&format!("warning: {message}"));
    }

    fn bar(&self, task: &str, total: u64, unit: Unit) -> Option<ProgressBar> {
        let bars = self.bars.as_ref()?;
        let bar = bars.add(if total == 0 {
            ProgressBar::no_length()
        } else {
            ProgressBar::new(total)
        });
        let template = match (unit, total) {
            (Unit::Bytes, 0) => "{msg:<12} {spinner} {binary_bytes:>12}  {binary_bytes_per_sec}",
            (Unit::Bytes, _) => {
                "{msg:<12} [{bar:30}] {binary_bytes:>11}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta}"
            }
            (_, 0) => "{msg:<12} {spinner} {pos}  {per_sec}",
            _ => "{msg:<12} [{bar:30}] {pos:>5}/{len}  {per_sec}  {eta}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(task.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Some(bar)
    }
}

/// A template may warn of as much as it likes; not more than this is kept.
const REMEMBERED_WARNINGS: usize = 64;

/// No page shows more; a template that tells more has lost its mind.
const MOST_SPANS: usize = 100_000;

impl Reporter for Console {
    fn log(&self, level: Level, message: &str) {
        if level >= Level::Warn {
            self.warn(message);
        } else if level >= self.least {
            self.say(message);
        }
    }

    fn progress(&self, name: &str, done: u64, total: u64, unit: Unit) {
        if self.quiet {
            return;
        }
        let mut tasks = self.tasks.borrow_mut();
        if !tasks.contains_key(name) {
            let task = Task {
                begun: Instant::now(),
                bar: self.bar(name, total, unit),
            };
            tasks.insert(name.to_owned(), task);
        }
        let Some(task) = tasks.get(name) else { return };
        if let Some(bar) = &task.bar {
            if total > 0 {
                bar.set_length(total);
            }
            bar.set_position(done);
        }
        if total > 0 && done >= total {
            let line = finished(name, total, unit, task.begun.elapsed());
            if let Some(bar) = &task.bar {
                bar.finish_and_clear();
            }
            tasks.remove(name);
            drop(tasks);
            self.line(&line);
        }
    }

    /// Whole stages, for those who asked for more.
    fn span(&self, span: &Span) {
        {
            let mut spans = self.spans.borrow_mut();
            if spans.len() < MOST_SPANS {
                spans.push(span.clone());
            }
        }
        if self.least <= Level::Debug && span.item.is_empty() {
            let took = span.ended.saturating_sub(span.begun) as f64 / 1e6;
            self.say(&match took < 1.0 {
                true => format!("{} took {:.1} ms", span.task, took * 1e3),
                false => format!("{} took {took:.2} s", span.task),
            });
        }
    }
}

/// One line for a task that has ended, with its rate.
fn finished(name: &str, total: u64, unit: Unit, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    // Rounded down: nobody reads the fraction of a byte.
    let rate = (total as f64 / seconds) as u64;
    match unit {
        Unit::Bytes => format!(
            "{name}: {} in {seconds:.1} s ({}/s)",
            words::bytes(total),
            words::bytes(rate)
        ),
        _ => format!("{name}: {total} in {seconds:.1} s ({rate}/s)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_task_tells_amount_time_and_rate() {
        let line = finished("downloading", 2 << 20, Unit::Bytes, Duration::from_secs(2));
        assert_eq!(line, "downloading: 2.00 MiB in 2.0 s (1.00 MiB/s)");
    }
}
