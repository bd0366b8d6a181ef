//! What a Sampan template is written against.
//!
//! A template fills an empty root file system with a distribution and later makes copies of it
//! their own. It is a shared library; Sampan loads it into a sandboxed worker and calls it through
//! the ABI in [`abi`]. Authors never see that ABI: they implement [`Template`] with the plain
//! types of this crate and export it with [`export_template!`].
//!
//! ```no_run
//! use sampan_core::{BuildOutcome, Description, Host, Request, Rootfs, Template, TemplateError};
//!
//! #[derive(Default)]
//! struct Hello;
//!
//! impl Template for Hello {
//!     fn describe(&self) -> Description {
//!         Description::new("hello", env!("CARGO_PKG_VERSION"), "One file and nothing else")
//!     }
//!     fn build(
//!         &self,
//!         _request: &Request,
//!         rootfs: &Rootfs,
//!         _host: &dyn Host,
//!     ) -> Result<BuildOutcome, TemplateError> {
//!         rootfs.write("hello", b"world\n", 0o644)?;
//!         Ok(BuildOutcome::default())
//!     }
//! }
//!
//! sampan_core::export_template!(Hello);
//! ```
//!
//! This crate knows nothing of containers. Its version is the version of the ABI.

pub mod abi;
mod description;
mod error;
mod host;
mod options;
mod request;
pub mod rootfs;
mod template;

pub use description::{Description, OptionKind, OptionSpec};
pub use error::{ErrorKind, TemplateError};
pub use host::{Command, Download, Host, Level, Outcome, Span, Unit};
pub use options::{OptionError, Options, nearest, split_list};
pub use request::{BuildOutcome, ConfigureOutcome, ContainerRequest, PackageRecord, Request};
pub use rootfs::Rootfs;
pub use template::Template;
