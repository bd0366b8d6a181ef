//! apt inside the guest: where its packages came from, and whose signature it believes.

use std::fmt;

use sampan_core::{Host, Rootfs, TemplateError};
use sampan_debian_archive::source::{Archive, Repositories};

/// Where keys that are not Debian's own go (sources.list(5), Signed-By).
const KEYRING: &str = "etc/apt/keyrings/sampan";

/// Writes the suites that the image was built from as the guest's sources, in deb822 form.
pub fn write_sources(
    rootfs: &Rootfs,
    archive: &Archive,
    keyring: Option<&str>,
    host: &dyn Host,
) -> Result<(), TemplateError> {
    let stanzas = stanzas(archive);
    if stanzas.is_empty() {
        host.info(
            "the guest's apt has no source: the image was made from a directory of this machine",
        );
        return Ok(());
    }
    let signed_by = match keyring {
        Some(path) => Some(carry_keyring(rootfs, path)?),
        None => debian_keyring(rootfs),
    };
    let mut text = String::new();
    for (index, stanza) in stanzas.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        text.push_str(&stanza.to_string());
        if let Some(path) = &signed_by {
            text.push_str(&format!("Signed-By: /{path}\n"));
        }
    }
    rootfs.write("etc/apt/sources.list.d/debian.sources", text, 0o644)?;
    // debootstrap leaves a sources.list; two sources of one suite would make apt complain.
    rootfs.remove("etc/apt/sources.list")?;
    Ok(())
}

/// Writes the repositories that a person added, each with its keys; those on a disk of this machine
/// are of no use to the guest.
pub fn write_repositories(
    rootfs: &Rootfs,
    repositories: &Repositories,
) -> Result<(), TemplateError> {
    let mut text = String::new();
    for (index, source) in repositories.sources.iter().enumerate() {
        let uris = source.uris.iter().map(String::as_str);
        let mirrors: Vec<&str> = uris.filter(|uri| !uri.starts_with("file:")).collect();
        if mirrors.is_empty() {
            continue;
        }
        let key = format!("{KEYRING}-repo-{}", index + 1);
        let key = write_keyring(rootfs, &key, repositories.key_of(source))?;
        let stanza = Stanza {
            mirrors,
            suites: source.suites.iter().map(String::as_str).collect(),
            components: source.components.join(" "),
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&stanza.to_string());
        if !source.architectures.is_empty() {
            let architectures = source.architectures.join(" ");
            text.push_str(&format!("Architectures: {architectures}\n"));
        }
        text.push_str(&format!("Signed-By: /{key}\n"));
    }
    if !text.is_empty() {
        rootfs.write("etc/apt/sources.list.d/sampan-repo.sources", text, 0o644)?;
    }
    Ok(())
}

/// One source: suites that lie on the same mirrors.
#[derive(Debug)]
struct Stanza<'a> {
    mirrors: Vec<&'a str>,
    suites: Vec<&'a str>,
    components: String,
}

impl fmt::Display for Stanza<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Types: deb\nURIs: {}", self.mirrors.join(" "))?;
        writeln!(f, "Suites: {}", self.suites.join(" "))?;
        writeln!(f, "Components: {}", self.components)
    }
}

/// What the guest can reach of the archive: not what lies on a disk of this machine.
fn stanzas(archive: &Archive) -> Vec<Stanza<'_>> {
    let mut stanzas: Vec<Stanza<'_>> = Vec::new();
    for suite in archive.own_suites() {
        let wanted = suite.wanted.mirrors.iter().map(String::as_str);
        let mirrors: Vec<&str> = wanted.filter(|url| !url.starts_with("file:")).collect();
        let components = suite.wanted.components.join(" ");
        if mirrors.is_empty() {
            continue;
        }
        let same = stanzas
            .iter_mut()
            .find(|stanza| stanza.mirrors == mirrors && stanza.components == components);
        match same {
            Some(stanza) => stanza.suites.push(suite.name()),
            None => stanzas.push(Stanza {
                mirrors,
                suites: vec![suite.name()],
                components,
            }),
        }
    }
    stanzas
}

fn carry_keyring(rootfs: &Rootfs, path: &str) -> Result<String, TemplateError> {
    let bytes = std::fs::read(path).map_err(|error| {
        TemplateError::failed(format!("cannot read the keyring {path}: {error}"))
    })?;
    write_keyring(rootfs, KEYRING, bytes)
}

fn write_keyring(rootfs: &Rootfs, path: &str, bytes: Vec<u8>) -> Result<String, TemplateError> {
    // apt tells the two forms apart by the name's end.
    let armored = bytes.starts_with(b"-----BEGIN");
    let name = format!("{path}.{}", if armored { "asc" } else { "gpg" });
    rootfs.write(&name, bytes, 0o644)?;
    Ok(name)
}

/// The keyring of the guest's own package, whose name has changed over time.
fn debian_keyring(rootfs: &Rootfs) -> Option<String> {
    ["pgp", "gpg"]
        .map(|end| format!("usr/share/keyrings/debian-archive-keyring.{end}"))
        .into_iter()
        .find(|path| rootfs.exists(path))
}
