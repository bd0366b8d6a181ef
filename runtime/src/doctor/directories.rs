//! The directories: whether they can be written, and how much room is left.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::statvfs::{Statvfs, statvfs};

use super::{Finding, Host, nearest};

/// Names of the checks of a directory: writable, space.
type Names = (&'static str, &'static str);

const MIB: u64 = 1 << 20;

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (what, path) in &host.subject.directories {
        let names = names(what);
        findings.push(writable(host.root, names.0, path));
        findings.push(match statvfs(nearest(path)) {
            Ok(found) => space(names.1, path, needed(what), Room::of(&found)),
            Err(error) => Finding::unknown(names.1, format!("{}: {error}", path.display())),
        });
    }
    findings
}

fn names(what: &str) -> Names {
    match what {
        "state" => ("state.writable", "state.space"),
        "cache" => ("cache.writable", "cache.space"),
        "run" => ("run.writable", "run.space"),
        _ => ("log.writable", "log.space"),
    }
}

/// How little room hinders, and how little is a warning.
fn needed(what: &str) -> (u64, u64) {
    match what {
        // A base system, and a handful of them.
        "state" | "cache" => (200 * MIB, 2048 * MIB),
        "run" => (MIB, 8 * MIB),
        _ => (8 * MIB, 64 * MIB),
    }
}

fn writable(root: bool, name: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    let above = nearest(path);
    if !above.is_dir() {
        return Finding::problem(
            name,
            format!("{} is no directory", above.display()),
            format!("mv {0} {0}.old", above.display()),
        );
    }
    if let Some(finding) = above.metadata().ok().and_then(|found| {
        let (owner, mode) = (found.uid(), found.mode());
        let others = mode & 0o022 != 0 && mode & 0o1000 == 0;
        let foreign = owner != 0 && owner != nix::unistd::geteuid().as_raw();
        (above == path && (others || foreign)).then(|| {
            Finding::problem(
                name,
                format!(
                    "{shown} can be written by others (owner {owner}, mode {:04o})",
                    mode & 0o7777
                ),
                format!("chown root: {shown} && chmod go-w {shown}"),
            )
        })
    }) {
        return finding;
    }
    let tried = match above == path {
        true => try_file(path),
        // Nobody asked for it yet.
        false => nix::unistd::access(above, nix::unistd::AccessFlags::W_OK).map_err(Into::into),
    };
    match tried {
        Ok(()) if above == path => Finding::ok(name, format!("{shown} can be written")),
        Ok(()) => Finding::ok(name, format!("{shown} can be made when it is needed")),
        Err(error) if !root => Finding::unknown(
            name,
            format!("{shown} cannot be written without root: {error}"),
        ),
        Err(error) => {
            let mend = match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EROFS) => {
                    format!(
                        "mount -o remount,rw $(findmnt -n -o TARGET -T {})",
                        above.display()
                    )
                }
                Some(Errno::EPERM) => format!("chattr -i -a {}", above.display()),
                Some(Errno::ENOSPC | Errno::EDQUOT) => {
                    format!("du -xh --max-depth=2 {} | sort -h", above.display())
                }
                _ => format!("mount | grep {}", above.display()),
            };
            Finding::problem(name, format!("{shown} cannot be written: {error}"), mend)
        }
    }
}

/// Makes a file and removes it.
fn try_file(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".doctor-{:016x}", rand::random::<u64>()));
    let made = OpenOptions::new().write(true).create_new(true).open(&path);
    made.and_then(|_| fs::remove_file(&path))
}

/// What is free of a file system.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: u64,
    /// `None`: as many as there is space.
    files: Option<u64>,
}

impl Room {
    fn of(found: &Statvfs) -> Room {
        Room {
            bytes: found
                .blocks_available()
                .saturating_mul(found.fragment_size()),
            files: (found.files() > 0).then(|| found.files_available()),
        }
    }
}

fn space(name: &'static str, path: &Path, (least, few): (u64, u64), room: Room) -> Finding {
    // A base system has some ten thousand files.
    let files = if few > 100 * MIB {
        (15_000, 100_000)
    } else {
        (100, 1000)
    };
    let text = format!(
        "{} MiB {}free at {}",
        room.bytes / MIB,
        room.files
            .map_or(String::new(), |files| format!("and {files} inodes ")),
        path.display()
    );
    let mend = format!("du -xh --max-depth=2 {} | sort -h", nearest(path).display());
    let inodes = room.files.unwrap_or(u64::MAX);
    if room.bytes < least || inodes < files.0 {
        Finding::problem(name, format!("only {text}"), mend)
    } else if room.bytes < few || inodes < files.1 {
        Finding::warning(name, format!("only {text}"), mend)
    } else {
        Finding::ok(name, text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn little_space_is_a_warning_and_none_a_problem() {
        let level = |bytes, files| {
            let room = Room { bytes, files };
            space("state.space", Path::new("/"), needed("state"), room).level
        };
        assert_eq!(level(4096 * MIB, None), Level::Ok);
        assert_eq!(level(4096 * MIB, Some(1_000_000)), Level::Ok);
        assert_eq!(level(1024 * MIB, None), Level::Warning);
        assert_eq!(level(4096 * MIB, Some(50_000)), Level::Warning);
        assert_eq!(level(0, None), Level::Problem);
        assert_eq!(level(4096 * MIB, Some(0)), Level::Problem);
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_a_problem() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("cache");
        assert_eq!(writable(true, "cache.writable", &path).level, Level::Ok);
        fs::write(&path, "").unwrap();
        let found = writable(true, "cache.writable", &path);
        assert_eq!(found.level, Level::Problem);
        assert!(found.mend.unwrap().starts_with("mv "));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(writable(true, "cache.writable", &path).level, Level::Ok);
        assert_eq!(path.read_dir().unwrap().count(), 0);
    }
}
