//! `sampan logs`.

use std::{fs::File, io::Read};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sampan logs -n 20 web")]
pub struct Args {
    /// The container
    pub name: String,
    /// Only the last LINES lines
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<usize>,
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
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => {}
        // It was never started.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Failure::new(format!(
                "cannot read {}: {error}",
                path.display()
            )));
        }
    }
    output::write(last_lines(&bytes, args.lines))
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
