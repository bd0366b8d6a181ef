//! The ABI between a host and a template plugin: the only place that names abi_stable.
//!
//! A plugin exports one symbol, [`SYMBOL`], whose name carries the ABI's major version, so that a
//! second ABI can live beside the first. Behind it is abi_stable's library header: it carries the
//! version of this crate that the plugin was built with and the layout of everything that crosses,
//! which [`Module::check`] compares before anything is called.
//!
//! What crosses can grow: tables and records are prefix types (a new field is appended, an older
//! side reads it as absent), host services are a trait object whose later methods have default
//! bodies, codes are newtypes rather than enums. To change it: append only, give every new host
//! method a default body, raise this crate's minor version. See docs/abi.md.
//!
//! Records that cross are leaked by the side that makes them. A worker makes a few hundred in the
//! one call it lives for; in return no record needs an owner on two sides with two allocators.

#![allow(unsafe_code)]
// abi_stable's `#[sabi_trait]` puts impls inside a function body.
#![allow(non_local_definitions, missing_docs)]

mod host;
mod module;
mod plugin;
mod wire;

pub use module::{HeaderRef, Module, Refusal};

/// What [`export_template!`](crate::export_template) expands to uses; not for authors.
#[doc(hidden)]
pub mod export {
    pub use super::plugin::{TemplateModuleRef, constructor_result};
    pub use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult};
}

/// The symbol under which a plugin exports its header, with the terminating zero.
pub const SYMBOL: &[u8] = b"sampan_template_1\0";

/// The version of the ABI that this side speaks.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exports a type that is [`Template`](crate::Template) and `Default` as this library's template.
///
/// The library must be a `cdylib` and must unwind on panic: a panic in it becomes an error.
#[macro_export]
macro_rules! export_template {
    ($template:ty) => {
        #[cfg(panic = "abort")]
        compile_error!("a template must be built with panic = \"unwind\"");

        #[allow(unsafe_code)]
        const _: () = {
            extern "C" fn constructor() -> $crate::abi::export::RootModuleResult {
                $crate::abi::export::constructor_result::<$template>()
            }

            // SAFETY: the name is not used by anything else in the process (it carries "sampan"),
            // and the constructor returns the module type that the header names.
            #[unsafe(export_name = "sampan_template_1")]
            static HEADER: $crate::abi::export::LibHeader = unsafe {
                $crate::abi::export::LibHeader::from_constructor::<
                    $crate::abi::export::TemplateModuleRef,
                >(constructor, $crate::abi::export::CheckTypeLayout::Yes)
            };
        };
    };
}
