//! Limits as arguments of `create`, and as words.

use sampan_runtime::{LimitChange, LimitsInForce};

use crate::{failure::Outcome, words};

/// The limits most often wanted. `sampan set` knows them all.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Most memory, as 512M
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Most swap, as 128M; needs --memory where cgroups are of version 1
    #[arg(long, value_name = "SIZE")]
    swap: Option<String>,
    /// Processors' worth of time, as 1.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// Most processes and threads
    #[arg(long, value_name = "NUMBER")]
    pids: Option<String>,
}

impl LimitArgs {
    /// The limits that were given.
    pub fn changes(&self) -> Outcome<Vec<LimitChange>> {
        let given = [
            ("memory", &self.memory),
            ("swap", &self.swap),
            ("cpus", &self.cpus),
            ("pids", &self.pids),
        ];
        let mut changes = Vec::new();
        for (name, value) in given {
            if let Some(value) = value {
                changes.push(format!("{name}={value}").parse()?);
            }
        }
        Ok(changes)
    }
}

/// A number used, and its limit.
pub fn of(used: u64, limit: Option<u64>, word: impl Fn(u64) -> String) -> String {
    match limit {
        Some(limit) => format!("{} of {}", word(used), word(limit)),
        None => word(used),
    }
}

/// The limits of processors in a line; `None` without any.
pub fn processors(limits: &LimitsInForce) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(cpus) = limits.cpus {
        parts.push(format!("the time of {cpus}"));
    }
    if let Some(set) = &limits.cpuset {
        parts.push(format!("those numbered {set}"));
    }
    if let Some(weight) = limits.cpu_weight.filter(|weight| *weight != 100) {
        parts.push(format!("weight {weight}"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// A time on processors, as `1.25 s`.
pub fn cpu_time(usec: u64) -> String {
    match usec {
        0..60_000_000 => format!("{:.2} s", usec as f64 / 1e6),
        _ => words::duration(usec / 1_000_000),
    }
}
