//! dpkg's database, written as dpkg itself would have written it.
//!
//! Layout: /var/lib/dpkg/info/PACKAGE.MEMBER, `status`, and `triggers/`. The rules were found by
//! comparing with debootstrap's trees file for file; dpkg's doc/triggers.txt and
//! lib/dpkg/db-fsys-files.c say the rest.

use std::{collections::BTreeMap, fmt::Write as _};

use sampan_core::rootfs::{Existing, Kind, Metadata, Placer, Rootfs};

use crate::{Error, Result, deb::ControlMember, deb822, packages::Package};

/// Everything dpkg remembers of one unpacked package.
#[derive(Debug, Clone)]
pub struct Record<'t> {
    /// What the archive says of it.
    pub package: Package<'t>,
    /// Whether Priority and Section come from the archive rather than from the .deb: debootstrap
    /// does so for required packages, whose entries it writes before dpkg knows them.
    pub archive_fields: bool,
    /// The files of its control archive.
    pub control: Vec<ControlMember>,
    /// Its paths in the order of the archive: `/.`, `/bin`, `/bin/sh` …
    pub list: Vec<String>,
    /// MD5 of each conffile by path, as shipped.
    pub conffiles: BTreeMap<String, String>,
}

impl Record<'_> {
    /// The stem of its files in info/: with the architecture where several may be installed.
    pub fn stem(&self) -> String {
        let Package {
            name, architecture, ..
        } = self.package;
        match self.multi_arch_same() {
            true => format!("{name}:{architecture}"),
            false => name.to_owned(),
        }
    }

    /// A file of the control archive.
    pub fn member(&self, name: &str) -> Option<&ControlMember> {
        self.control.iter().find(|member| member.name == name)
    }

    fn multi_arch_same(&self) -> bool {
        self.package.multi_arch == "same"
    }

    fn text(&self, name: &str) -> String {
        let bytes = self.member(name).map(|member| &member.bytes[..]);
        String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
    }
}

/// Refuses a .deb that is not the package that the archive's list said it is.
pub fn check_identity(package: &Package<'_>, control: &[ControlMember]) -> Result<()> {
    let what = format!("the .deb of {}", package.name);
    let member = control.iter().find(|member| member.name == "control");
    let text = member.and_then(|member| std::str::from_utf8(&member.bytes).ok());
    let text = text.ok_or_else(|| Error::malformed(&what, "it has no control file of UTF-8"))?;
    let stanza = deb822::single(text, &what)?;
    for (field, expected) in [
        ("Package", package.name),
        ("Version", package.version),
        ("Architecture", package.architecture),
    ] {
        let found = stanza.get(field).unwrap_or_default();
        if found != expected {
            let found = found.escape_debug();
            return Err(Error::malformed(
                &what,
                format!("its {field} is `{found}` but the archive's list says {expected}"),
            ));
        }
    }
    Ok(())
}

/// Conffiles that a control archive declares, and those to be removed on upgrade.
pub fn declared_conffiles(control: &[ControlMember]) -> Vec<(String, bool)> {
    let member = control.iter().find(|member| member.name == "conffiles");
    let text = String::from_utf8_lossy(member.map_or(&[][..], |member| &member.bytes)).into_owned();
    text.lines()
        .map(
            |line| match line.trim().strip_prefix("remove-on-upgrade ") {
                Some(path) => (path.trim().to_owned(), true),
                None => (line.trim().to_owned(), false),
            },
        )
        .filter(|(path, _)| path.starts_with('/'))
        .collect()
}

