//! What a Debian guest needs so that it boots cleanly in a container.

use sampan_core::{Rootfs, TemplateError};

/// Units that cannot work in a user namespace, but that systemd tries when it has CAP_SYS_RAWIO
/// (LXC's own defaults for such containers leave it); then it calls the system `degraded`. For
/// everything else systemd of bookworm and trixie has conditions.
const MASKED: &[&str] = &["sys-kernel-debug.mount"];

/// What init is in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// systemd is /sbin/init.
    Systemd,
    /// Something else is.
    Other,
    /// Nothing is: minbase without more.
    None,
}

/// Looks at /sbin/init.
pub fn init(rootfs: &Rootfs) -> Init {
    // A link to systemd in systemd-sysv, a program in sysvinit-core.
    match rootfs.read_link("usr/sbin/init") {
        Ok(target) if target.ends_with("systemd") => Init::Systemd,
        _ if rootfs.exists("usr/sbin/init") || rootfs.exists("sbin/init") => Init::Other,
        _ => Init::None,
    }
}

/// Prepares systemd for life in a container.
pub fn prepare_systemd(rootfs: &Rootfs) -> Result<(), TemplateError> {
    for unit in MASKED {
        rootfs.symlink("/dev/null", format!("etc/systemd/system/{unit}"))?;
    }
    // Root's password is locked, so that a login prompt would be of no use; and who can reach the
    // console could as well enter the container from outside.
    rootfs.write(
        "etc/systemd/system/console-getty.service.d/sampan.conf",
        "[Service]\n\
         ExecStart=\n\
         ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud - 115200,38400,9600 $TERM\n",
        0o644,
    )?;
    Ok(())
}

/// Prepares sysvinit, if that is it: as inittab(5) comes, it halts at no signal (Debian's line for a
/// power failure calls a script that no package has) and waits for terminals that are not there.
pub fn prepare_sysvinit(rootfs: &Rootfs) -> Result<(), TemplateError> {
    const TABLE: &str = "etc/inittab";
    if !rootfs.exists(TABLE) {
        return Ok(());
    }
    rootfs.write(TABLE, inittab(&rootfs.read_text(TABLE)?), 0o644)?;
    Ok(())
}

fn inittab(table: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.splitn(4, ':').collect();
        match fields[..] {
            ["pf", levels, action, _] => {
                lines.push(format!("pf:{levels}:{action}:/sbin/init 0"));
            }
            [id, _, "respawn", process] if process.contains("getty") && !id.starts_with('#') => {}
            _ => lines.push(line.to_owned()),
        }
    }
    // As for systemd's guests: who can reach the console could enter from outside as well.
    lines.push(
        "co:2345:respawn:/sbin/agetty --autologin root --noclear --keep-baud 115200,38400,9600 console linux"
            .to_owned(),
    );
    lines.join("\n") + "\n"
}

/// The `lxc.*` keys that an init needs.
pub fn config(init: Init) -> Vec<(String, String)> {
    match init {
        // systemd(1): halt on SIGRTMIN+3, and SIGINT (the runtime's default) reboots.
        Init::Systemd => vec![("lxc.signal.halt".to_owned(), "SIGRTMIN+3".to_owned())],
        Init::Other | Init::None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysvinit_halts_when_power_fails_and_has_one_terminal() {
        let table = "id:2:initdefault:\n#T0:23:respawn:/sbin/getty -L ttyS0\npf::powerwait:/etc/init.d/powerfail start\n1:2345:respawn:/sbin/getty --noclear 38400 tty1\nz6:6:respawn:/sbin/sulogin --force\n";
        let changed = inittab(table);
        assert!(changed.starts_with(
            "id:2:initdefault:\n#T0:23:respawn:/sbin/getty -L ttyS0\npf::powerwait:/sbin/init 0\nz6:6:respawn:/sbin/sulogin --force\nco:"
        ), "{changed}");
        assert_eq!(changed.lines().count(), 5);
    }

    #[test]
    fn init_is_recognised() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        assert_eq!(init(&rootfs), Init::None);
        rootfs
            .symlink("/lib/systemd/systemd", "usr/sbin/init")
            .unwrap();
        assert_eq!(init(&rootfs), Init::Systemd);
        rootfs.write("usr/sbin/init", "", 0o755).unwrap();
        assert_eq!(init(&rootfs), Init::Other);
    }
}
