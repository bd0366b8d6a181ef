//! `sampan top`: what running containers use, live.

mod rows;
mod screen;

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use clap::ValueEnum;

use self::{
    rows::{Rounds, Row},
    screen::{Event, Screen},
};
use crate::{
    arguments::Format,
    context::Context,
    failure::{Failure, Outcome},
    output,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: c, m, s, p, i and n sort by processor, memory, swap, processes, disks and name; r turns the
order round; q leaves.

Examples:
  sampan top
  sampan top --sort memory --delay 5
  sampan top -n 1 --format json")]
pub struct Args {
    /// Only those with such a name; `*` is any text, `?` any one character
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Seconds between two tables, over which rates are measured
    #[arg(short, long, value_name = "SECONDS", default_value_t = 2.0)]
    delay: f64,
    /// How many tables; without a terminal, one
    #[arg(short = 'n', long, value_name = "NUMBER")]
    count: Option<u64>,
    /// What to sort by
    #[arg(short, long, value_enum, default_value_t)]
    sort: Sort,
    /// The other way round
    #[arg(short, long)]
    reverse: bool,
}

/// What to sort by: names from a to z, all else from most to least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Time on processors
    #[default]
    Cpu,
    /// Memory in use
    Memory,
    /// Swap in use
    Swap,
    /// Processes and threads
    Pids,
    /// Bytes read and written
    Io,
    /// The name
    Name,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    if !(0.1..=3600.0).contains(&args.delay) {
        return Err(Failure::new(format!(
            "--delay {} is not a number of seconds from 0.1 to 3600",
            args.delay
        )));
    }
    context.need_root("reading what containers use")?;
    let json = context.global.format == Format::Json;
    let live = std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !json;
    let count = args.count.or((!live).then_some(1));
    if live && args.count.is_none() {
        return watch(context, args);
    }
    let screen = Screen::without_terminal()?;
    let delay = Duration::from_secs_f64(args.delay);
    let mut rounds = Rounds::new(context.containers(), &args.names)?;
    let mut done = 0;
    while count.is_none_or(|count| done < count) {
        if wait(&screen, Instant::now() + delay)? == Event::Leave {
            break;
        }
        let rows = sorted(rounds.next()?, args.sort, args.reverse);
        match (json, count) {
            (true, Some(1)) => output::print(Format::Json, &rows, |_| String::new())?,
            (true, _) => {
                let line = serde_json::to_string(&rows)
                    .map_err(|error| Failure::new(format!("cannot print as JSON: {error}")))?;
                output::write(format!("{line}\n").as_bytes())?;
            }
            _ => {
                let gap = if done > 0 { "\n" } else { "" };
                output::write(format!("{gap}{}", rows::table(&rows)).as_bytes())?;
            }
        }
        done += 1;
    }
    Ok(())
}

/// Until a key that is no command or the time comes.
fn wait(screen: &Screen, until: Instant) -> Outcome<Event> {
    loop {
        match screen.wait(until)? {
            Event::Key(_) | Event::Resized => {}
            other => return Ok(other),
        }
    }
}

fn watch(context: &Context, args: &Args) -> Outcome {
    let delay = Duration::from_secs_f64(args.delay);
    let mut rounds = Rounds::new(context.containers(), &args.names)?;
    let (mut sort, mut reverse) = (args.sort, args.reverse);
    let screen = Screen::open()?;
    // A first short round, so that there is something to see at once.
    let mut until = Instant::now() + delay.min(Duration::from_millis(300));
    let mut rows: Vec<Row> = Vec::new();
    loop {
        rows = sorted(rows, sort, reverse);
        screen.show(&rows::table(&rows))?;
        match screen.wait(until)? {
            Event::Leave => return Ok(()),
            Event::Resized => {}
            Event::Key(key) => match key {
                b'q' | b'Q' => return Ok(()),
                b'c' => sort = Sort::Cpu,
                b'm' => sort = Sort::Memory,
                b's' => sort = Sort::Swap,
                b'p' => sort = Sort::Pids,
                b'i' => sort = Sort::Io,
                b'n' => sort = Sort::Name,
                b'r' => reverse = !reverse,
                _ => {}
            },
            Event::TimeOut => {
                rows = rounds.next()?;
                until = Instant::now() + delay;
            }
        }
    }
}

fn sorted(mut rows: Vec<Row>, sort: Sort, reverse: bool) -> Vec<Row> {
    rows.sort_by(|a, b| {
        let by_number = |of: fn(&Row) -> u64| of(b).cmp(&of(a));
        let order = match sort {
            Sort::Name => a.name.cmp(&b.name),
            Sort::Cpu => b.cpu_percent.total_cmp(&a.cpu_percent),
            Sort::Memory => by_number(|row| row.usage.memory.unwrap_or(0)),
            Sort::Swap => by_number(|row| row.usage.swap.unwrap_or(0)),
            Sort::Pids => by_number(|row| row.usage.processes.unwrap_or(0)),
            Sort::Io => by_number(|row| row.io_read_rate + row.io_write_rate),
        };
        let order = if reverse { order.reverse() } else { order };
        order.then_with(|| a.name.cmp(&b.name))
    });
    rows
}
