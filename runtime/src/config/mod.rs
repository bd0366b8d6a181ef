//! The configuration of a container: lxc.container.conf(5) syntax.
//!
//! [`ConfigFile`] is the text, whose comments and order survive editing; [`Settings`] is what it
//! means. Every `lxc.*` key is obeyed or refused, never ignored in silence.

mod default;
mod effective;
mod file;
pub mod keys;
mod legacy;
mod mount_options;
mod mounts;
mod settings;
mod values;

pub use default::{NewConfig, default_config};
pub use effective::{Assignment, effective};
pub use file::{ConfigFile, Line};
pub use keys::{
    Autostart, CgroupDirectories, Console, Hook, HookKind, Hooks, Log, Namespace, Namespaces,
    Seccomp,
};
pub use legacy::RENAMED;
pub use mount_options::{Create, MountIds, MountOptions, Propagation, PropagationKind};
pub use mounts::{MountEntry, ProcMount, SysMount, read_fstab};
pub use settings::{IdMapping, Settings};
pub use values::{Capabilities, CgroupSetting, ResourceLimit};