/// Adds unpacked packages to the database.
pub fn add(rootfs: &Rootfs, records: &[Record<'_>]) -> Result<()> {
    let doing = "cannot write dpkg's database";
    for directory in ["alternatives", "info", "parts", "triggers", "updates"] {
        let path = format!("var/lib/dpkg/{directory}");
        rootfs
            .create_dir(&path, 0o755)
            .map_err(Error::rootfs(doing))?;
    }
    let mut placer = Placer::new(rootfs, Existing::Replace);
    let mut status = String::new();
    let mut file_triggers = String::new();
    let mut named_triggers: BTreeMap<String, String> = BTreeMap::new();
    for record in records {
        let stem = record.stem();
        for member in record
            .control
            .iter()
            .filter(|member| member.name != "control")
        {
            let path = format!("var/lib/dpkg/info/{stem}.{}", member.name);
            let metadata = Metadata {
                mode: member.mode,
                mtime: member.mtime,
                ..Metadata::default()
            };
            let kind = Kind::File {
                size: member.bytes.len() as u64,
                data: &mut &member.bytes[..],
            };
            placer
                .place(path.as_ref(), kind, &metadata)
                .map_err(Error::rootfs(doing))?;
        }
        let mut list = record.list.join("\n");
        list.push('\n');
        rootfs
            .write(format!("var/lib/dpkg/info/{stem}.list"), list, 0o644)
            .map_err(Error::rootfs(doing))?;
        status_entry(record, &mut status)?;
        triggers(record, &stem, &mut file_triggers, &mut named_triggers);
    }
    rootfs
        .write("var/lib/dpkg/info/format", "1\n", 0o644)
        .map_err(Error::rootfs(doing))?;
    append(rootfs, "var/lib/dpkg/status", &status)?;
    append(rootfs, "var/lib/dpkg/triggers/File", &file_triggers)?;
    append(rootfs, "var/lib/dpkg/triggers/Unincorp", "")?;
    for (name, lines) in named_triggers {
        append(rootfs, &format!("var/lib/dpkg/triggers/{name}"), &lines)?;
    }
    Ok(())
}

fn append(rootfs: &Rootfs, path: &str, text: &str) -> Result<()> {
    let written = if rootfs.exists(path) {
        rootfs.append(path, text)
    } else if text.is_empty() && path.ends_with("/File") {
        Ok(())
    } else {
        rootfs.write(path, text, 0o644)
    };
    written.map_err(Error::rootfs("cannot write dpkg's database"))
}

fn status_entry(record: &Record<'_>, status: &mut String) -> Result<()> {
    let what = format!("the control file of {}", record.package.name);
    let control = record.text("control");
    let stanza = deb822::single(&control, &what)?;
    for (position, (field, value)) in stanza.iter().enumerate() {
        if position == 1 {
            status.push_str("Status: install ok unpacked\n");
        }
        let value = match &*field.to_ascii_lowercase() {
            "status" | "conffiles" => continue,
            "priority" if record.archive_fields => record.package.priority,
            "section" if record.archive_fields && !record.package.section.is_empty() => {
                record.package.section
            }
            _ => value,
        };
        let space = if value.starts_with('\n') { "" } else { " " };
        // Writing into a String cannot fail.
        let _ = writeln!(status, "{field}:{space}{value}");
    }
    let conffiles = declared_conffiles(&record.control);
    if !conffiles.is_empty() {
        status.push_str("Conffiles:\n");
        for (path, remove) in conffiles {
            let hash = record
                .conffiles
                .get(&path)
                .map_or("newconffile", String::as_str);
            let _ = match remove {
                true => writeln!(status, " {path} newconffile remove-on-upgrade"),
                false => writeln!(status, " {path} {hash}"),
            };
        }
    }
    status.push('\n');
    Ok(())
}

/// The interests of a package: in paths (all in one file) and in names (a file for each).
fn triggers(
    record: &Record<'_>,
    stem: &str,
    files: &mut String,
    named: &mut BTreeMap<String, String>,
) {
    for line in record.text("triggers").lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        let option = match kind {
            "interest" | "interest-await" => "",
            "interest-noawait" => "/noawait",
            _ => continue,
        };
        if name.starts_with('/') {
            let _ = writeln!(files, "{name} {stem}{option}");
        } else if is_trigger_name(name) {
            let lines = named.entry(name.to_owned()).or_default();
            let _ = writeln!(lines, "{stem}{option}");
        }
    }
}

/// A trigger's name becomes a file's name.
fn is_trigger_name(name: &str) -> bool {
    !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Index;

    fn member(name: &str, text: &str) -> ControlMember {
        ControlMember {
            name: name.to_owned(),
            bytes: text.as_bytes().to_vec(),
            mode: 0o644,
            mtime: 1,
        }
    }

    #[test]
    fn the_database_is_written_as_dpkg_writes_it() {
        let stanza = format!(
            "Package: libx\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\nPriority: required\n\
             Section: libs\nFilename: x.deb\nSize: 1\nSHA256: {}\n",
            "0".repeat(64)
        );
        let mut index = Index::default();
        index.add(&stanza, "Packages").unwrap();
        let record = Record {
            package: *index.last("libx").unwrap(),
            archive_fields: true,
            control: vec![
                member(
                    "control",
                    "Package: libx\nVersion: 1\nArchitecture: amd64\nPriority: optional\nDescription: x\n y\n",
                ),
                member("conffiles", "/etc/x\nremove-on-upgrade /etc/old\n"),
                member(
                    "triggers",
                    "interest-noawait /usr/lib/x\ninterest ldconfig\nactivate foo\n",
                ),
            ],
            list: vec!["/.".to_owned(), "/etc".to_owned(), "/etc/x".to_owned()],
            conffiles: [("/etc/x".to_owned(), "abc".to_owned())].into(),
        };
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        add(&rootfs, &[record]).unwrap();
        let read = |path: &str| rootfs.read_text(format!("var/lib/dpkg/{path}")).unwrap();
        assert_eq!(
            read("status"),
            "Package: libx\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\n\
             Priority: required\nDescription: x\n y\nConffiles:\n /etc/x abc\n \
             /etc/old newconffile remove-on-upgrade\n\n"
        );
        assert_eq!(read("info/libx:amd64.list"), "/.\n/etc\n/etc/x\n");
        assert_eq!(read("triggers/File"), "/usr/lib/x libx:amd64/noawait\n");
        assert_eq!(read("triggers/ldconfig"), "libx:amd64\n");
        assert_eq!(read("info/format"), "1\n");
    }
}
