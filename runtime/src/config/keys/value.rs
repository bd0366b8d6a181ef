//! Values that many keys share: numbers, switches, sizes, paths.

use std::path::PathBuf;
use std::str::FromStr;

use crate::config::effective::Assignment;

/// A number; an empty value stands for `empty`.
pub(super) fn number<T: FromStr>(line: &Assignment, empty: T) -> Result<T, String> {
    if line.value.is_empty() {
        return Ok(empty);
    }
    line.value
        .parse()
        .map_err(|_| line.wrong("is not a number in range"))
}

/// `0` or `1`; as for LXC an empty value is 0.
pub(super) fn switch(line: &Assignment) -> Result<bool, String> {
    match line.value.as_str() {
        "" | "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(line.wrong("is neither 0 nor 1")),
    }
}

/// Words, or nothing.
pub(super) fn text(line: &Assignment) -> Option<String> {
    (!line.value.is_empty()).then(|| line.value.clone())
}

/// An absolute path, or nothing.
pub(super) fn path(line: &Assignment) -> Result<Option<PathBuf>, String> {
    if line.value.is_empty() {
        return Ok(None);
    }
    if !line.value.starts_with('/') {
        return Err(line.wrong("is not an absolute path"));
    }
    Ok(Some(PathBuf::from(&line.value)))
}

/// A command: words, the first an absolute path.
pub(super) fn command(line: &Assignment) -> Result<Vec<String>, String> {
    let words: Vec<String> = line.value.split_whitespace().map(str::to_owned).collect();
    if !words.is_empty() && !line.value.starts_with('/') {
        return Err(line.wrong("does not begin with an absolute path"));
    }
    Ok(words)
}

/// Bytes: a number with `KB`, `MB` or `GB` (1024 each, in any case), or none for bytes.
pub(super) fn size(line: &Assignment) -> Result<u64, String> {
    let wrong = || line.wrong("is not a size as 64KB or 1MB");
    let split = line.value.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = line.value.split_at(split);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}
