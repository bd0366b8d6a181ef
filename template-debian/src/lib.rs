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

use sampan_core::{
    BuildOutcome, ConfigureOutcome, ContainerRequest, Description, Host, Request, Rootfs, Template,
    TemplateError,
};
use sampan_debian_archive::{bootstrap::bootstrap, options, selection::Variant, source::Suite};

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
        open(request, host).map(|suite| Some(suite.fingerprint()))
    }

    fn build(
        &self,
        request: &Request,
        rootfs: &Rootfs,
        host: &dyn Host,
    ) -> Result<BuildOutcome, TemplateError> {
        let suite = open(request, host)?;
        host.info(&format!(
            "Debian {} for {} from {}",
            suite.name(),
            request.arch,
            suite.wanted.mirror
        ));
        let word = request.options.require("variant")?;
        let variant = Variant::parse(word)
            .ok_or_else(|| TemplateError::bad_option(format!("there is no variant {word}")))?;
        let include = request.options.list("include");
        let outcome = bootstrap(host, rootfs, &suite, variant, &include)?;
        apt::write_sources(rootfs, &suite, request.options.get("keyring"), host)?;
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

fn open(request: &Request, host: &dyn Host) -> Result<Suite, TemplateError> {
    let keyring = options::keyring(&request.options)?;
    Ok(Suite::open(host, options::wanted(request)?, &keyring)?)
}

sampan_core::export_template!(Debian);
