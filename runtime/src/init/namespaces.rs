//! Which namespaces a container gets anew, and which it shares (`lxc.namespace.*`).

use crate::config::{Namespace, Settings};
use crate::error::{Error, Result};

/// All that a container gets unless told otherwise; `User` only if its ids are mapped.
const USUAL: [Namespace; 7] = [
    Namespace::User,
    Namespace::Mount,
    Namespace::Pid,
    Namespace::Ipc,
    Namespace::Uts,
    Namespace::Network,
    Namespace::Cgroup,
];

/// Whether a container has a namespace of this kind to itself.
pub(crate) fn is_own(settings: &Settings, kind: Namespace) -> bool {
    let chosen = &settings.namespaces;
    if kind == Namespace::User {
        return !settings.privileged();
    }
    let listed = if chosen.clone.is_empty() {
        let nothing_else = kind == Namespace::Network && chosen.keep.is_empty();
        USUAL.contains(&kind) && !(nothing_else && settings.has_hosts_network())
    } else {
        chosen.clone.contains(&kind)
    };
    listed && !chosen.keep.contains(&kind) && !chosen.share.iter().any(|(k, _)| *k == kind)
}

/// Flags of `clone3`. Not the cgroup namespace: its root would be the monitor's cgroup.
pub(crate) fn flags(settings: &Settings) -> libc::c_int {
    USUAL
        .into_iter()
        .chain([Namespace::Time])
        .filter(|kind| *kind != Namespace::Cgroup && is_own(settings, *kind))
        .fold(0, |flags, kind| flags | flag(kind))
}

/// `CLONE_NEW*`.
pub(crate) fn flag(kind: Namespace) -> libc::c_int {
    match kind {
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Mount => libc::CLONE_NEWNS,
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Uts => libc::CLONE_NEWUTS,
        Namespace::Ipc => libc::CLONE_NEWIPC,
        Namespace::Network => libc::CLONE_NEWNET,
        Namespace::Cgroup => libc::CLONE_NEWCGROUP,
        // linux/sched.h; the libc crate has it for some targets only.
        Namespace::Time => 0x80,
    }
}

/// Refuses what cannot be done, or would undo the isolation that the rest of the config asks for.
pub(crate) fn check(settings: &Settings) -> Result<()> {
    let chosen = &settings.namespaces;
    let refused = |what: &str, why: &str| {
        Err(Error::user(format!(
            "lxc.namespace.{what} is refused: {why}"
        )))
    };
    if !chosen.clone.is_empty() && !chosen.keep.is_empty() {
        return refused(
            "keep",
            "there is lxc.namespace.clone too, and they exclude each other",
        );
    }
    if chosen.clone.contains(&Namespace::User) && settings.privileged() {
        return refused("clone = user", "without lxc.idmap nobody would be in it");
    }
    if chosen.keep.contains(&Namespace::User) && !settings.privileged() {
        return refused(
            "keep = user",
            "lxc.idmap asks for a user namespace of its own",
        );
    }
    if chosen
        .share
        .iter()
        .any(|(kind, _)| *kind == Namespace::User)
    {
        return refused(
            "share.user",
            "two containers with the same ids could reach each other's files and processes",
        );
    }
    if !is_own(settings, Namespace::Mount) {
        return refused(
            "clone, keep or share",
            "without a mount namespace of its own its mounts and its root would be the host's",
        );
    }
    let cgroup_is_shared = chosen
        .share
        .iter()
        .any(|(kind, _)| *kind == Namespace::Cgroup);
    if !is_own(settings, Namespace::Cgroup) && !cgroup_is_shared {
        return refused(
            "clone or keep",
            "without a cgroup namespace of its own it would see, and its root could change, the host's cgroups",
        );
    }
    Ok(())
}

/// What the monitor's log says about namespaces that are not the container's own.
pub(crate) fn remarks(settings: &Settings) -> Vec<String> {
    let effect = |kind| match kind {
        Namespace::Pid => Some("sees the processes outside, and may signal those of its ids"),
        Namespace::Network => Some("has the network outside, abstract sockets included"),
        Namespace::Ipc => Some("has the shared memory, queues and semaphores outside"),
        _ => None,
    };
    USUAL
        .into_iter()
        .filter(|kind| !is_own(settings, *kind))
        .filter_map(|kind| {
            Some(format!(
                "its {} namespace is shared: it {}",
                kind.name(),
                effect(kind)?
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigFile;
    use std::path::Path;

    fn settings(lines: &str) -> Settings {
        let text = format!("lxc.rootfs.path = dir:/srv/rootfs\n{lines}");
        Settings::of(&ConfigFile::parse(Path::new("/x/config"), &text)).unwrap()
    }

    const MAPPED: &str = "lxc.idmap = b 0 1048576 65536\n";

    #[test]
    fn all_are_new_unless_told_otherwise() {
        let usual = settings(MAPPED);
        assert!(check(&usual).is_ok());
        assert!(USUAL.into_iter().all(|kind| is_own(&usual, kind)));
        assert!(!is_own(&usual, Namespace::Time));
        assert!(remarks(&usual).is_empty());
        assert_eq!(flags(&settings("")) & libc::CLONE_NEWUSER, 0);
    }

    #[test]
    fn kept_and_shared_ones_are_not_new() {
        let kept = settings("lxc.namespace.keep = net ipc\nlxc.namespace.share.uts = other\n");
        check(&kept).unwrap();
        assert_eq!(flags(&kept), libc::CLONE_NEWNS | libc::CLONE_NEWPID);
        assert_eq!(remarks(&kept).len(), 2);
        let listed = settings("lxc.namespace.clone = mnt cgroup pid\n");
        check(&listed).unwrap();
        assert_eq!(flags(&listed), libc::CLONE_NEWNS | libc::CLONE_NEWPID);
    }

    #[test]
    fn what_would_undo_isolation_is_refused_with_the_reason() {
        for (lines, word) in [
            ("lxc.namespace.keep = mnt\n", "mount namespace"),
            ("lxc.namespace.clone = pid\n", "mount namespace"),
            ("lxc.namespace.keep = cgroup\n", "cgroups"),
            ("lxc.namespace.share.user = web\n", "same ids"),
            ("lxc.namespace.clone = mnt user cgroup\n", "lxc.idmap"),
        ] {
            let error = check(&settings(lines)).unwrap_err().chain();
            assert!(error.contains(word), "{lines}: {error}");
        }
        let text = format!("{MAPPED}lxc.namespace.keep = user\n");
        assert!(check(&settings(&text)).is_err());
    }
}
