//! apt inside the guest: where its packages came from, and whose signature it believes.

use sampan_core::{Host, Rootfs, TemplateError};
use sampan_debian_archive::source::Suite;

/// Where keys that are not Debian's own go (sources.list(5), Signed-By).
const KEYRING: &str = "etc/apt/keyrings/sampan";

/// Writes the archive that the image was built from as the guest's source, in deb822 form.
pub fn write_sources(
    rootfs: &Rootfs,
    suite: &Suite,
    keyring: Option<&str>,
    host: &dyn Host,
) -> Result<(), TemplateError> {
    let mirror = &suite.wanted.mirror;
    if mirror.starts_with("file:") {
        host.info(
            "the guest's apt has no source: the image was made from a directory of this machine",
        );
        return Ok(());
    }
    let signed_by = match keyring {
        Some(path) => Some(carry_keyring(rootfs, path)?),
        None => debian_keyring(rootfs),
    };
    let mut text = format!(
        "Types: deb\nURIs: {mirror}\nSuites: {}\nComponents: {}\n",
        suite.name(),
        suite.wanted.components.join(" ")
    );
    if let Some(path) = signed_by {
        text.push_str(&format!("Signed-By: /{path}\n"));
    }
    rootfs.write("etc/apt/sources.list.d/debian.sources", text, 0o644)?;
    // debootstrap leaves a sources.list; two sources of one suite would make apt complain.
    rootfs.remove("etc/apt/sources.list")?;
    Ok(())
}

fn carry_keyring(rootfs: &Rootfs, path: &str) -> Result<String, TemplateError> {
    let bytes = std::fs::read(path).map_err(|error| {
        TemplateError::failed(format!("cannot read the keyring {path}: {error}"))
    })?;
    // apt tells the two forms apart by the name's end.
    let armored = bytes.starts_with(b"-----BEGIN");
    let name = format!("{KEYRING}.{}", if armored { "asc" } else { "gpg" });
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
