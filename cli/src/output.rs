//! Data on standard output: tables for people, JSON for programs.

use std::io::Write;

use comfy_table::{Table, TableStyle};
use serde::Serialize;

use crate::{
    arguments::Format,
    failure::{Failure, Outcome},
};

/// Prints `data` as JSON, or else what `for_people` makes of it.
pub fn print<T: Serialize + ?Sized>(
    format: Format,
    data: &T,
    for_people: impl FnOnce(&T) -> String,
) -> Outcome {
    let text = match format {
        Format::Table => for_people(data),
        Format::Json => {
            let mut json = serde_json::to_string_pretty(data)
                .map_err(|error| Failure::new(format!("cannot print as JSON: {error}")))?;
            json.push('\n');
            json
        }
    };
    write(text.as_bytes())
}

/// Writes to standard output. A reader that has gone away (`| head`) is no failure.
pub fn write(bytes: &[u8]) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// A table without lines: a heading and rows.
pub fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    table_of(
        heading.map(str::to_owned).to_vec(),
        rows.into_iter().map(Vec::from),
    )
}

/// The same with as many columns as there are headings.
pub fn table_of(heading: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_header(heading);
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    let mut text = String::new();
    for line in table.lines() {
        // Every cell begins with a space, the first one's is at the line's start.
        text.push_str(line.strip_prefix(' ').unwrap_or(&line).trim_end());
        text.push('\n');
    }
    text
}

/// Names and values, one pair a line; pairs without a value are left out.
pub fn fields<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let pairs: Vec<(&str, String)> = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    pairs
        .iter()
        .map(|(name, value)| {
            let name = format!("{name}:");
            format!("{name:<width$} {}\n", printable(value))
        })
        .collect()
}

/// Text of templates and guests without what would steer the terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_spaces() {
        let rows = [
            ["a".to_owned(), "one".to_owned()],
            ["long".to_owned(), "2".to_owned()],
        ];
        let text = table(["NAME", "STATE"], rows);
        assert_eq!(text, "NAME  STATE\na     one\nlong  2\n");
    }

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        assert!(!fields([("name", Some("\u{1b}]0;x\u{7}".to_owned()))]).contains('\u{1b}'));
    }
}
