//! Getting the one program out of Debian's busybox-static.

use std::{io::Read, path::Path};

use sampan_core::{Host, PackageRecord, TemplateError, Unit};
use sampan_debian_archive::{
    bootstrap::{index, record},
    deb::Deb,
    dpkg_database::check_identity,
    source::{Archive, fetch},
};

const PACKAGE: &str = "busybox-static";

/// No busybox is larger: 64 MiB (Debian's has 2).
const LIMIT: u64 = 64 << 20;

/// The verified program and the package it is from.
pub fn busybox(
    host: &dyn Host,
    archive: &Archive,
) -> Result<(Vec<u8>, PackageRecord), TemplateError> {
    let texts = archive.packages(host)?;
    let index = index(&texts)?;
    let base = archive.base();
    let package = *index.highest(PACKAGE).ok_or_else(|| {
        TemplateError::failed(format!(
            "cannot get busybox: suite {} on {} has no package {PACKAGE} for {}",
            base.name(),
            base.wanted.mirrors.join(", "),
            base.wanted.arch
        ))
        .with_hint("a Debian mirror has it in component main")
    })?;
    let paths = fetch(host, &[archive.download(&package)])?;
    let path = paths
        .first()
        .ok_or_else(|| TemplateError::failed("the host handed on no file"))?;
    host.progress("unpacking", 0, 1, Unit::Items);
    let bytes = std::fs::read(path).map_err(|error| {
        TemplateError::failed(format!("cannot read {}: {error}", path.display()))
    })?;
    let deb = Deb::parse(bytes, PACKAGE)?;
    check_identity(&package, &deb.control()?)?;
    let binary = program(&deb)?;
    host.progress("unpacking", 1, 1, Unit::Items);
    Ok((binary, record(&package)))
}

/// The program: in /usr/bin since trixie, in /bin before.
fn program(deb: &Deb) -> Result<Vec<u8>, TemplateError> {
    let mut archive = deb.data()?;
    let entries = archive.entries().map_err(|error| deb.error(&error))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| deb.error(&error))?;
        let path = String::from_utf8_lossy(&entry.name).into_owned();
        let path = Path::new(&path);
        let path = path.strip_prefix(".").unwrap_or(path);
        let wanted = [Path::new("bin/busybox"), Path::new("usr/bin/busybox")].contains(&path);
        if !wanted || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > LIMIT {
            return Err(TemplateError::failed(format!(
                "the busybox in {PACKAGE} has {} bytes, more than it may have",
                entry.size()
            )));
        }
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|error| deb.error(&error))?;
        return Ok(bytes);
    }
    Err(TemplateError::failed(format!(
        "the package {PACKAGE} holds neither /bin/busybox nor /usr/bin/busybox"
    )))
}
