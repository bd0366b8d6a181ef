//! What a healthy tree of this template holds.

use sampan_core::{Rootfs, TemplateError};

/// What is wrong with a tree, a sentence each.
pub fn check(rootfs: &Rootfs) -> Result<Vec<String>, TemplateError> {
    let mut faults = Vec::new();
    for (path, why) in [
        ("usr/bin/dpkg", "packages cannot be managed"),
        ("usr/bin/apt", "packages cannot be fetched"),
        ("bin/sh", "no script can run"),
        ("etc/passwd", "nobody can log in"),
        ("etc/os-release", "nobody can tell what this is"),
    ] {
        if !rootfs.exists(path) {
            faults.push(format!("/{path} is missing: {why}"));
        }
    }
    for (path, why) in [
        ("usr/sbin/policy-rc.d", "services would never be started"),
        ("var/lib/dpkg/sampan-preinst", "the build left it behind"),
    ] {
        if rootfs.exists(path) {
            faults.push(format!("/{path} is there: {why}"));
        }
    }
    if rootfs.exists("var/lib/dpkg/status") {
        faults.extend(unfinished(&rootfs.read_text("var/lib/dpkg/status")?));
    } else {
        faults.push("/var/lib/dpkg/status is missing: dpkg knows no package".to_owned());
    }
    for directory in ["dev", "proc", "sys"] {
        if !rootfs.is_dir(directory) {
            faults.push(format!(
                "/{directory} is missing: nothing can be mounted there"
            ));
        } else if !rootfs.list(directory)?.is_empty() {
            faults.push(format!(
                "/{directory} is not empty: the image carries what the kernel makes"
            ));
        }
    }
    Ok(faults)
}

/// Packages that are neither installed nor gone.
fn unfinished(status: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut package = "";
    for line in status.lines() {
        if let Some(name) = line.strip_prefix("Package: ") {
            package = name;
        }
        let state = line.strip_prefix("Status: ");
        if let Some(state) = state.filter(|state| *state != "install ok installed") {
            faults.push(format!("package {package} is in the state `{state}`"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_tree_and_an_unfinished_package_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        assert!(check(&rootfs).unwrap().len() > 5);
        let status =
            "Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: install ok unpacked\n";
        assert_eq!(
            unfinished(status),
            ["package b is in the state `install ok unpacked`"]
        );
    }
}
