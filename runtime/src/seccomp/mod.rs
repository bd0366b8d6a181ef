//! Profiles of system calls (`lxc.seccomp.profile`), in the two versions of LXC's file format.
//!
//! A profile is compiled to a BPF program of its own, which comes on top of the filter that every
//! container has: the kernel takes the stricter of two answers. What that filter refuses (modules,
//! kexec, the kernel's log, forced unmounts) therefore no profile gives back.

mod compile;
mod policy;
mod syscalls;

use std::path::Path;

use libc::sock_filter;

use crate::error::{Error, Result, Tried};

/// A compiled profile.
#[derive(Debug)]
pub(crate) struct Profile {
    /// The program for the kernel.
    pub(crate) filter: Vec<sock_filter>,
    /// What was passed over, as LXC does: system calls that this version does not know.
    pub(crate) warnings: Vec<String>,
}

/// Reads and compiles a profile.
pub(crate) fn load(path: &Path) -> Result<Profile> {
    let bytes =
        std::fs::read(path).tried(|| format!("read the seccomp profile {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let place = |(line, what): (usize, String)| {
        Error::user(format!("{}:{line}: {what}", path.display()))
            .with_hint("lxc.seccomp.profile names the file, of LXC's format 1 or 2")
    };
    let policy = policy::parse(&text).map_err(place)?;
    let (filter, unknown) = compile::compile(&policy).map_err(|what| place((1, what)))?;
    let warnings = unknown
        .into_iter()
        .map(|(line, name)| {
            format!(
                "{}:{line}: there is no system call {name}; the line is passed over",
                path.display()
            )
        })
        .collect();
    Ok(Profile { filter, warnings })
}

/// Keeps the filter of a running container for commands that are run in it later: the profile, or
/// the config, may have changed by then. `None` forgets an earlier one.
pub(crate) fn keep(path: &Path, filter: Option<&[sock_filter]>) -> Result<()> {
    let Some(filter) = filter else {
        return match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).tried(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        };
    };
    let bytes: Vec<u8> = filter.iter().flat_map(to_bytes).collect();
    std::fs::write(path, bytes).tried(|| format!("write {}", path.display()))
}

/// The filter that was kept.
pub(crate) fn kept(path: &Path) -> Result<Option<Vec<sock_filter>>> {
    let what = || format!("read {}", path.display());
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).tried(what),
    };
    let (instructions, rest) = bytes.as_chunks();
    if !rest.is_empty() || instructions.is_empty() {
        return Err(Error::internal(format!("{} is not whole", path.display())));
    }
    Ok(Some(instructions.iter().map(from_bytes).collect()))
}

fn to_bytes(i: &sock_filter) -> [u8; 8] {
    let (code, k) = (i.code.to_le_bytes(), i.k.to_le_bytes());
    [code[0], code[1], i.jt, i.jf, k[0], k[1], k[2], k[3]]
}

fn from_bytes(b: &[u8; 8]) -> sock_filter {
    sock_filter {
        code: u16::from_le_bytes([b[0], b[1]]),
        jt: b[2],
        jf: b[3],
        k: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_filter_is_the_one_that_was_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let (profile, file) = (dir.path().join("profile"), dir.path().join("filter"));
        std::fs::write(&profile, "2\ndenylist\nmkdir errno 1\nmkdri errno 1\n").unwrap();
        let loaded = load(&profile).unwrap();
        assert!(loaded.warnings[0].contains(":4: there is no system call mkdri"));
        assert!(kept(&file).unwrap().is_none());
        keep(&file, Some(&loaded.filter)).unwrap();
        let again = kept(&file).unwrap().unwrap();
        let fields = |f: &[sock_filter]| -> Vec<_> { f.iter().map(to_bytes).collect() };
        assert_eq!(fields(&again), fields(&loaded.filter));
        keep(&file, None).unwrap();
        assert!(kept(&file).unwrap().is_none());
        std::fs::write(&profile, "2\ndenylist\nmkdir oops\n").unwrap();
        let error = load(&profile).unwrap_err().chain();
        assert!(error.contains("profile:3: \"oops\""), "{error}");
    }
}
