//! The first process: its program, directory, ids and environment.

use std::path::PathBuf;

use super::Key;
use super::value::{command, number};

/// What init is unless told otherwise.
pub(in crate::config) const INIT: &str = "/sbin/init";

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.init.cmd",
        "PATH [ARGUMENT…]",
        "the program run as init; /sbin/init by default",
        |draft, line| {
            let words = command(line)?;
            draft.settings.init = if words.is_empty() {
                vec![INIT.to_owned()]
            } else {
                words
            };
            Ok(())
        },
    ),
    Key::new(
        "lxc.init.cwd",
        "DIRECTORY",
        "its working directory",
        |draft, line| {
            draft.settings.init_directory =
                (!line.value.is_empty()).then(|| PathBuf::from(&line.value));
            Ok(())
        },
    ),
    Key::new(
        "lxc.init.uid",
        "NUMBER",
        "its user id inside",
        |draft, line| {
            draft.settings.init_uid = number(line, 0)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.init.gid",
        "NUMBER",
        "its group id inside",
        |draft, line| {
            draft.settings.init_gid = number(line, 0)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.init.groups",
        "NUMBER[,NUMBER…]",
        "its further groups inside",
        |draft, line| {
            let groups = &mut draft.settings.init_groups;
            if line.value.is_empty() {
                groups.clear();
            }
            for word in line.value.split([',', ' ']).filter(|word| !word.is_empty()) {
                let group = word.parse();
                groups.push(group.map_err(|_| line.wrong("is not a list of group ids"))?);
            }
            Ok(())
        },
    )
    .list(),
    Key::new(
        "lxc.execute.cmd",
        "PATH [ARGUMENT…]",
        "what `sampan run NAME` runs unless it is told a command",
        |draft, line| {
            draft.settings.execute = command(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.environment",
        "NAME=VALUE",
        "a variable of init; a NAME alone (for LXC: that of the one who starts it) is refused",
        |draft, line| {
            let environment = &mut draft.settings.environment;
            if line.value.is_empty() {
                environment.clear();
                return Ok(());
            }
            match line.value.split_once('=') {
                Some((key, text)) if !key.is_empty() => {
                    environment.push((key.to_owned(), text.to_owned()));
                    Ok(())
                }
                _ => Err(line.wrong("is not KEY=VALUE")),
            }
        },
    )
    .list(),
];
