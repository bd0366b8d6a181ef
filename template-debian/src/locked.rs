//! The option `lock`: what it says of the others.

use sampan_core::{OptionKind, OptionSpec, Options, Request, TemplateError};
use sampan_debian_archive::{
    lock::{Asked, Lock},
    source::hex,
};
use sha2::{Digest, Sha256};

use crate::description;

/// The options that decide what is in an image.
const DECIDED: [&str; 7] = [
    "suite",
    "variant",
    "include",
    "exclude",
    "components",
    "updates",
    "security",
];

/// The files that become part of an image.
const FILES: [&str; 3] = ["keyring", "repo", "repo-keyring"];

/// No lock is larger: 16 MiB, of some hundred bytes for each package.
const LIMIT: u64 = 16 << 20;

/// `lock`.
pub fn option() -> OptionSpec {
    OptionSpec::new(
        "lock",
        OptionKind::File,
        "Build exactly what a lock file names, which image build --lock wrote; no other option may \
         ask for something else",
    )
}

/// The lock that a person gives.
pub fn text(options: &Options) -> Result<Option<String>, TemplateError> {
    let Some(path) = options.get("lock") else {
        return Ok(None);
    };
    let bad = |why: String| TemplateError::bad_option(format!("cannot read the lock: {why}"));
    let size = std::fs::metadata(path)
        .map_err(|error| bad(error.to_string()))?
        .len();
    if size > LIMIT {
        return Err(bad(format!("it has {size} bytes, more than any lock")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    Ok(Some(text))
}

/// Reads a lock for a request.
pub fn read<'t>(text: &'t str, request: &Request) -> Result<Lock<'t>, TemplateError> {
    let mut lock = Lock::parse(text)?;
    let options = description::description().options.into_iter();
    let defaults: Asked = options
        .filter_map(|option| Some((option.name, option.default?)))
        .collect();
    lock.check(&request.arch, &asked(&request.options)?, &defaults)?;
    let mirrors = |name| -> Vec<String> {
        let addresses = request.options.list(name).into_iter();
        addresses
            .map(|address| address.trim_end_matches('/').to_owned())
            .collect()
    };
    lock.set_mirrors(&mirrors("mirror"), &mirrors("security-mirror"));
    Ok(lock)
}

/// What a request asks for, as a lock keeps it: files by their hashes.
pub fn asked(options: &Options) -> Result<Asked, TemplateError> {
    let mut asked = Asked::new();
    for name in DECIDED {
        asked.extend(
            options
                .get(name)
                .map(|value| (name.to_owned(), value.to_owned())),
        );
    }
    for name in FILES {
        if let Some(path) = options.get(name) {
            let bytes = std::fs::read(path).map_err(|error| {
                TemplateError::bad_option(format!("cannot read the file of {name}: {error}"))
            })?;
            asked.push((
                name.to_owned(),
                format!("sha256:{}", hex(&Sha256::digest(bytes))),
            ));
        }
    }
    Ok(asked)
}
