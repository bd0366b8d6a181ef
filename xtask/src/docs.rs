//! `cargo xtask docs`: docs/config.md from the table of keys.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use sampan_runtime::config::{
    RENAMED,
    keys::{GROUPS, Key, Standing},
};
use xshell::Shell;

use crate::{Result, workspace};

const HEAD: &str = "\
# Configuration

<!-- Written by `cargo xtask docs` from runtime/src/config/keys; a test fails when it is stale. -->

`STATE/NAME/config` is in the syntax of lxc.container.conf(5): lines `key = value`, a `#` at the
beginning of a line for comments. One matching pair of quotes around a value is taken off. Lines that
do not begin with `lxc.` or `sampan.` say nothing. Of a key that holds one value the last line counts;
the lines of a key that holds several (marked *list*) add up. An empty value resets a key.

    sampan config get NAME KEY              the value, or the values
    sampan config set NAME KEY VALUE…       --add keeps the values that are there
    sampan config unset NAME KEY
    sampan config show NAME                 all that counts; --verbose: and from where
    sampan config edit NAME                 in $VISUAL or $EDITOR

A change is checked as a whole before it is written, keeps comments, order and lines of others, and
counts from the next start. What cannot be obeyed is refused with its file, line, key and reason.

Each key is one of

* **obeyed**: read, checked, acted upon;
* **without effect**: read and checked, and there is nothing here that it could act on;
* **not supported**: a container that has it does not start, and the message names the key. An empty
  value passes, and so do the values named, because they ask for what happens anyway.

No key is ignored in silence; one that is in no table below is refused.

## Differences from LXC 5

* A relative path of `lxc.include` counts from the file it stands in. LXC counts it from wherever its
  caller stands. Of a directory the files are read by name; LXC takes them as they come.
* Files that include each other in a circle, more than 16 deep or more than 1000 in all are an error.
* The keys of LXC 1 and 2 are understood (last section), also in included files. LXC 5 refuses them.
* Numbers must be numbers: LXC takes some that are none for 0.
* A bind mount is a slave of the host's mount, as all mounts of LXC's are, whatever its propagation;
  what a guest mounts never shows on the host. Options of a file system are refused for bind mounts,
  where the kernel ignores them. `remount` is refused.
* A mount entry may have a file system only if it shows nothing of the host: tmpfs, proc, sysfs,
  cgroup2, devpts, mqueue.
* An absolute target of a mount must lie in the rootfs, as for LXC; better leave the slash out.
* `lxc.cgroup.*` and `lxc.cgroup2.*` are translated to what the host has, or refused. LXC ignores
  those of the other version.
* `lxc.environment = NAME` without a value is refused: the one who starts a container lends it nothing.
* The guest always has a writable cgroup2 tree of its own, so `lxc.mount.auto = cgroup…` adds nothing.

## Mounts

`lxc.mount.entry`, and each line of the file of `lxc.mount.fstab`, is `SOURCE TARGET TYPE OPTIONS`, with
`\\040` for a blank. The target is relative to the root inside. Options:

| option | meaning |
|---|---|
| `bind`, `rbind` | show a file or directory of the host, and with `rbind` what is mounted below |
| `ro` `rw`, `nosuid` `suid`, `nodev` `dev`, `noexec` `exec`, `nosymfollow` `symfollow` | flags of the mount; of a flag and its opposite the last counts |
| `noatime`, `relatime`, `strictatime`, `atime`, `nodiratime`, `diratime` | times of access |
| `sync`, `dirsync`, `mand`, `lazytime`, `iversion`, `silent`, and their opposites | flags of a file system; not of a bind mount |
| `private`, `slave`, `shared`, `unbindable`, with `r` for all below | propagation, between namespaces made inside |
| `create=dir`, `create=file` | make a missing mount point |
| `optional`, `nofail` | go on without it where it cannot be mounted |
| `relative` | the source is a path inside |
| `idmap=container`, `idmap=PATH` | show the files with the ids of the container, or of that user namespace |
| `defaults`, `auto`, `noauto`, `user`, `nouser`, `users`, `nousers`, `owner`, `noowner`, `group`, `nogroup`, `_netdev`, `x-…`, `comment=…` | for mount(8) itself; nothing here |
| others, as `size=10m` | the file system's own |

";

const LEGACY: &str = "\
## Keys of LXC 1 and 2

Each `lxc.network.type` opens the next network, and the `lxc.network.*` lines after it are about that
one. `config set` changes a line in the words it is written in; LXC 5 starts a container only after
`lxc-update-config`.

| then | now |
|---|---|
";

/// Writes it.
pub fn run(_: &Shell) -> Result {
    let path = path();
    fs::write(&path, config())?;
    println!("wrote {}", shown(&path));
    Ok(())
}

fn path() -> PathBuf {
    workspace().join("docs/config.md")
}

fn shown(path: &Path) -> String {
    let short = path.strip_prefix(workspace()).unwrap_or(path);
    short.display().to_string()
}

fn config() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("## Keys\n");
    for group in GROUPS {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "\n### {}\n\n| key | state | value | meaning |\n|---|---|---|---|",
            group.title
        );
        for key in group.keys {
            text.push_str(&row(key));
        }
    }
    text.push('\n');
    text.push_str(LEGACY);
    for (old, new) in RENAMED {
        let _ = writeln!(text, "| `{old}` | `{new}` |");
    }
    text.push_str(
        "| `lxc.limit.*` | `lxc.prlimit.*` |\n\
         | `lxc.network.*` | `lxc.net.N.*` |\n\
         | `lxc.network.ipv4`, `lxc.network.ipv6` | `lxc.net.N.ipv4.address`, `lxc.net.N.ipv6.address` |\n",
    );
    text
}

fn row(key: &Key) -> String {
    let state = match key.standing {
        Standing::Obeyed => "obeyed".to_owned(),
        Standing::WithoutEffect(why) => format!("without effect: {why}"),
        Standing::Refused([]) => "not supported".to_owned(),
        Standing::Refused(passing) => {
            let passing: Vec<String> = passing.iter().map(|value| format!("`{value}`")).collect();
            format!("not supported, but {}", passing.join(", "))
        }
    };
    let list = if key.list { " *list*" } else { "" };
    format!(
        "| `{}`{list} | {state} | {} | {} |\n",
        key.name,
        cell(key.syntax),
        cell(key.meaning)
    )
}

/// Text in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_of_the_keys_is_what_the_code_says() {
        let written = fs::read_to_string(path()).unwrap_or_default();
        assert!(
            written == config(),
            "docs/config.md is stale: run `cargo xtask docs`"
        );
    }
}
