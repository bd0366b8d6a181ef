//! The options that every template has which takes its packages from a Debian archive.

use std::path::Path;

use sampan_core::{Host, OptionKind, OptionSpec, Options, Request, TemplateError};

use crate::{
    Error, Result,
    openpgp::{Concessions, Keyring},
    source::{Archive, Beside, Companions, Repositories, Wanted},
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
        OptionSpec::new(
            "allow-older-release",
            OptionKind::Boolean,
            "Accept a Release older than one seen before, so that an attacker could hide updates; \
             for snapshots and mirrors that are behind",
        )
        .default("false"),
        OptionSpec::new(
            "allow-expired-key",
            OptionKind::Boolean,
            "Accept a signature by a key that has expired since, so that a key lost after its end \
             counts; for archived suites",
        )
        .default("false"),
        OptionSpec::new(
            "allow-weak-key",
            OptionKind::Boolean,
            "Accept DSA keys, RSA keys from 1024 bits and signatures over SHA-1, which can be \
             forged with effort; for archived suites",
        )
        .default("false"),
    ]
}

/// `repo` and `repo-keyring`.
pub fn repository() -> [OptionSpec; 2] {
    [
        OptionSpec::new(
            "repo",
            OptionKind::File,
            "More repositories, in the one-line or the deb822 syntax of sources.list(5); their \
             packages take part by highest version, and the guest gets them as sources",
        ),
        OptionSpec::new(
            "repo-keyring",
            OptionKind::File,
            "OpenPGP keys, binary or armored, of the repositories that have none in Signed-By",
        ),
    ]
}

/// Opens all suites that a request asks for.
pub fn open(request: &Request, host: &dyn Host) -> std::result::Result<Archive, TemplateError> {
    let options = &request.options;
    let keyring = keyring(options)?;
    let wanted = wanted(request)?;
    // First, since nothing has to be fetched to see that it cannot be.
    let repositories = repositories(options)?;
    let mut archive = Archive::open(host, wanted, &companions(options)?, &keyring)?;
    if let Some(repositories) = repositories {
        archive.add_repositories(host, &repositories, concessions(options))?;
    }
    Ok(archive)
}

/// The repositories that a person adds.
pub fn repositories(options: &Options) -> std::result::Result<Option<Repositories>, TemplateError> {
    let Some(path) = options.get("repo") else {
        return match options.get("repo-keyring") {
            None => Ok(None),
            Some(_) => Err(TemplateError::bad_option(
                "repo-keyring is given without repo, whose keys it would hold",
            )),
        };
    };
    let keyring = options.get("repo-keyring").map(read).transpose()?;
    let read = Repositories::parse(&read(path)?, "the file of -o repo=FILE", keyring)?;
    let mut chosen = mirrors(options, "mirror");
    chosen.extend(mirrors(options, "security-mirror"));
    let below = |uri: &str| {
        chosen.iter().any(|mirror| {
            let rest = uri.strip_prefix(mirror.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let mut uris = read.sources.iter().flat_map(|source| &source.uris);
    match uris.find(|uri| uri.starts_with("file:") && !below(uri)) {
        None => Ok(Some(read)),
        Some(uri) => Err(TemplateError::bad_option(format!(
            "the file of -o repo=FILE names {uri}, and of this machine's files only those below a \
             mirror that you chose can be read"
        ))
        .with_hint("serve it over http, or name a directory above it as one of -o mirror=URL,…")),
    }
}

fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
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
        allow_older_release: options.is_on("allow-older-release"),
        scope: String::new(),
    })
}

/// The person's keyring, or Debian's, under the rules that the person wants.
pub fn keyring(options: &Options) -> Result<Keyring> {
    Ok(keys(options)?.allowing(concessions(options)))
}

fn concessions(options: &Options) -> Concessions {
    Concessions {
        expired_key: options.is_on("allow-expired-key"),
        weak_key: options.is_on("allow-weak-key"),
    }
}

fn keys(options: &Options) -> Result<Keyring> {
    match options.get("keyring") {
        None => Keyring::debian(),
        Some(path) => {
            let bytes = read(path)?;
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
