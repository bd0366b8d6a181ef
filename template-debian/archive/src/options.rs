//! The options that every template has which takes its packages from a Debian archive.

use std::path::Path;

use sampan_core::{Host, OptionKind, OptionSpec, Options, Request, TemplateError};

use crate::{
    Error, Result,
    openpgp::Keyring,
    source::{Archive, Beside, Companions, Wanted},
};

/// The mirror where neither the person nor the machine names one.
const FALLBACK_MIRROR: &str = "http://ftp.debian.org/debian";

/// The same for security updates.
const FALLBACK_SECURITY_MIRROR: &str = "http://ftp.debian.org/debian-security";

/// `suite`.
pub fn suite() -> OptionSpec {
    OptionSpec::new(
        "suite",
        OptionKind::Text,
        "Suite or codename, whatever the mirror has: stable, trixie, sid …",
    )
    .default("stable")
}

/// The suites beside the base one, mirrors, `keyring`, and what weakens the trust in them.
pub fn archive() -> Vec<OptionSpec> {
    let beside = |name: &str, help: &str| {
        OptionSpec::new(name, OptionKind::Text, help)
            .default("auto")
            .allowed(["auto", "true", "false"])
    };
    vec![
        OptionSpec::new(
            "mirror",
            OptionKind::Mirror,
            "Address of the archive, with dists/ and pool/ below it; several, separated by commas, \
             serve in turn when one does not answer",
        )
        .mirror_of("debian")
        .default(FALLBACK_MIRROR),
        beside(
            "updates",
            "Take packages from CODENAME-updates too: auto does so for released suites",
        ),
        beside(
            "security",
            "Take packages from CODENAME-security too: auto does so for released suites",
        ),
        OptionSpec::new(
            "security-mirror",
            OptionKind::Mirror,
            "Address of the archive of security updates; beside a mirror that you name as \
             …/debian it is …/debian-security",
        )
        .mirror_of("debian-security")
        .default(FALLBACK_SECURITY_MIRROR),
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

/// Opens all suites that a request asks for.
pub fn open(request: &Request, host: &dyn Host) -> std::result::Result<Archive, TemplateError> {
    let options = &request.options;
    let keyring = keyring(options)?;
    let wanted = wanted(request)?;
    Ok(Archive::open(
        host,
        wanted,
        &companions(options)?,
        &keyring,
    )?)
}

fn companions(options: &Options) -> std::result::Result<Companions, TemplateError> {
    let beside = |name: &str| {
        let word = options.get(name).unwrap_or("auto");
        Beside::parse(word)
            .ok_or_else(|| TemplateError::bad_option(format!("option {name} cannot be `{word}`")))
    };
    Ok(Companions {
        updates: beside("updates")?,
        security: beside("security")?,
        security_mirrors: mirrors(options, "security-mirror"),
    })
}

fn mirrors(options: &Options, name: &str) -> Vec<String> {
    let addresses = options.list(name).into_iter();
    addresses
        .map(|address| address.trim_end_matches('/').to_owned())
        .collect()
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
        mirrors: mirrors(options, "mirror"),
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
