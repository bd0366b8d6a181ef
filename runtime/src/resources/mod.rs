//! Limits of one container, changed while it runs and in its config.

mod change;
mod set;

pub use change::{LimitChange, Rates};
pub use set::{SetIn, SetResult};

pub(crate) use set::changed_config;
