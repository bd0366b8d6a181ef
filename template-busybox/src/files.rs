//! The files around busybox: users, and what init does.

use sampan_core::{Rootfs, TemplateError};

/// busybox init's table. Fields: terminal, (run levels, ignored), action, command.
///
/// There is no shutdown action: the kernel takes the container's mounts away with its last
/// process, and a remount of `/` as read-only could reach the machine's own file system.
const INITTAB: &str = "\
# What busybox init does; see /bin/busybox init --help.
::sysinit:/etc/init.d/rcS
::respawn:/etc/init.d/console
::ctrlaltdel:/sbin/reboot
";

const RC_S: &str = "\
#!/bin/sh
# Run once at boot. Scripts in /etc/init.d whose names begin with S and a digit follow in order.
hostname -F /etc/hostname 2>/dev/null
ip link set lo up 2>/dev/null
for script in /etc/init.d/S[0-9]*; do
	[ -x \"$script\" ] && \"$script\" start
done
";

/// Root's password is locked; who can reach the console could as well enter from outside.
const CONSOLE: &str = "\
#!/bin/sh
# A login on the console. Where there is no terminal nobody can log in: wait, rather than be
# started again every second.
if [ -t 0 ]; then
	# Opened anew it becomes the terminal of this session, so that job control works.
	if (: <>/dev/console) 2>/dev/null; then
		exec 0<>/dev/console 1>&0 2>&0
	fi
	exec /bin/login -f root
fi
exec /bin/sleep 2147483647
";

const PROFILE: &str = "\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PAGER=less EDITOR=vi
PS1='\\u@\\h:\\w\\$ '
";

/// Directories with their modes, parents first.
const DIRECTORIES: &[(&str, u32)] = &[
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/init.d", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sbin", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/sbin", 0o755),
    ("var", 0o755),
    ("var/log", 0o755),
    ("var/spool", 0o755),
    ("var/spool/cron", 0o755),
    ("var/spool/cron/crontabs", 0o700),
    ("var/tmp", 0o1777),
];

/// Writes everything but the links; `epoch` stands for the present.
pub fn write(
    rootfs: &Rootfs,
    busybox: &[u8],
    version: &str,
    epoch: i64,
) -> Result<(), TemplateError> {
    for (path, mode) in DIRECTORIES {
        rootfs.create_dir(path, *mode)?;
    }
    rootfs.symlink("/run", "var/run")?;
    rootfs.write("bin/busybox", busybox, 0o755)?;
    let day = epoch.div_euclid(86_400);
    let os_release = format!(
        "NAME=BusyBox\nID=busybox\nVERSION_ID={version}\nPRETTY_NAME=\"BusyBox {version}\"\n"
    );
    let shadow = format!("root:*:{day}:0:99999:7:::\nnobody:*:{day}:0:99999:7:::\n");
    for (path, text, mode) in [
        ("etc/inittab", INITTAB, 0o644),
        ("etc/init.d/rcS", RC_S, 0o755),
        ("etc/init.d/console", CONSOLE, 0o755),
        ("etc/profile", PROFILE, 0o644),
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
            0o644,
        ),
        (
            "etc/group",
            "root:x:0:\ntty:x:5:\nshadow:x:42:\nutmp:x:43:\nnogroup:x:65534:\n",
            0o644,
        ),
        ("etc/shadow", &shadow, 0o600),
        ("etc/shells", "/bin/sh\n/bin/ash\n", 0o644),
        ("etc/os-release", &os_release, 0o644),
    ] {
        rootfs.write(path, text, mode)?;
    }
    Ok(())
}

/// Writes the host name, and the names by which the container knows itself.
pub fn write_hostname(rootfs: &Rootfs, name: &str) -> Result<(), TemplateError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if !(1..=64).contains(&name.len()) || name.starts_with(['-', '.']) || !name.bytes().all(plain) {
        return Err(TemplateError::bad_option(format!(
            "`{}` cannot be a host name: it needs 1 to 64 letters, digits, `-` and `.`",
            name.escape_debug()
        )));
    }
    rootfs.write("etc/hostname", format!("{name}\n"), 0o644)?;
    let hosts = format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\t\tlocalhost ip6-localhost ip6-loopback\n"
    );
    rootfs.write("etc/hosts", hosts, 0o644)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_locked_and_dated_by_the_archive() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        write(&rootfs, b"x", "1.37", 10 * 86_400).unwrap();
        assert!(
            rootfs
                .read_text("etc/shadow")
                .unwrap()
                .starts_with("root:*:10:")
        );
        assert_eq!(rootfs.stat("tmp").unwrap().st_mode & 0o7777, 0o1777);
        write_hostname(&rootfs, "web").unwrap();
        assert_eq!(rootfs.read_text("etc/hostname").unwrap(), "web\n");
        assert!(write_hostname(&rootfs, "a b").is_err());
    }
}
