//! `sampan logs`.

use std::io::Write;

use sampan_runtime::LogReader;

use crate::{
    context::Context,
    failure::{Failure, Outcome},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --follow what is written from now on is shown too, through rotations of the log and restarts of
the container, until Ctrl-C or until the container is destroyed.

Examples:
  sampan logs -n 20 web
  sampan logs -f -n 0 web")]
pub struct Args {
    /// The container
    pub name: String,
    /// Only the last LINES lines
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<usize>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// What the monitor said instead of what the guest wrote
    #[arg(long)]
    monitor: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let container = context.container(&args.name)?;
    let path = match args.monitor {
        true => container.log(),
        false => container.console_log(),
    };
    let mut log = LogReader::open(&path, args.follow)?;
    let bytes = log.read()?;
    let mut open = write(last_lines(&bytes, args.lines))?;
    drop(bytes);
    while args.follow && open {
        // Destroyed: its directory goes first, then its log, whose end is still to be read here.
        let destroyed = !container.dir().exists();
        if !destroyed {
            log.wait()?;
        }
        open = write(&log.read()?)? && !destroyed;
    }
    Ok(())
}

/// Whether somebody reads on.
fn write(bytes: &[u8]) -> Outcome<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!(
            "cannot write to standard output: {error}"
        ))),
    }
}

fn last_lines(bytes: &[u8], lines: Option<usize>) -> &[u8] {
    let Some(lines) = lines else { return bytes };
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let ends = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    match lines.checked_sub(1) {
        None => &[],
        Some(before) => match ends.map(|(at, _)| at).nth(before) {
            Some(at) => &bytes[at + 1..],
            None => bytes,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole_lines() {
        assert_eq!(last_lines(b"a\nb\nc\n", Some(2)), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", Some(1)), b"c");
        assert_eq!(last_lines(b"a\n", Some(9)), b"a\n");
        assert_eq!(last_lines(b"a\n", Some(0)), b"");
        assert_eq!(last_lines(b"", Some(3)), b"");
    }
}
