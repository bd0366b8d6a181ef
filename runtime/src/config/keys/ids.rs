//! Users and groups of the guest on the host.

use super::Key;
use crate::config::effective::Assignment;
use crate::config::settings::{Draft, IdMapping};

pub(super) const KEYS: &[Key] = &[Key::new(
    "lxc.idmap",
    "u|g|b INSIDE HOST COUNT",
    "ids of the inside are these of the host; id 0 must be mapped. Without any the container is privileged",
    read_map,
)
.list()];

fn read_map(draft: &mut Draft, line: &Assignment) -> Result<(), String> {
    let s = &mut draft.settings;
    if line.value.is_empty() {
        s.user_map.clear();
        s.group_map.clear();
        return Ok(());
    }
    let words: Vec<&str> = line.value.split_whitespace().collect();
    let wrong = || line.wrong("is not \"u|g|b INSIDE HOST COUNT\"");
    let [which, inside, host, count] = words[..] else {
        return Err(wrong());
    };
    let number = |word: &str| word.parse::<u32>().map_err(|_| wrong());
    let mapping = IdMapping {
        inside: number(inside)?,
        host: number(host)?,
        count: number(count)?,
    };
    let fits = |start: u32| start.checked_add(mapping.count).is_some();
    if mapping.count == 0 || !fits(mapping.inside) || !fits(mapping.host) {
        return Err(wrong());
    }
    match which {
        "u" => s.user_map.push(mapping),
        "g" => s.group_map.push(mapping),
        "b" => {
            s.user_map.push(mapping);
            s.group_map.push(mapping);
        }
        _ => return Err(wrong()),
    }
    Ok(())
}
