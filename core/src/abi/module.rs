//! The host's side: check what a library exports, then call it with plain types.

use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::{AbiInstabilityErrors, check_layout_compatibility},
    library::{AbiHeaderRef, RootModule},
    sabi_types::VersionNumber,
    std_types::RStr,
    type_layout::TLFieldOrFunction,
};

use super::{
    VERSION,
    host::Lent,
    plugin::TemplateModuleRef,
    wire::{ContainerRef, ErrorRef, RequestRef, plain_findings},
};
use crate::{
    BuildOutcome, ConfigureOutcome, ContainerRequest, Description, Host, Request, TemplateError,
};

/// The type of the exported symbol, for the loader.
pub type HeaderRef = AbiHeaderRef;

/// Why a library that exports [`SYMBOL`](super::SYMBOL) is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Built with another release of abi_stable, or the symbol is not a header.
    #[error("its header is not one of this ABI: {0}")]
    Header(String),
    /// Another major version, or a version that cannot be read.
    #[error("it was built for template ABI {theirs}; this host speaks {VERSION}")]
    Version {
        /// The version that the plugin carries.
        theirs: String,
    },
    /// It carries no layout, so that nothing can be checked.
    #[error("it carries no type layout to check")]
    NoLayout,
    /// Something that crosses is laid out otherwise, although the version says that it fits.
    #[error("its types do not fit those of this host: {0}")]
    Layout(String),
    /// Its constructor failed.
    #[error("its constructor failed: {0}")]
    Constructor(String),
}

/// A checked template module.
#[derive(Clone, Copy)]
pub struct Module {
    functions: TemplateModuleRef,
    version: VersionNumber,
}

impl Module {
    /// Checks version and layout of what a library exports.
    ///
    /// abi_stable's own check wants the plugin to be at least as new as the host. Types may only
    /// grow within a major version, so the older side's layout is the one to look for in the
    /// newer one's, whichever side that is.
    pub fn check(header: HeaderRef) -> Result<Self, Refusal> {
        let header = header
            .upgrade()
            .map_err(|error| Refusal::Header(one_line(&error.to_string())))?;
        let strings = header.version_strings();
        let other_version = || Refusal::Version {
            theirs: strings.version.as_str().to_owned(),
        };
        let theirs = VersionNumber::new(strings).map_err(|_| other_version())?;
        let ours =
            VersionNumber::new(TemplateModuleRef::VERSION_STRINGS).map_err(|_| other_version())?;
        if theirs.major != ours.major {
            return Err(other_version());
        }
        let our_layout = <TemplateModuleRef as StableAbi>::LAYOUT;
        let their_layout = header.layout().ok_or(Refusal::NoLayout)?;
        let (older, newer) = if theirs.minor < ours.minor {
            (their_layout, our_layout)
        } else {
            (our_layout, their_layout)
        };
        check_layout_compatibility(older, newer)
            .map_err(|errors| Refusal::Layout(innermost(&errors)))?;
        // SAFETY: the layouts were compared just above, the older one found within the newer.
        let functions = unsafe { header.init_root_module_with_unchecked_layout() }
            .map_err(|error| Refusal::Constructor(one_line(&error.to_string())))?;
        Ok(Self {
            functions,
            version: theirs,
        })
    }

    /// The version of the ABI that the plugin was built with.
    pub fn abi_version(&self) -> String {
        let VersionNumber {
            major,
            minor,
            patch,
        } = self.version;
        format!("{major}.{minor}.{patch}")
    }

    /// The template's data.
    pub fn describe(&self) -> Result<Description, TemplateError> {
        match self.functions.describe()().into_result() {
            Ok(description) => Ok(description.plain()),
            Err(error) => Err(ErrorRef::plain(error)),
        }
    }

    /// See [`Template::fingerprint`](crate::Template::fingerprint).
    pub fn fingerprint(
        &self,
        request: &Request,
        host: &dyn Host,
    ) -> Result<Option<String>, TemplateError> {
        let lent = Lent(host);
        self.functions.fingerprint()(RequestRef::of(request), lent.as_ref())
            .into_result()
            .map(|answer| answer.into_option().map(String::from))
            .map_err(ErrorRef::plain)
    }

    /// See [`Template::build`](crate::Template::build).
    pub fn build(
        &self,
        request: &Request,
        rootfs: &str,
        host: &dyn Host,
    ) -> Result<BuildOutcome, TemplateError> {
        let lent = Lent(host);
        self.functions.build()(
            RequestRef::of(request),
            RStr::from_str(rootfs),
            lent.as_ref(),
        )
        .into_result()
        .map(|outcome| outcome.plain())
        .map_err(ErrorRef::plain)
    }

    /// See [`Template::configure`](crate::Template::configure).
    pub fn configure(
        &self,
        container: &ContainerRequest,
        rootfs: &str,
        host: &dyn Host,
    ) -> Result<ConfigureOutcome, TemplateError> {
        let lent = Lent(host);
        self.functions.configure()(
            ContainerRef::of(container),
            RStr::from_str(rootfs),
            lent.as_ref(),
        )
        .into_result()
        .map(|outcome| outcome.plain())
        .map_err(ErrorRef::plain)
    }

    /// See [`Template::check`](crate::Template::check).
    pub fn check_rootfs(&self, rootfs: &str) -> Result<Vec<String>, TemplateError> {
        self.functions.check()(RStr::from_str(rootfs))
            .into_result()
            .map(plain_findings)
            .map_err(ErrorRef::plain)
    }
}

/// The innermost mismatch, with the way to it: the whole report is thousands of lines.
fn innermost(errors: &AbiInstabilityErrors) -> String {
    let deepest = errors
        .errors
        .iter()
        .filter(|error| !error.errs.is_empty())
        .max_by_key(|error| error.stack_trace.len());
    let Some(error) = deepest else {
        return "the layouts differ".to_owned();
    };
    let way: Vec<String> = error
        .stack_trace
        .iter()
        .map(|step| match step.expected {
            TLFieldOrFunction::Field(field) => field.name().to_owned(),
            TLFieldOrFunction::Function(function) => format!("{}()", function.name),
        })
        .collect();
    let what: String = one_line(&format!("{:?}", error.errs[0]))
        .chars()
        .take(120)
        .collect();
    format!("{}: {what}", way.join("."))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
