//! Two programs side by side: rows of medians, ratios and goals.

use std::{fs, time::Instant};

use crate::measure::{median, target};

/// A comparison, and the ratio that it is to reach.
pub struct Row {
    name: String,
    goal: Goal,
    unit: Unit,
    /// What was measured of Sampan, in seconds, or the unit's own.
    pub ours: Vec<f64>,
    /// What was measured of its peer.
    pub peer: Vec<f64>,
}

/// A ratio of Sampan's median to its peer's.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Of times and sizes.
    AtMost(f64),
    /// Of rates.
    AtLeast(f64),
    /// Shown for comparison.
    None,
}

/// What figures are printed in.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Measured in seconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// 1024 bytes.
    Kibibytes,
    /// 10⁹ bits per second.
    GigabitsPerSecond,
    /// 1000 per second.
    ThousandsPerSecond,
}

impl Row {
    /// A row without figures.
    pub fn new(name: &str, goal: Goal, unit: Unit) -> Self {
        Self {
            name: name.to_owned(),
            goal,
            unit,
            ours: Vec::new(),
            peer: Vec::new(),
        }
    }
}

impl Goal {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Goal::AtMost(goal) => ratio <= goal,
            Goal::AtLeast(goal) => ratio >= goal,
            Goal::None => true,
        }
    }

    fn words(self) -> String {
        match self {
            Goal::AtMost(goal) => format!("<={goal:.2}"),
            Goal::AtLeast(goal) => format!(">={goal:.2}"),
            Goal::None => String::new(),
        }
    }

    fn number(self) -> Option<f64> {
        match self {
            Goal::AtMost(goal) | Goal::AtLeast(goal) => Some(goal),
            Goal::None => None,
        }
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::Kibibytes => "KiB",
            Unit::GigabitsPerSecond => "Gbit/s",
            Unit::ThousandsPerSecond => "k/s",
        }
    }

    fn of(self, value: f64) -> f64 {
        match self {
            Unit::Milliseconds => value * 1000.0,
            _ => value,
        }
    }
}

/// Prints the table, and writes it with `facts` to `target/bench/NAME.json`.
///
/// # Panics
/// A row has no figures, or the file cannot be written.
pub fn report(name: &str, facts: serde_json::Value, rows: Vec<Row>, begun: Instant) {
    println!(
        "{:<58} {:>13} {:>13} {:>6} {:>7}",
        "row", "sampan", "peer", "ratio", "goal"
    );
    let mut json = Vec::new();
    for row in rows {
        let unit = row.unit.name();
        let runs = row.ours.len();
        let (ours, peer) = (median(row.ours), median(row.peer));
        let ratio = ours / peer;
        let met = row.goal.is_met(ratio);
        let (ours, peer) = (row.unit.of(ours), row.unit.of(peer));
        println!(
            "{:<58} {ours:>6.2} {unit:<6} {peer:>6.2} {unit:<6} {ratio:>6.2} {:>7}{}",
            row.name,
            row.goal.words(),
            if met { "" } else { "  missed" }
        );
        json.push(serde_json::json!({
            "row": row.name, "goal": row.goal.number(), "unit": unit, "sampan": ours, "peer": peer,
            "ratio": ratio, "met": met, "runs": runs,
        }));
    }
    let path = target().join("bench").join(format!("{name}.json"));
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory for results");
    let mut whole = facts;
    whole["rows"] = json.into();
    fs::write(&path, format!("{whole:#}\n")).expect("the results' file");
    println!(
        "\nwritten to {}; the whole took {:.0} s",
        path.display(),
        begun.elapsed().as_secs_f64()
    );
}
