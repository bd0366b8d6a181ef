//! Sampan's template for Debian: a base system from a verified archive, and what makes a copy of
//! it one container's own.

// Not `forbid`: the symbol that export_template! makes is unsafe to name, and allowed in there only.
#![deny(unsafe_code)]

mod apt;
mod check;
mod configure;
mod description;
mod guest;
mod identity;
mod locked;

use sampan_core::{
    BuildOutcome, ConfigureOutcome, ContainerRequest, Description, Host, Request, Rootfs, Template,
    TemplateError,
};
use sampan_debian_archive::{
    bootstrap::{bootstrap, bootstrap_locked},
    lock, options,
    selection::{Choice, Variant},
    source::Archive,
};

/// The template `debian`.
#[derive(Debug, Default)]
struct Debian;

impl Template for Debian {
    fn describe(&self) -> Description {
        description::description()
    }

    fn fingerprint(
        &self,
        request: &Request,
        host: &dyn Host,
    ) -> Result<Option<String>, TemplateError> {
        if let Some(text) = locked::text(&request.options)? {
            return Ok(Some(lock::fingerprint(&text)));
        }
        options::open(request, host).map(|archive| Some(archive.fingerprint()))
    }

    fn build(
        &self,
        request: &Request,
        rootfs: &Rootfs,
        host: &dyn Host,
    ) -> Result<BuildOutcome, TemplateError> {
        request.check_runnable()?;
        if let Some(text) = locked::text(&request.options)? {
            let lock = locked::read(&text, request)?;
            host.info(&format!(
                "{} packages of a lock",
                lock.selection.iter().count()
            ));
            let outcome = bootstrap_locked(host, rootfs, &lock)?;
            write_sources(rootfs, &lock.archive, request, host)?;
            return Ok(outcome);
        }
        let archive = options::open(request, host)?;
        for suite in archive.suites() {
            host.info(&format!(
                "Debian {} for {} from {}",
                suite.name(),
                request.arch,
                suite.mirrors.first().map_or("", String::as_str)
            ));
        }
        let word = request.options.require("variant")?;
        let variant = Variant::parse(word)
            .ok_or_else(|| TemplateError::bad_option(format!("there is no variant {word}")))?;
        let choice = Choice {
            include: &request.options.list("include"),
            exclude: &request.options.list("exclude"),
            asked: &locked::asked(&request.options)?,
        };
        let outcome = bootstrap(host, rootfs, &archive, variant, &choice)?;
        write_sources(rootfs, &archive, request, host)?;
        Ok(outcome)
    }

    fn configure(
        &self,
        container: &ContainerRequest,
        rootfs: &Rootfs,
        host: &dyn Host,
    ) -> Result<ConfigureOutcome, TemplateError> {
        configure::configure(container, rootfs, host)
    }

    fn check(&self, rootfs: &Rootfs) -> Result<Vec<String>, TemplateError> {
        check::check(rootfs)
    }
}

fn write_sources(
    rootfs: &Rootfs,
    archive: &Archive,
    request: &Request,
    host: &dyn Host,
) -> Result<(), TemplateError> {
    apt::write_sources(rootfs, archive, request.options.get("keyring"), host)?;
    if let Some(repositories) = options::repositories(&request.options)? {
        apt::write_repositories(rootfs, &repositories)?;
    }
    Ok(())
}

sampan_core::export_template!(Debian);
