//! The table of keys: what each is called, whether it is obeyed, what it accepts and how it is read.
//!
//! A key is added by a descriptor in the file of its group and, if it says something new, a field
//! of [`Settings`](super::Settings). docs/config.md is written from this table.

mod capabilities;
mod cgroup;
mod console;
mod dev;
mod gone;
mod hooks;
mod ids;
mod include;
mod init;
mod limits;
mod log;
mod mount;
mod namespaces;
mod network;
mod own;
mod rootfs;
mod security;
mod signals;
mod start;
mod uts;
mod value;

pub use cgroup::CgroupDirectories;
pub use console::Console;
pub(super) use dev::DEV_BYTES;
pub use hooks::{Hook, HookKind, Hooks};
pub(super) use init::INIT;
pub use log::Log;
pub use namespaces::{Namespace, Namespaces};
pub use security::Seccomp;
pub use start::Autostart;

use super::effective::Assignment;
use super::settings::Draft;
use crate::name::nearest;

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is read, checked and obeyed.
    Obeyed,
    /// It is read and checked, and there is nothing here that it could act on: why.
    WithoutEffect(&'static str),
    /// A container that has it does not start: "not supported". Only these values, and the empty
    /// one, pass, because they ask for what happens anyway.
    Refused(&'static [&'static str]),
}

/// One key, or all keys of one form.
#[derive(Debug)]
pub struct Key {
    /// The key. In a name `N` stands for a number, and `*` at its end for any rest.
    pub name: &'static str,
    /// What happens to it.
    pub standing: Standing,
    /// What its value looks like.
    pub syntax: &'static str,
    /// What it means, in one line.
    pub meaning: &'static str,
    /// Several lines add up; an empty value forgets those before.
    pub list: bool,
    read: Read,
}

/// Reads a value; the error is the end of a sentence that began with the key.
type Read = fn(&mut Draft, &Assignment) -> Result<(), String>;

/// Keys about one thing.
#[derive(Debug)]
pub struct Group {
    /// The thing.
    pub title: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// All keys.
pub const GROUPS: &[Group] = &[
    Group {
        title: "Files",
        keys: include::KEYS,
    },
    Group {
        title: "Host name and architecture",
        keys: uts::KEYS,
    },
    Group {
        title: "Root file system",
        keys: rootfs::KEYS,
    },
    Group {
        title: "Mounts",
        keys: mount::KEYS,
    },
    Group {
        title: "Users and groups",
        keys: ids::KEYS,
    },
    Group {
        title: "Namespaces and clocks",
        keys: namespaces::KEYS,
    },
    Group {
        title: "Network",
        keys: network::KEYS,
    },
    Group {
        title: "Control groups",
        keys: cgroup::KEYS,
    },
    Group {
        title: "Limits and kernel parameters",
        keys: limits::KEYS,
    },
    Group {
        title: "Capabilities",
        keys: capabilities::KEYS,
    },
    Group {
        title: "Security modules and system calls",
        keys: security::KEYS,
    },
    Group {
        title: "Devices",
        keys: dev::KEYS,
    },
    Group {
        title: "Console and terminals",
        keys: console::KEYS,
    },
    Group {
        title: "Init",
        keys: init::KEYS,
    },
    Group {
        title: "Signals",
        keys: signals::KEYS,
    },
    Group {
        title: "Hooks",
        keys: hooks::KEYS,
    },
    Group {
        title: "Start and life",
        keys: start::KEYS,
    },
    Group {
        title: "Log",
        keys: log::KEYS,
    },
    Group {
        title: "Sampan's own",
        keys: own::KEYS,
    },
    Group {
        title: "Only in LXC 1 and 2",
        keys: gone::KEYS,
    },
];

impl Key {
    /// A key that is obeyed.
    const fn new(
        name: &'static str,
        syntax: &'static str,
        meaning: &'static str,
        read: Read,
    ) -> Key {
        Key {
            name,
            standing: Standing::Obeyed,
            syntax,
            meaning,
            list: false,
            read,
        }
    }

    const fn list(mut self) -> Key {
        self.list = true;
        self
    }

    const fn without_effect(mut self, why: &'static str) -> Key {
        self.standing = Standing::WithoutEffect(why);
        self
    }

    const fn refused(mut self) -> Key {
        self.standing = Standing::Refused(&[]);
        self
    }

    /// Refused, but for values that ask for what happens anyway.
    const fn refused_but(mut self, passing: &'static [&'static str]) -> Key {
        self.standing = Standing::Refused(passing);
        self
    }

    /// What stands for the `*` of its name, if a key is of its form; an exact key has no rest.
    fn rest_of<'a>(&self, key: &'a str) -> Option<&'a str> {
        let (form, open) = match self.name.strip_suffix('*') {
            Some(form) => (form, true),
            None => (self.name, false),
        };
        let Some((before, after)) = form.split_once(".N") else {
            let rest = key.strip_prefix(form)?;
            return (open != rest.is_empty()).then_some(rest);
        };
        let rest = key.strip_prefix(before)?.strip_prefix('.')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let rest = rest[digits..].strip_prefix(after)?;
        (digits > 0 && open != rest.is_empty()).then_some(rest)
    }

    /// Reads an assignment of this key, and refuses it if that is its standing.
    pub(super) fn apply(&self, draft: &mut Draft, line: &Assignment) -> Result<(), String> {
        (self.read)(draft, line)?;
        match self.standing {
            Standing::Refused(passing)
                if !line.value.is_empty() && !passing.contains(&line.value.as_str()) =>
            {
                Err("is not supported".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The descriptor of a key, as written today (not in the words of LXC 1 and 2).
pub fn find(key: &str) -> Option<&'static Key> {
    let all = || GROUPS.iter().flat_map(|group| group.keys);
    // An exact name before a form: `lxc.cgroup.dir` is no controller's file.
    all()
        .find(|known| known.name == key)
        .or_else(|| all().find(|known| known.rest_of(key).is_some()))
}

/// Known keys most like an unknown one.
pub fn nearest_to(key: &str) -> Vec<&'static str> {
    let mut near = nearest(
        key,
        GROUPS
            .iter()
            .flat_map(|group| group.keys)
            .map(|known| known.name),
    );
    near.truncate(2);
    near
}

impl Assignment {
    /// What stands for the `*` of its key.
    fn rest(&self) -> &str {
        find(&self.key)
            .and_then(|known| known.rest_of(&self.key))
            .unwrap_or_default()
    }

    /// The end of a sentence about its value.
    fn wrong(&self, what: &str) -> String {
        format!("= {} {what}", self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_name_or_form() {
        let name = |key| find(key).map(|known| known.name);
        assert_eq!(name("lxc.uts.name"), Some("lxc.uts.name"));
        assert_eq!(name("lxc.prlimit.nofile"), Some("lxc.prlimit.*"));
        assert_eq!(name("lxc.cgroup.dir"), Some("lxc.cgroup.dir"));
        assert_eq!(name("lxc.cgroup.memory.max"), Some("lxc.cgroup.*"));
        assert_eq!(name("lxc.net.12.type"), Some("lxc.net.N.type"));
        for unknown in [
            "lxc.net.type",
            "lxc.uts.name.x",
            "lxc.prlimit.",
            "lxc.",
            "lxc.N",
        ] {
            assert_eq!(name(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn no_two_descriptors_have_one_name() {
        let mut names: Vec<_> = GROUPS
            .iter()
            .flat_map(|group| group.keys)
            .map(|known| known.name)
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
