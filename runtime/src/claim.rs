//! Containers that exist for one command, and go with it.
//!
//! Such a container has a file `claim` in its directory, locked by whoever wants it. When nobody
//! holds that lock any more, the next one who lists or makes containers removes it.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::container::Container;
use crate::error::{Result, Tried};

const FILE: &str = "claim";

/// That somebody wants a container: as long as this is held, nobody removes it.
pub struct Claim {
    _lock: Flock<File>,
}

impl Claim {
    /// Makes the container in this directory one that goes with the claim.
    pub(crate) fn make(directory: &Path) -> Result<Claim> {
        let path = directory.join(FILE);
        let what = || format!("create {}", path.display());
        let file = File::create_new(&path).tried(what)?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, e)| e)
            .tried(what)?;
        Ok(Claim { _lock: lock })
    }

    /// Takes the claim of a container that nobody wants any more. `None`: somebody does, or it is
    /// an ordinary container.
    fn abandoned(directory: &Path) -> Result<Option<Claim>> {
        let path = directory.join(FILE);
        let what = || format!("lock {}", path.display());
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.tried(what)?,
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Claim { _lock: lock })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, e)) => Err(e).tried(what),
        }
    }
}

/// Removes it if it is abandoned. What does not go away hides no other container; the next one
/// tries again.
pub(crate) fn sweep(container: &Container) {
    if let Ok(Some(_claim)) = Claim::abandoned(&container.dir()) {
        let _ = container.destroy(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_can_be_taken_over_when_its_holder_is_gone_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Claim::abandoned(dir.path()).unwrap().is_none());
        let claim = Claim::make(dir.path()).unwrap();
        assert!(Claim::abandoned(dir.path()).unwrap().is_none());
        drop(claim);
        let taken = Claim::abandoned(dir.path()).unwrap();
        assert!(taken.is_some());
        assert!(Claim::abandoned(dir.path()).unwrap().is_none());
    }
}
