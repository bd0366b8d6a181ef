//! Opening a template library. Only ever done inside a worker.

#![allow(unsafe_code)]

use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use sampan_core::abi::{HeaderRef, Module, SYMBOL};

/// Opens the library, checks it and leaks it: code of an unloaded library would leave dangling
/// functions behind, and a worker lives for one call.
///
/// # Errors
/// In words: what the library is, or what about it does not fit.
pub(crate) fn load(path: &Path) -> Result<Module, String> {
    // Resolving everything now makes a missing symbol an error here rather than a crash later;
    // local, so that one plugin's symbols never stand in for another's.
    // SAFETY: initialisers of the library run here. The library is what the caller asked for,
    // nobody else could write it, and this process is a sandbox made for running it.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| format!("it is not a library that can be loaded: {error}"))?;
    // SAFETY: the symbol's name carries "sampan" and the ABI's major version; a library that
    // exports it promises a header of this type, which carries its own magic number and version
    // and is checked before anything behind it is used.
    let header: HeaderRef = *unsafe { library.get::<HeaderRef>(SYMBOL) }
        .map_err(|_| "it is a library, but no Sampan template (it exports no sampan_template_1)")?;
    std::mem::forget(library);
    Module::check(header).map_err(|refusal| refusal.to_string())
}
