//! Capabilities.

use super::Key;
use crate::config::effective::Assignment;
use crate::config::values::capability;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.cap.drop",
        "CAPABILITY…",
        "capabilities taken away, without CAP_ and in small letters",
        |draft, line| {
            if line.value.is_empty() {
                draft.drop.clear();
            }
            for word in line.value.split_whitespace() {
                draft.drop.push(number(line, word)?);
            }
            Ok(())
        },
    )
    .list(),
    Key::new(
        "lxc.cap.keep",
        "CAPABILITY… or none",
        "the only capabilities left; excludes lxc.cap.drop",
        |draft, line| {
            if line.value.is_empty() {
                draft.keep = None;
            }
            for word in line.value.split_whitespace() {
                if word == "none" {
                    draft.keep = Some(Vec::new());
                } else {
                    let number = number(line, word)?;
                    draft.keep.get_or_insert_default().push(number);
                }
            }
            Ok(())
        },
    )
    .list(),
];

fn number(line: &Assignment, word: &str) -> Result<u32, String> {
    capability(word).ok_or_else(|| line.wrong(&format!("names the unknown capability {word}")))
}
