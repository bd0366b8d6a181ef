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
use sampan_debian_archive::{
    bootstrap::bootstrap,
    options,
    selection::{Choice, Variant},
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
        options::open(request, host).map(|archive| Some(archive.fingerprint()))
    }

    fn build(
        &self,
        request: &Request,
        rootfs: &Rootfs,
        host: &dyn Host,
    ) -> Result<BuildOutcome, TemplateError> {
        request.check_runnable()?;
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
        };
        let outcome = bootstrap(host, rootfs, &archive, variant, &choice)?;
        apt::write_sources(rootfs, &archive, request.options.get("keyring"), host)?;
        if let Some(repositories) = options::repositories(&request.options)? {
            apt::write_repositories(rootfs, &repositories)?;
        }
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

sampan_core::export_template!(Debian);
