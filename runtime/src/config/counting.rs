//! Of all lines those that count: the others are overridden or forgotten.

use super::effective::Assignment;
use super::keys;

/// The lines that count, in order: of a key with one value the last, of a list those after its last
/// empty value.
pub fn counting(lines: Vec<Assignment>) -> Vec<Assignment> {
    let mut all: Vec<Assignment> = Vec::with_capacity(lines.len());
    for line in lines {
        if forgets_networks(&line) {
            all.retain(|known| !known.key.starts_with("lxc.net."));
            continue;
        }
        let list = keys::find(&line.key).is_some_and(|key| key.list);
        if !list || line.value.is_empty() {
            all.retain(|known| known.key != line.key);
        }
        if !line.value.is_empty() {
            all.push(line);
        }
    }
    all
}

/// Those of them with one key, by its name of today.
pub fn values_of(lines: Vec<Assignment>, key: &str) -> Vec<Assignment> {
    let mut lines = counting(lines);
    lines.retain(|line| line.key == key);
    lines
}

fn forgets_networks(line: &Assignment) -> bool {
    line.key == "lxc.net" && line.value.is_empty()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{ConfigFile, effective};
    use super::*;

    fn pairs(text: &str) -> Vec<String> {
        let file = ConfigFile::parse(Path::new("/no/such/config"), text);
        counting(effective(&file).unwrap())
            .into_iter()
            .map(|line| format!("{}={}", line.key, line.value))
            .collect()
    }

    #[test]
    fn the_last_value_counts_and_lists_add_up_until_they_are_emptied() {
        assert_eq!(
            pairs(
                "lxc.utsname = a\nlxc.cap.drop = x\nlxc.cap.drop =\nlxc.cap.drop = y\nlxc.cap.drop = z\n\
                 lxc.tty = 4\nlxc.tty.max =\nlxc.uts.name = b\n\
                 lxc.network.type = veth\nlxc.net =\nlxc.net.0.type = empty\n\
                 lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:3 r\n"
            ),
            [
                "lxc.cap.drop=y",
                "lxc.cap.drop=z",
                "lxc.uts.name=b",
                "lxc.net.0.type=empty",
                "lxc.cgroup.devices.deny=a",
                "lxc.cgroup.devices.allow=c 1:3 r",
            ]
        );
    }
}
