//! The plugin's side: the table of functions that a template exports, made from a [`Template`].

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use abi_stable::{
    StableAbi, declare_root_module_statics,
    library::{RootModule, RootModuleResult},
    package_version_strings,
    prefix_type::PrefixTypeTrait,
    sabi_types::VersionStrings,
    std_types::{ROption, RResult, RSlice, RStr, RString},
};

use super::{
    host::{Borrowed, HostRef},
    wire::{
        BuildOutcomeRef, ConfigureOutcomeRef, ContainerRef, DescriptionRef, ErrorRef, RequestRef,
        findings,
    },
};
use crate::{ErrorKind, Rootfs, Template, TemplateError};

type Answer<T> = RResult<T, ErrorRef>;

/// The table of functions behind [`SYMBOL`](super::SYMBOL). New ones are appended.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = TemplateModuleRef)))]
pub struct TemplateModule {
    pub describe: extern "C" fn() -> Answer<DescriptionRef>,
    pub fingerprint: extern "C" fn(RequestRef, HostRef<'_>) -> Answer<ROption<RString>>,
    pub build: extern "C" fn(RequestRef, RStr<'_>, HostRef<'_>) -> Answer<BuildOutcomeRef>,
    pub configure:
        extern "C" fn(ContainerRef, RStr<'_>, HostRef<'_>) -> Answer<ConfigureOutcomeRef>,
    #[sabi(last_prefix_field)]
    pub check: extern "C" fn(RStr<'_>) -> Answer<RSlice<'static, RStr<'static>>>,
}

impl RootModule for TemplateModuleRef {
    declare_root_module_statics! {TemplateModuleRef}
    const BASE_NAME: &'static str = "sampan_template";
    const NAME: &'static str = "sampan_template";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// The table for one template type.
fn module_for<T: Template + Default>() -> TemplateModuleRef {
    TemplateModule {
        describe: describe::<T>,
        fingerprint: fingerprint::<T>,
        build: build::<T>,
        configure: configure::<T>,
        check: check::<T>,
    }
    .leak_into_prefix()
}

/// The table in the form in which abi_stable's header asks for it.
pub fn constructor_result<T: Template + Default>() -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(|| {
        keep_panics();
        module_for::<T>()
    })
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panic messages for [`guard`] rather than printing them. A plugin has its own copy of
/// std, so the host's hook stays untouched.
fn keep_panics() {
    std::panic::set_hook(Box::new(|info| {
        LAST_PANIC.with(|last| *last.borrow_mut() = Some(info.to_string()));
    }));
}

/// Turns an unwinding panic into an error: unwinding out of an `extern "C"` function aborts.
fn guard<T>(call: impl FnOnce() -> Result<T, TemplateError>) -> Answer<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| {
            let message = LAST_PANIC
                .with(RefCell::take)
                .unwrap_or_else(|| "without a message".to_owned());
            Err(TemplateError::new(
                ErrorKind::Panicked,
                format!("the template panicked: {message}"),
            ))
        })
        .map_err(|error| ErrorRef::of(&error))
        .into()
}

extern "C" fn describe<T: Template + Default>() -> Answer<DescriptionRef> {
    guard(|| Ok(DescriptionRef::of(&T::default().describe())))
}

extern "C" fn fingerprint<T: Template + Default>(
    request: RequestRef,
    host: HostRef<'_>,
) -> Answer<ROption<RString>> {
    guard(|| {
        let answer = T::default().fingerprint(&request.plain(), &Borrowed(host))?;
        Ok(answer.map(RString::from).into())
    })
}

extern "C" fn build<T: Template + Default>(
    request: RequestRef,
    rootfs: RStr<'_>,
    host: HostRef<'_>,
) -> Answer<BuildOutcomeRef> {
    guard(|| {
        let rootfs = Rootfs::open(Path::new(rootfs.as_str()))?;
        let outcome = T::default().build(&request.plain(), &rootfs, &Borrowed(host))?;
        Ok(BuildOutcomeRef::of(&outcome))
    })
}

extern "C" fn configure<T: Template + Default>(
    container: ContainerRef,
    rootfs: RStr<'_>,
    host: HostRef<'_>,
) -> Answer<ConfigureOutcomeRef> {
    guard(|| {
        let rootfs = Rootfs::open(Path::new(rootfs.as_str()))?;
        let outcome = T::default().configure(&container.plain(), &rootfs, &Borrowed(host))?;
        Ok(ConfigureOutcomeRef::of(&outcome))
    })
}

extern "C" fn check<T: Template + Default>(
    rootfs: RStr<'_>,
) -> Answer<RSlice<'static, RStr<'static>>> {
    guard(|| {
        let rootfs = Rootfs::open(Path::new(rootfs.as_str()))?;
        Ok(findings(&T::default().check(&rootfs)?))
    })
}
