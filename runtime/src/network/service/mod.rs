//! Names and addresses for those in a network: DNS and DHCP on its bridge.

mod table;

use std::path::Path;

pub use self::table::{Host, Table};
use crate::error::{Error, Result};

/// Lets a network's service answer from this table: starts it if it does not run, and returns when
/// it answers. `directory` is the network's own (`RUN/.networks/NAME`); the service runs in the
/// caller's network namespace.
///
/// # Errors
/// The cause why it does not answer; then it does not run.
pub fn ensure(directory: &Path, bridge: &str, table: &Table) -> Result<()> {
    let _ = bridge;
    update(directory, table)?;
    Err(Error::internal("the service of a network cannot run yet"))
}

/// Lets it answer from this table from now on. One that does not run takes it when it starts.
pub fn update(directory: &Path, table: &Table) -> Result<()> {
    table.write(&directory.join("table"))
}

/// Ends it, and returns when nothing of it is left. Not an error if it does not run.
pub fn stop(directory: &Path) -> Result<()> {
    let _ = (directory, Table::read);
    Ok(())
}
