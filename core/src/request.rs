//! What a template is asked, and what it answers.

use crate::{Options, TemplateError};

/// The image that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Request {
    /// A Debian architecture name, one of those the template declares.
    pub arch: String,
    /// Every option with a value: given by the person, or a default.
    pub options: Options,
    /// Why the machine cannot run programs of `arch`, and what to do about it; `None` when it can,
    /// or when the host does not say.
    pub cannot_run: Option<TemplateError>,
}

impl Request {
    /// For templates that run what they put into the rootfs: call it before anything is fetched.
    ///
    /// # Errors
    /// When the machine cannot run programs of the architecture.
    pub fn check_runnable(&self) -> Result<(), TemplateError> {
        match &self.cannot_run {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// The container that is to become its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ContainerRequest {
    /// The container's name, a valid host name.
    pub name: String,
    /// A Debian architecture name.
    pub arch: String,
    /// Every option with a value.
    pub options: Options,
    /// Whether the container runs without a user namespace.
    pub privileged: bool,
}

/// What [`Template::build`](crate::Template::build) tells of the finished tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BuildOutcome {
    /// The identity of the inputs that were used, comparable with what
    /// [`Template::fingerprint`](crate::Template::fingerprint) answers. Empty when the template
    /// has none.
    pub fingerprint: String,
    /// Seconds since 1970 to which later modification times are clamped (the date of the newest
    /// input, see reproducible-builds.org's SOURCE_DATE_EPOCH).
    pub source_date_epoch: i64,
    /// What was installed, for people and audits.
    pub packages: Vec<PackageRecord>,
    /// A text from which the template can build the same image again, whatever the mirror has
    /// then; `sampan image build --lock FILE` hands it to the person. Empty when there is none.
    pub lock: String,
}

/// One installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PackageRecord {
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The package's architecture.
    pub arch: String,
}

/// What [`Template::configure`](crate::Template::configure) tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConfigureOutcome {
    /// `lxc.*` keys and values that such a guest needs, in order (lxc.container.conf(5)).
    pub config: Vec<(String, String)>,
}
