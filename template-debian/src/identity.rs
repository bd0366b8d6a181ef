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
        TemplateError::failed(format!(
            "cannot read the file of option authorized-keys: {error}"
        ))
    })?;
    let text = std::str::from_utf8(&keys).unwrap_or_default();
    let is_key = |line: &str| line.contains("ssh-") || line.contains("ecdsa-");
    if text.contains("PRIVATE KEY") || !text.lines().any(is_key) {
        let refused = "option authorized-keys: the file holds no public SSH key";
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

/// Gives root the password whose crypt(5) hash the file holds. A file, because everybody on the
/// machine can read the arguments of a command. No error shows what is in it.
pub fn write_root_password(rootfs: &Rootfs, path: &str) -> Result<(), TemplateError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        TemplateError::failed(format!(
            "cannot read the file of option root-password-hash: {error}"
        ))
    })?;
    let hash = text.trim_end_matches(['\n', '\r']);
    if !is_password_hash(hash) {
        let refused = "option root-password-hash: the file holds no hash that crypt(5) knows";
        return Err(TemplateError::bad_option(refused).with_hint(
            "it is not the password itself; make the file with: openssl passwd -6 > FILE",
        ));
    }
    let shadow = rootfs.read_text("etc/shadow")?;
    let mut found = false;
    let lines: String = shadow
        .lines()
        .map(|line| {
            let rest = line
                .strip_prefix("root:")
                .and_then(|line| line.split_once(':'));
            match rest {
                Some((_, rest)) => {
                    found = true;
                    format!("root:{hash}:{rest}\n")
                }
                None => format!("{line}\n"),
            }
        })
        .collect();
    if !found {
        return Err(TemplateError::failed("the guest's /etc/shadow has no root"));
    }
    let stat = rootfs.stat("etc/shadow")?;
    rootfs.write("etc/shadow", lines, stat.st_mode & 0o7777)?;
    rootfs.set_owner("etc/shadow", stat.st_uid, stat.st_gid)?;
    Ok(())
}

/// A hash of one of the strong methods of crypt(5): yescrypt, gost-yescrypt, scrypt, bcrypt, SHA-2.
fn is_password_hash(text: &str) -> bool {
    let methods = ["$y$", "$gy$", "$7$", "$2b$", "$2y$", "$2a$", "$5$", "$6$"];
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"./$=,".contains(&b);
    methods.iter().any(|method| text.starts_with(method))
        && (40..=384).contains(&text.len())
        && text.bytes().all(plain)
}

/// Gives logins a UTF-8 locale, if they have none: the one that every system has without the
/// package locales.
pub fn write_locale(rootfs: &Rootfs) -> Result<(), TemplateError> {
    if rootfs.open_file(LOGIN_LOCALE).is_err() {
        set_login_locale(rootfs, "C.UTF-8")?;
    }
    Ok(())
}

/// Makes the wanted locale in the guest, and the one of its logins.
pub fn generate_locale(
    rootfs: &Rootfs,
    locale: &str,
    host: &dyn Host,
) -> Result<(), TemplateError> {
    if locale != "C.UTF-8" {
        let source = locale_source(locale).ok_or_else(|| {
            let locale = locale.escape_debug();
            TemplateError::bad_option(format!("option locale: `{locale}` is no UTF-8 locale"))
                .with_hint("names are such as de_DE.UTF-8 or C.UTF-8")
        })?;
        if !rootfs.exists("usr/sbin/locale-gen") {
            let message = format!("option locale: this image cannot make {locale}");
            return Err(TemplateError::bad_option(message)
                .with_hint("add -o include=locales; C.UTF-8 is there without it"));
        }
        if !rootfs.exists(format!("usr/share/i18n/locales/{source}")) {
            let message = format!("option locale: the guest knows no locale {locale}");
            return Err(TemplateError::bad_option(message)
                .with_hint("names are as in /usr/share/i18n/SUPPORTED, such as de_DE.UTF-8"));
        }
        rootfs.append("etc/locale.gen", format!("{locale} UTF-8\n"))?;
        host.run_ok(&Command::new(["locale-gen"]))
            .map_err(|error| error.context("cannot make the locale"))?;
    }
    set_login_locale(rootfs, locale)
}

const LOGIN_LOCALE: &str = "etc/default/locale";

fn set_login_locale(rootfs: &Rootfs, locale: &str) -> Result<(), TemplateError> {
    // Since trixie a link to systemd's file, which nobody makes in the build.
    let linked = rootfs
        .read_link(LOGIN_LOCALE)
        .is_ok_and(|target| target.ends_with("locale.conf"));
    let path = if linked {
        "etc/locale.conf"
    } else {
        LOGIN_LOCALE
    };
    rootfs.write(path, format!("LANG={locale}\n"), 0o644)?;
    Ok(())
}

/// The name of a UTF-8 locale's source: `de_DE` of `de_DE.UTF-8`, `ca_ES@valencia` of
/// `ca_ES.UTF-8@valencia`.
fn locale_source(locale: &str) -> Option<String> {
    let (language, modifier) = locale.split_once(".UTF-8")?;
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let sound =
        word(language) && (modifier.is_empty() || modifier.strip_prefix('@').is_some_and(word));
    sound.then(|| format!("{language}{modifier}"))
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

    #[test]
    fn a_password_s_hash_goes_to_root_alone_and_a_password_is_refused_unseen() {
        let (directory, rootfs) = scene();
        let before = "daemon:*:1:0:99999:7:::\nroot:*:1:0:99999:7:::\n";
        rootfs.write("etc/shadow", before, 0o640).unwrap();
        let path = directory.path().join("hash");
        let path = path.to_str().unwrap();
        let long = format!("$6$salt${}", "x".repeat(86));
        for bad in [
            "hunter2",
            "$6$short",
            "",
            "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
            &format!("{long}:"),
        ] {
            std::fs::write(path, bad).unwrap();
            let error = write_root_password(&rootfs, path).unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
        assert_eq!(rootfs.read_text("etc/shadow").unwrap(), before);
        std::fs::write(path, format!("{long}\n")).unwrap();
        write_root_password(&rootfs, path).unwrap();
        let after = format!("daemon:*:1:0:99999:7:::\nroot:{long}:1:0:99999:7:::\n");
        assert_eq!(rootfs.read_text("etc/shadow").unwrap(), after);
        assert_eq!(rootfs.stat("etc/shadow").unwrap().st_mode & 0o777, 0o640);
    }

    #[test]
    fn the_source_of_a_locale_is_named_without_its_charset() {
        assert_eq!(locale_source("de_DE.UTF-8").as_deref(), Some("de_DE"));
        let valencia = locale_source("ca_ES.UTF-8@valencia");
        assert_eq!(valencia.as_deref(), Some("ca_ES@valencia"));
        for bad in [
            "de_DE",
            "../x.UTF-8",
            ".UTF-8",
            "a b.UTF-8",
            "de.UTF-8x",
            "de.UTF-8@",
        ] {
            assert_eq!(locale_source(bad), None, "{bad}");
        }
    }
}
