//! A link for every command that busybox is.

use sampan_core::{Command, Host, Rootfs, TemplateError};

/// Asks busybox for its commands and links each, where it says it belongs.
pub fn link(rootfs: &Rootfs, host: &dyn Host) -> Result<(), TemplateError> {
    let outcome = host
        .run_ok(&Command::new(["/bin/busybox", "--list-full"]))
        .map_err(|error| error.context("cannot ask busybox for its commands"))?;
    let mut linked = 0;
    for path in paths(&outcome.output) {
        if !rootfs.exists(path) {
            rootfs.symlink("/bin/busybox", path)?;
            linked += 1;
        }
    }
    if !rootfs.exists("sbin/init") || !rootfs.exists("bin/sh") {
        return Err(TemplateError::failed(format!(
            "busybox has no init or no sh among its {linked} commands, so that nothing would boot"
        )));
    }
    host.info(&format!("{linked} commands"));
    Ok(())
}

/// The usable paths in the list: below a directory of commands, nothing above it. `linuxrc` is
/// for initial RAM disks only.
fn paths(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|path| {
        ["bin/", "sbin/", "usr/bin/", "usr/sbin/"]
            .iter()
            .any(|directory| {
                path.strip_prefix(directory).is_some_and(|name| {
                    !name.is_empty()
                        && !name.starts_with('.')
                        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
                })
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_commands_are_linked() {
        let list = "usr/bin/[\nbin/ls\nlinuxrc\nsbin/../../x\n/bin/x\nsbin/init\nbin/\nbin/..\n";
        let found: Vec<&str> = paths(list).collect();
        assert_eq!(found, ["usr/bin/[", "bin/ls", "sbin/init"]);
    }
}
