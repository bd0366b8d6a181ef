//! What a container's console showed in this run, for the error of a start that failed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// At most so many lines, and so many bytes.
const LINES: usize = 10;
const BYTES: u64 = 2048;

/// A place in a console's log.
pub(super) struct LastWords {
    path: PathBuf,
    from: u64,
}

impl LastWords {
    /// The present end of a log.
    pub(super) fn since_now(path: &Path) -> LastWords {
        LastWords {
            path: path.to_path_buf(),
            from: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        }
    }

    /// The last lines written since. The guest wrote them: nothing in them steers a terminal.
    pub(super) fn read(&self) -> Option<String> {
        let mut file = File::open(&self.path).ok()?;
        let end = file.metadata().ok()?.len();
        let from = self.from.max(end.saturating_sub(BYTES));
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                line.trim_end()
                    .chars()
                    .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                    .collect::<String>()
            })
            .filter(|line| !line.is_empty())
            .collect();
        let lines = &lines[lines.len().saturating_sub(LINES)..];
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_run_is_quoted_and_nothing_that_steers_a_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        std::fs::write(&path, "old\n").unwrap();
        let words = LastWords::since_now(&path);
        assert_eq!(words.read(), None);
        std::fs::write(&path, "old\nno such file\u{1b}]0;x\u{7}\r\n\r\n").unwrap();
        assert_eq!(words.read().unwrap(), "no such file\u{fffd}]0;x\u{fffd}");
        let many: String = (0..5000).map(|n| format!("{n}\n")).collect();
        std::fs::write(&path, many).unwrap();
        let last = words.read().unwrap();
        assert_eq!(last.lines().count(), LINES);
        assert!(last.ends_with("4999"));
    }
}
