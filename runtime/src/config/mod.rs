//! The configuration of a container: lxc.container.conf(5) syntax.
//!
//! [`ConfigFile`] is the text, whose comments and order survive editing; [`Settings`] is what it
//! means. Every `lxc.*` key is obeyed or refused, never ignored in silence.

mod counting;
mod default;
mod edit;
mod effective;
mod file;
pub mod keys;
mod legacy;
mod mount_options;
mod mounts;
mod network_lines;
mod networks;
mod settings;
mod values;

pub use counting::{counting, values_of};
pub use default::{NewConfig, default_config};
pub(crate) use edit::new_problems;
pub use effective::{Assignment, effective};
pub use file::{ConfigFile, Line};
pub use keys::{
    Autostart, CgroupDirectories, Console, Hook, HookKind, Hooks, Log, Namespace, Namespaces,
    Seccomp,
};
pub use legacy::{RENAMED, today};
pub use mount_options::{Create, MountIds, MountOptions, Propagation, PropagationKind};
pub use mounts::{MountEntry, ProcMount, SysMount, read_fstab};
pub use networks::{
    Gateway, HardwareAddress, IpvlanMode, MacvlanMode, Network, NetworkAddress, NetworkKind,
    PortVlan, Script, VethMode,
};
pub use settings::{IdMapping, Settings, problems};
pub use values::{Capabilities, CgroupSetting, ResourceLimit};
