//! The rows of `top`: what was used between two moments.

use std::{collections::HashMap, time::Instant};

use sampan_runtime::{Containers, Usage};
use serde::Serialize;

use crate::{failure::Outcome, output, pattern, words};

/// One container.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Time on processors, in percent of one.
    pub cpu_percent: f64,
    /// What it uses.
    #[serde(flatten)]
    pub usage: Usage,
    /// Bytes read in a second.
    pub io_read_rate: u64,
    /// Bytes written in a second.
    pub io_write_rate: u64,
}

/// Asks again and again.
pub struct Rounds {
    containers: Containers,
    names: Vec<String>,
    before: HashMap<String, Usage>,
    asked: Instant,
}

impl Rounds {
    /// The first look, which rates begin with.
    pub fn new(containers: Containers, names: &[String]) -> Outcome<Self> {
        let mut rounds = Self {
            containers,
            names: names.to_vec(),
            before: HashMap::new(),
            asked: Instant::now(),
        };
        rounds.next()?;
        Ok(rounds)
    }

    /// What is used now, and how fast since the last time.
    pub fn next(&mut self) -> Outcome<Vec<Row>> {
        let now = Instant::now();
        let seconds = now.duration_since(self.asked).as_secs_f64().max(1e-6);
        let mut rows = Vec::new();
        let mut found = HashMap::new();
        for (name, usage) in self.containers.usage()? {
            let name = name.to_string();
            let wanted = |pattern: &String| pattern::matches(pattern, &name);
            if !self.names.is_empty() && !self.names.iter().any(wanted) {
                continue;
            }
            // One that was not there, or started again: all it has used is of this time.
            let before = self.before.get(&name).copied().unwrap_or_default();
            let grown = |of: fn(&Usage) -> Option<u64>| {
                let now = of(&usage).unwrap_or(0);
                now.checked_sub(of(&before).unwrap_or(0)).unwrap_or(now) as f64
            };
            rows.push(Row {
                cpu_percent: grown(|usage| usage.cpu_usec) / seconds / 1e4,
                io_read_rate: (grown(|usage| usage.io_read) / seconds) as u64,
                io_write_rate: (grown(|usage| usage.io_written) / seconds) as u64,
                usage,
                name: name.clone(),
            });
            found.insert(name, usage);
        }
        self.before = found;
        self.asked = now;
        Ok(rows)
    }
}

/// The rows as text.
pub fn table(rows: &[Row]) -> String {
    let size = |bytes: Option<u64>| bytes.map_or("-".to_owned(), words::bytes);
    output::table(
        [
            "NAME", "CPU%", "MEMORY", "PEAK", "SWAP", "PIDS", "READ/S", "WRITE/S",
        ],
        rows.iter().map(|row| {
            [
                row.name.clone(),
                format!("{:.1}", row.cpu_percent),
                size(row.usage.memory),
                size(row.usage.memory_peak),
                size(row.usage.swap),
                row.usage
                    .processes
                    .map_or("-".to_owned(), |n| n.to_string()),
                words::bytes(row.io_read_rate),
                words::bytes(row.io_write_rate),
            ]
        }),
    )
}
