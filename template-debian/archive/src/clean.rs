//! Taking out of a finished tree what differs from build to build or belongs to one machine.
//!
//! Two builds of the same inputs must give the same bytes, and two containers of one image must
//! not share an identity.

use sampan_core::rootfs::Rootfs;

use crate::Result;

/// Files and directories that go, each with its reason.
const REMOVED: &[&str] = &[
    // Written by dpkg's and ldconfig's runs: times and inode numbers.
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/dpkg/tmp.ci",
    "var/cache/ldconfig/aux-cache",
    // Binary caches that apt makes again when it is first asked.
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
    // Seeds must be secret and each machine's own.
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/urandom/random-seed",
    // Identity: systemd makes it at first boot.
    "var/lib/dbus/machine-id",
    // Holds a time and the machine's name in its header.
    "var/lib/systemd/catalog/database",
];

/// Directories whose contents go.
const EMPTIED: &[&str] = &["tmp", "var/tmp", "var/lib/apt/lists/partial", "run"];

/// Logs of the build, and copies that programs leave beside a file they changed.
const COPIES: &[(&str, &str)] = &[("var/lib/dpkg", "-old"), ("var/cache/debconf", "-old")];

/// Cleans a tree; `epoch` is the time that it shall seem to be from.
pub fn clean(rootfs: &Rootfs, epoch: i64) -> Result<()> {
    for path in REMOVED {
        rootfs.remove(path)?;
    }
    for path in EMPTIED {
        // /run/lock is a directory that packages ship.
        let keep_lock = *path == "run" && rootfs.is_dir("run/lock");
        rootfs.remove_contents(path)?;
        if keep_lock {
            rootfs.create_dir("run/lock", 0o1777)?;
        }
    }
    for name in names(rootfs, "var/lib/apt/lists")? {
        // A directory of apt's own.
        if name != "partial" {
            rootfs.remove(format!("var/lib/apt/lists/{name}"))?;
        }
    }
    for (directory, suffix) in COPIES {
        for name in names(rootfs, directory)? {
            if name.ends_with(suffix) {
                rootfs.remove(format!("{directory}/{name}"))?;
            }
        }
    }
    for name in names(rootfs, "etc/ssh")? {
        if name.starts_with("ssh_host_") {
            rootfs.remove(format!("etc/ssh/{name}"))?;
        }
    }
    for name in names(rootfs, "var/cache/apt/archives")? {
        if name.ends_with(".deb") {
            rootfs.remove(format!("var/cache/apt/archives/{name}"))?;
        }
    }
    logs(rootfs)?;
    // Empty, so that systemd makes one at boot even where /etc cannot be written to then.
    if rootfs.is_dir("etc") && (rootfs.exists("etc/machine-id") || has_systemd(rootfs)) {
        rootfs.write("etc/machine-id", "", 0o444)?;
    }
    for name in ["etc/shadow", "etc/shadow-"] {
        if rootfs.exists(name) {
            change_dates(rootfs, name, epoch.div_euclid(86_400))?;
        }
    }
    Ok(())
}

fn has_systemd(rootfs: &Rootfs) -> bool {
    rootfs.exists("usr/lib/systemd/systemd")
}

/// Removes the logs of the build; those that login programs need to exist are emptied.
fn logs(rootfs: &Rootfs) -> Result<()> {
    for name in [
        "dpkg.log",
        "alternatives.log",
        "bootstrap.log",
        "fontconfig.log",
    ] {
        rootfs.remove(format!("var/log/{name}"))?;
    }
    for directory in ["var/log/apt", "var/log/journal"] {
        rootfs.remove_contents(directory)?;
    }
    Ok(())
}

fn names(rootfs: &Rootfs, directory: &str) -> Result<Vec<String>> {
    if !rootfs.is_dir(directory) {
        return Ok(Vec::new());
    }
    let names = rootfs.list(directory)?;
    Ok(names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect())
}

/// Sets the day of the last password change (shadow(5), third field) in every line that has one.
fn change_dates(rootfs: &Rootfs, path: &str, day: i64) -> Result<()> {
    let before = rootfs.read_text(path)?;
    let after: String = before
        .lines()
        .map(|line| {
            let mut fields: Vec<&str> = line.split(':').collect();
            let day = day.to_string();
            if let Some(field) = fields.get_mut(2).filter(|field| !field.is_empty()) {
                *field = &day;
            }
            fields.join(":") + "\n"
        })
        .collect();
    if after == before {
        return Ok(());
    }
    let stat = rootfs.stat(path)?;
    rootfs.write(path, after, stat.st_mode & 0o7777)?;
    rootfs.set_owner(path, stat.st_uid, stat.st_gid)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_logs_and_dates_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        for (path, text) in [
            ("etc/machine-id", "abc\n"),
            ("etc/shadow", "root:*:20000:0:99999:7:::\nx:!::\n"),
            ("etc/ssh/ssh_host_rsa_key", "secret"),
            ("var/log/dpkg.log", "today"),
            ("var/lib/dpkg/status-old", ""),
            ("var/lib/dpkg/status", "kept"),
            ("tmp/x", ""),
        ] {
            rootfs.write(path, text, 0o640).unwrap();
        }
        clean(&rootfs, 10 * 86_400 + 5).unwrap();
        assert_eq!(rootfs.read_text("etc/machine-id").unwrap(), "");
        assert_eq!(
            rootfs.read_text("etc/shadow").unwrap(),
            "root:*:10:0:99999:7:::\nx:!::\n"
        );
        for gone in [
            "etc/ssh/ssh_host_rsa_key",
            "var/log/dpkg.log",
            "var/lib/dpkg/status-old",
            "tmp/x",
        ] {
            assert!(!rootfs.exists(gone), "{gone}");
        }
        assert!(rootfs.exists("var/lib/dpkg/status"));
    }
}
