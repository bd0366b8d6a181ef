//! The options that every template has which takes its packages from a Debian archive.

use std::path::Path;

use sampan_core::{OptionKind, OptionSpec, Options, Request, TemplateError};

use crate::{Error, Result, openpgp::Keyring, source::Wanted};

/// The mirror where neither the person nor the machine names one.
const FALLBACK_MIRROR: &str = "http://ftp.debian.org/debian";

/// `suite`.
pub fn suite() -> OptionSpec {
    OptionSpec::new(
        "suite",
        OptionKind::Text,
        "Suite or codename, whatever the mirror has: stable, trixie, sid …",
    )
    .default("stable")
}

/// `mirror`, `keyring` and what weakens the trust in them.
pub fn archive() -> [OptionSpec; 3] {
    [
        OptionSpec::new(
            "mirror",
            OptionKind::Mirror,
            "Address of the archive, with dists/ and pool/ below it",
        )
        .mirror_of("debian")
        .default(FALLBACK_MIRROR),
        OptionSpec::new(
            "keyring",
            OptionKind::File,
            "OpenPGP keys that may sign the archive, binary or armored, instead of Debian's own",
        ),
        OptionSpec::new(
            "allow-expired-release",
            OptionKind::Boolean,
            "Accept a Release whose Valid-Until has passed, so that an attacker could hide newer \
             packages; for mirrors that are behind",
        )
        .default("false"),
    ]
}

/// `components`.
pub fn components() -> OptionSpec {
    OptionSpec::new(
        "components",
        OptionKind::List,
        "Parts of the archive to take packages from",
    )
    .default("main")
}

/// What a request asks of the archive. Templates without `components` use main.
pub fn wanted(request: &Request) -> std::result::Result<Wanted, TemplateError> {
    let options = &request.options;
    let mut components: Vec<String> = Vec::new();
    for name in options.list("components") {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.starts_with('.') || !name.bytes().all(plain) {
            let message = format!("`{name}` cannot be the name of a component");
            return Err(TemplateError::bad_option(message));
        }
        if !components.iter().any(|known| known == name) {
            components.push(name.to_owned());
        }
    }
    if components.is_empty() {
        components.push("main".to_owned());
    }
    Ok(Wanted {
        mirror: options.require("mirror")?.trim_end_matches('/').to_owned(),
        suite: options.require("suite")?.to_owned(),
        arch: request.arch.clone(),
        components,
        allow_expired_release: options.is_on("allow-expired-release"),
    })
}

/// The person's keyring, or Debian's.
pub fn keyring(options: &Options) -> Result<Keyring> {
    match options.get("keyring") {
        None => Keyring::debian(),
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|source| Error::Read {
                path: path.to_owned(),
                source,
            })?;
            // The path is the worker's own; people know the option.
            let file = Path::new(path).file_name().unwrap_or_default();
            let name = match file.to_string_lossy() {
                name if name == "keyring" => "given as -o keyring=FILE".to_owned(),
                name => name.into_owned(),
            };
            Keyring::parse(&bytes, &name)
        }
    }
}
