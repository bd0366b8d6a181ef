//! Where everything is, from `--root` and `--path`.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::arguments::Global;

const STATE: &str = "var/lib/sampan";

/// The directories of one invocation. None is made here.
#[derive(Debug, Clone)]
pub struct Directories {
    /// Containers.
    pub state: PathBuf,
    /// Images, downloads, staging.
    pub cache: PathBuf,
    /// Sockets and locks of running containers.
    pub run: PathBuf,
    /// Consoles and monitors' logs.
    pub log: PathBuf,
    /// Where ids are reserved.
    pub etc: PathBuf,
}

impl Directories {
    /// From what was typed. Relative paths are taken from the current directory.
    pub fn of(global: &Global) -> Self {
        let root = match &global.root {
            Some(root) => absolute(root),
            None => PathBuf::from("/"),
        };
        let usual = root.join(STATE);
        let state = match &global.path {
            Some(path) => absolute(path),
            None => usual.clone(),
        };
        let mut run = root.join("run/sampan");
        let mut log = root.join("var/log/sampan");
        if state != usual {
            // Containers of another directory may have the same names.
            let hash = Sha256::digest(state.as_os_str().as_encoded_bytes());
            let place: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
            run = run.join(format!(".at-{place}"));
            log = log.join(format!(".at-{place}"));
        }
        Self {
            state,
            cache: root.join("var/cache/sampan"),
            run,
            log,
            etc: root.join("etc"),
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(root: Option<&str>, path: Option<&str>) -> Directories {
        Directories::of(&Global {
            root: root.map(PathBuf::from),
            path: path.map(PathBuf::from),
            format: Default::default(),
            quiet: false,
            verbose: false,
        })
    }

    #[test]
    fn the_root_moves_every_directory() {
        let all = directories(Some("/r"), None);
        for path in [&all.state, &all.cache, &all.run, &all.log] {
            assert!(path.starts_with("/r"), "{}", path.display());
        }
        assert_eq!(directories(None, None).state, Path::new("/var/lib/sampan"));
    }

    #[test]
    fn containers_of_another_path_do_not_share_sockets_with_the_usual_ones() {
        let (usual, other) = (
            directories(None, None),
            directories(None, Some("/var/lib/lxc")),
        );
        assert_ne!(usual.run, other.run);
        assert_eq!(other.state, Path::new("/var/lib/lxc"));
        assert_eq!(usual.cache, other.cache);
    }
}
