//! What makes one container different from all others.

use sampan_core::{Command, Host, Rootfs, TemplateError};

/// Writes the host name, and the names by which the container knows itself.
pub fn write_hostname(rootfs: &Rootfs, name: &str) -> Result<(), TemplateError> {
    if !is_hostname(name) {
        return Err(TemplateError::bad_option(format!(
            "`{}` cannot be a host name: it needs 1 to 64 letters, digits, `-` and `.`",
            name.escape_debug()
        )));
    }
    rootfs.write("etc/hostname", format!("{name}\n"), 0o644)?;
    let short = name.split('.').next().unwrap_or(name);
    let names = if short == name {
        name.to_owned()
    } else {
        format!("{name} {short}")
    };
    // 127.0.1.1 is Debian's custom for a machine without a fixed address (Debian Reference 5.1.1).
    let hosts = format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{names}\n::1\t\tlocalhost ip6-localhost ip6-loopback\n\
         ff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n"
    );
    rootfs.write("etc/hosts", hosts, 0o644)?;
    Ok(())
}

/// Gives the container a machine-id of its own (machine-id(5): a random UUID of version 4).
pub fn write_machine_id(rootfs: &Rootfs) -> Result<(), TemplateError> {
    let mut id = [0_u8; 16];
    getrandom::fill(&mut id).map_err(|error| {
        TemplateError::failed(format!(
            "cannot make a machine-id: no random numbers: {error}"
        ))
    })?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    rootfs.write("etc/machine-id", format!("{digits}\n"), 0o444)?;
    Ok(())
}

/// Makes new host keys where there is an SSH server.
pub fn write_host_keys(rootfs: &Rootfs, host: &dyn Host) -> Result<(), TemplateError> {
    if !rootfs.exists("usr/sbin/sshd") || !rootfs.exists("usr/bin/ssh-keygen") {
        return Ok(());
    }
    if let Ok(names) = rootfs.list("etc/ssh") {
        for name in names {
            if name.to_string_lossy().starts_with("ssh_host_") {
                rootfs.remove(std::path::Path::new("etc/ssh").join(name))?;
            }
        }
    }
    host.run_ok(&Command::new(["ssh-keygen", "-A"]))
        .map(|_| ())
        .map_err(|error| error.context("cannot make SSH host keys"))
}

/// Lets these public keys log in as root.
pub fn write_authorized_keys(rootfs: &Rootfs, path: &str) -> Result<(), TemplateError> {
    let keys = std::fs::read(path).map_err(|error| {
        TemplateError::failed(format!("cannot read the file of option ssh-key: {error}"))
    })?;
    let text = std::str::from_utf8(&keys).unwrap_or_default();
    let is_key = |line: &str| line.contains("ssh-") || line.contains("ecdsa-");
    if text.contains("PRIVATE KEY") || !text.lines().any(is_key) {
        let refused = "option ssh-key: the file holds no public SSH key";
        return Err(
            TemplateError::bad_option(refused).with_hint("give the file whose name ends in .pub")
        );
    }
    rootfs.create_dir("root/.ssh", 0o700)?;
    rootfs.set_mode("root/.ssh", 0o700)?;
    rootfs.write("root/.ssh/authorized_keys", keys, 0o600)?;
    Ok(())
}

/// Sets the time zone to one that the guest knows.
pub fn write_timezone(rootfs: &Rootfs, zone: &str) -> Result<(), TemplateError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+-/".contains(&b);
    let known = !zone.is_empty()
        && !zone.starts_with('/')
        && zone.bytes().all(plain)
        && rootfs
            .open_file(format!("usr/share/zoneinfo/{zone}"))
            .is_ok();
    if !known {
        let zone = zone.escape_debug();
        let message = format!("option timezone: the guest has no time zone `{zone}`");
        return Err(TemplateError::bad_option(message)
            .with_hint("names are as in /usr/share/zoneinfo, such as Europe/Paris or UTC"));
    }
    rootfs.symlink(format!("/usr/share/zoneinfo/{zone}"), "etc/localtime")?;
    rootfs.write("etc/timezone", format!("{zone}\n"), 0o644)?;
    Ok(())
}

/// Gives logins a UTF-8 locale, if they have none: the one that every system has without the
/// package locales.
pub fn write_locale(rootfs: &Rootfs) -> Result<(), TemplateError> {
    let login = "etc/default/locale";
    if rootfs.open_file(login).is_err() {
        // Since trixie a link to systemd's file, which nobody makes in the build.
        let linked = rootfs
            .read_link(login)
            .is_ok_and(|target| target.ends_with("locale.conf"));
        let path = if linked { "etc/locale.conf" } else { login };
        rootfs.write(path, "LANG=C.UTF-8\n", 0o644)?;
    }
    Ok(())
}

/// A name that sethostname(2) takes and that is one in the sense of RFC 1123.
fn is_hostname(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> (tempfile::TempDir, Rootfs) {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        (directory, rootfs)
    }

    #[test]
    fn two_containers_have_different_machine_ids() {
        let (_directory, rootfs) = scene();
        write_machine_id(&rootfs).unwrap();
        let first = rootfs.read_text("etc/machine-id").unwrap();
        write_machine_id(&rootfs).unwrap();
        assert_ne!(rootfs.read_text("etc/machine-id").unwrap(), first);
        assert_eq!(first.len(), 33);
        assert_eq!(&first[12..13], "4");
    }

    #[test]
    fn a_host_name_stands_in_both_files() {
        let (_directory, rootfs) = scene();
        write_hostname(&rootfs, "web.example.org").unwrap();
        assert_eq!(
            rootfs.read_text("etc/hostname").unwrap(),
            "web.example.org\n"
        );
        let hosts = rootfs.read_text("etc/hosts").unwrap();
        assert!(
            hosts.contains("127.0.1.1\tweb.example.org web\n"),
            "{hosts}"
        );
        for bad in ["", "-a", "a b", "a\nb", "a..b", "é"] {
            assert!(write_hostname(&rootfs, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_time_zone_must_be_one_of_the_guest_s() {
        let (_directory, rootfs) = scene();
        rootfs
            .write("usr/share/zoneinfo/Europe/Paris", "TZif", 0o644)
            .unwrap();
        write_timezone(&rootfs, "Europe/Paris").unwrap();
        assert_eq!(
            rootfs.read_link("etc/localtime").unwrap().to_str(),
            Some("/usr/share/zoneinfo/Europe/Paris")
        );
        for bad in ["Mars", "../../etc/passwd", "", "Europe"] {
            assert!(write_timezone(&rootfs, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_public_keys_are_taken() {
        let (directory, rootfs) = scene();
        let path = directory.path().join("key");
        std::fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        assert!(write_authorized_keys(&rootfs, path.to_str().unwrap()).is_err());
        std::fs::write(&path, "ssh-ed25519 AAAA me\n").unwrap();
        write_authorized_keys(&rootfs, path.to_str().unwrap()).unwrap();
        let stat = rootfs.stat("root/.ssh/authorized_keys").unwrap();
        assert_eq!(stat.st_mode & 0o777, 0o600);
    }
}
