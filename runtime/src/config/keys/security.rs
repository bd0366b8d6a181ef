//! Mandatory access control, system calls, privileges.

use std::path::PathBuf;

use super::Key;
use super::value::{path, switch, text};
use crate::config::effective::Assignment;
use crate::config::settings::Draft;

/// `lxc.seccomp.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seccomp {
    /// `lxc.seccomp.profile`: a file of rules.
    pub profile: Option<PathBuf>,
    /// `lxc.seccomp.allow_nesting`: on top of a filter that is there already.
    pub allow_nesting: bool,
}

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.no_new_privs",
        "0 or 1",
        "1: programs get no privileges by being executed",
        |draft, line| {
            draft.settings.no_new_privileges = switch(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.seccomp.profile",
        "FILE",
        "system calls allowed or refused, besides those always refused",
        |draft, line| {
            draft.settings.seccomp.profile = path(line)?;
            Ok(())
        },
    ),
    Key::new(
        "lxc.seccomp.allow_nesting",
        "0 or 1",
        "1: also where such a filter is in force already",
        |draft, line| {
            draft.settings.seccomp.allow_nesting = switch(line)?;
            Ok(())
        },
    )
    .without_effect("filters add up; a profile is in force wherever the container is started"),
    Key::new(
        "lxc.seccomp.notify.proxy",
        "unix:PATH",
        "a socket that decides on system calls",
        nothing,
    )
    .refused(),
    Key::new(
        "lxc.seccomp.notify.cookie",
        "TEXT",
        "sent along with such a question",
        nothing,
    )
    .refused(),
    Key::new(
        "lxc.apparmor.profile",
        "unconfined",
        "the AppArmor profile; where AppArmor is off every value passes, as for LXC",
        apparmor,
    ),
    Key::new(
        "lxc.apparmor.allow_incomplete",
        "0 or 1",
        "with a kernel that knows only half of AppArmor; where AppArmor is off every value passes",
        apparmor,
    ),
    Key::new(
        "lxc.apparmor.allow_nesting",
        "0 or 1",
        "containers inside; where AppArmor is off every value passes",
        apparmor,
    ),
    Key::new(
        "lxc.apparmor.raw",
        "RULE",
        "a line for the generated profile; where AppArmor is off every value passes",
        apparmor,
    )
    .list(),
    Key::new(
        "lxc.selinux.context",
        "CONTEXT",
        "the SELinux context of init",
        |draft, line| {
            draft.settings.selinux_context = text(line);
            Ok(())
        },
    )
    .refused_but(&["unconfined_t"]),
    Key::new(
        "lxc.selinux.context.keyring",
        "CONTEXT",
        "the SELinux context of the session keyring",
        nothing,
    )
    .refused(),
    Key::new(
        "lxc.keyring.session",
        "0 or 1",
        "1: a session keyring of its own, as every guest has",
        |_, line| switch(line).map(drop),
    )
    .refused_but(&["1"]),
];

fn nothing(_: &mut Draft, _: &Assignment) -> Result<(), String> {
    Ok(())
}

fn apparmor(_: &mut Draft, line: &Assignment) -> Result<(), String> {
    if ["", "unconfined"].contains(&line.value.as_str()) || !apparmor_is_enabled() {
        return Ok(());
    }
    Err(line.wrong("is not supported yet; only \"unconfined\" is"))
}

fn apparmor_is_enabled() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with('Y'))
}
