//! The trait that a template author implements.

use crate::{
    BuildOutcome, ConfigureOutcome, ContainerRequest, Description, Host, Request, Rootfs,
    TemplateError,
};

/// A template: data about itself, and functions that fill and personalise a rootfs.
///
/// All of it runs in a worker without network and without the host's files; see [`Host`] for what
/// is lent. The type is made anew (`Default`) for each call, so it keeps no state.
pub trait Template {
    /// The template's data. Must not depend on anything that changes.
    fn describe(&self) -> Description;

    /// The identity of the inputs as they are now, so that the cache knows whether an image is
    /// current without building it. `None`: an image once built stays current.
    fn fingerprint(
        &self,
        _request: &Request,
        _host: &dyn Host,
    ) -> Result<Option<String>, TemplateError> {
        Ok(None)
    }

    /// Fills the empty `rootfs`. The result is shared by all containers of the same image: no
    /// host name, keys, machine-id or passwords.
    fn build(
        &self,
        request: &Request,
        rootfs: &Rootfs,
        host: &dyn Host,
    ) -> Result<BuildOutcome, TemplateError>;

    /// Makes a copy of the image one container's own.
    fn configure(
        &self,
        _container: &ContainerRequest,
        _rootfs: &Rootfs,
        _host: &dyn Host,
    ) -> Result<ConfigureOutcome, TemplateError> {
        Ok(ConfigureOutcome::default())
    }

    /// What is wrong with a finished tree, a sentence each. Used by the conformance kit.
    fn check(&self, _rootfs: &Rootfs) -> Result<Vec<String>, TemplateError> {
        Ok(Vec::new())
    }
}
