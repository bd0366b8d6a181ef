//! Options of a mount: those of mount(8) that every file system has, and LXC's own.

use std::path::PathBuf;

/// Options, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// It shows a directory or file that is there already.
    pub bind: bool,
    /// A bind mount of what is mounted below, too.
    pub recursive: bool,
    /// `MOUNT_ATTR_*` to set.
    pub attributes: u64,
    /// `MOUNT_ATTR_*` to clear before.
    pub clear: u64,
    /// Whether what is mounted below it later is seen elsewhere.
    pub propagation: Option<Propagation>,
    /// The file system's own options, and flags that belong to all of it.
    pub data: Vec<(String, Option<String>)>,
    /// `create=dir` or `create=file`: make a missing mount point.
    pub create: Option<Create>,
    /// A failure is no error.
    pub optional: bool,
    /// The source is relative to the container's root.
    pub relative: bool,
    /// `idmap=`: whose ids the files are shown with.
    pub id_map: Option<MountIds>,
}

/// What to make when a mount point is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// Whose ids an idmapped mount has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountIds {
    /// `idmap=container`: those of the container.
    Container,
    /// `idmap=PATH`: those of this user namespace.
    Namespace(PathBuf),
}

/// `private`, `rslave` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// How.
    pub kind: PropagationKind,
    /// Also of what is mounted below.
    pub recursive: bool,
}

/// mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationKind {
    /// Nothing is passed on.
    Private,
    /// What the host mounts there is seen inside.
    Slave,
    /// It is passed on to namespaces made inside; never to the host.
    Shared,
    /// As private, and it cannot be bound again.
    Unbindable,
}

/// `MOUNT_ATTR__ATIME` of linux/mount.h: the bits that hold one of three values.
const ACCESS_TIMES: u64 = 0x70;

/// `MOUNT_ATTR_NOSYMFOLLOW` of linux/mount.h.
const NO_SYMBOLIC_LINKS: u64 = 0x0020_0000;

impl MountOptions {
    /// Reads a list with commas.
    ///
    /// # Errors
    /// The option that is not supported, as the end of a sentence.
    pub(super) fn parse(text: &str) -> Result<MountOptions, String> {
        let mut options = MountOptions::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            if !(options.flag(word) || options.propagate(word) || options.container(word)?) {
                options.other(word);
            }
        }
        if options.bind {
            options.check_bind()?;
        } else if options.id_map.is_some() {
            return Err("has the option \"idmap\", which is for bind mounts only".to_owned());
        }
        Ok(options)
    }

    /// A flag of the mount.
    fn flag(&mut self, word: &str) -> bool {
        let (positive, name) = match word.strip_prefix("no") {
            Some(name) => (false, name),
            None => (true, word),
        };
        let attribute = match name {
            "suid" => libc::MOUNT_ATTR_NOSUID,
            "dev" => libc::MOUNT_ATTR_NODEV,
            "exec" => libc::MOUNT_ATTR_NOEXEC,
            "diratime" => libc::MOUNT_ATTR_NODIRATIME,
            "symfollow" => NO_SYMBOLIC_LINKS,
            _ => return self.other_flag(word),
        };
        self.switch(attribute, !positive);
        true
    }

    fn other_flag(&mut self, word: &str) -> bool {
        match word {
            "defaults" => {}
            "ro" => self.switch(libc::MOUNT_ATTR_RDONLY, true),
            "rw" => self.switch(libc::MOUNT_ATTR_RDONLY, false),
            "noatime" => self.access_times(Some(libc::MOUNT_ATTR_NOATIME)),
            "relatime" => self.access_times(Some(libc::MOUNT_ATTR_RELATIME)),
            "strictatime" => self.access_times(Some(libc::MOUNT_ATTR_STRICTATIME)),
            "atime" | "norelatime" | "nostrictatime" => self.access_times(None),
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            // For mount(8) itself: who may mount it, and when.
            "auto" | "noauto" | "user" | "nouser" | "users" | "nousers" | "owner" | "noowner"
            | "group" | "nogroup" | "_netdev" => {}
            _ if word.starts_with("x-") || word.starts_with("comment=") => {}
            _ => return false,
        }
        true
    }

    /// `shared`, `rprivate` and so on.
    fn propagate(&mut self, word: &str) -> bool {
        let (recursive, name) = match word.strip_prefix('r') {
            Some(name) => (true, name),
            None => (false, word),
        };
        let kind = match name {
            "private" => PropagationKind::Private,
            "slave" => PropagationKind::Slave,
            "shared" => PropagationKind::Shared,
            "unbindable" => PropagationKind::Unbindable,
            _ => return false,
        };
        self.propagation = Some(Propagation { kind, recursive });
        true
    }

    /// What LXC adds.
    fn container(&mut self, word: &str) -> Result<bool, String> {
        match word {
            "create=dir" => self.create = Some(Create::Directory),
            "create=file" => self.create = Some(Create::File),
            "optional" | "nofail" => self.optional = true,
            "relative" => self.relative = true,
            "remount" => {
                return Err(
                    "has the option \"remount\", which is not supported; give its flags to the entry that mounts it"
                        .to_owned(),
                );
            }
            _ => match word.split_once('=') {
                Some(("create", _)) => {
                    return Err(format!(
                        "has \"{word}\", which is neither create=dir nor create=file"
                    ));
                }
                Some(("idmap", "container")) => self.id_map = Some(MountIds::Container),
                Some(("idmap", path)) if path.starts_with('/') => {
                    self.id_map = Some(MountIds::Namespace(PathBuf::from(path)));
                }
                Some(("idmap", _)) => {
                    return Err(format!(
                        "has \"{word}\", which is neither idmap=container nor the path of a user namespace"
                    ));
                }
                _ => return Ok(false),
            },
        }
        Ok(true)
    }

    /// An option of the file system, or a flag of all of it: the kernel understands both alike.
    fn other(&mut self, word: &str) {
        let opposite = match word {
            "async" | "nosync" => Some("sync"),
            "nodirsync" => Some("dirsync"),
            "nomand" => Some("mand"),
            "nolazytime" => Some("lazytime"),
            "noiversion" => Some("iversion"),
            "loud" => Some("silent"),
            _ => None,
        };
        if let Some(opposite) = opposite {
            self.data.retain(|(key, _)| key != opposite);
            return;
        }
        self.data.push(match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        });
    }

    fn switch(&mut self, attribute: u64, on: bool) {
        if on {
            self.attributes |= attribute;
        } else {
            self.attributes &= !attribute;
        }
    }

    fn access_times(&mut self, value: Option<u64>) {
        self.attributes &= !ACCESS_TIMES;
        self.clear = 0;
        if let Some(value) = value {
            self.attributes |= value;
            self.clear = ACCESS_TIMES;
        }
    }

    fn check_bind(&self) -> Result<(), String> {
        if let Some((key, _)) = self.data.first() {
            return Err(format!(
                "has the option \"{key}\", which is not supported for bind mounts"
            ));
        }
        if self.relative && self.id_map.is_some() {
            return Err("has both \"relative\" and \"idmap\", which is not supported".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MountOptions {
        MountOptions::parse(text).unwrap()
    }

    #[test]
    fn of_a_flag_and_its_opposite_the_last_counts() {
        assert_eq!(
            parse("nosuid,suid,rw,ro").attributes,
            libc::MOUNT_ATTR_RDONLY
        );
        let all = parse("bind,nosuid,nodev,noexec,nodiratime,nosymfollow,ro");
        let none = parse(
            "bind,nosuid,nodev,noexec,nodiratime,nosymfollow,ro,suid,dev,exec,diratime,symfollow,rw",
        );
        assert_eq!(all.attributes.count_ones(), 6);
        assert_eq!((none.attributes, none.clear), (0, 0));
        let times = parse("noatime,strictatime");
        assert_eq!(times.attributes, libc::MOUNT_ATTR_STRICTATIME);
        assert_eq!(times.clear, ACCESS_TIMES);
        // Its value is zero: it must be said by clearing the others.
        assert_eq!(
            (parse("relatime").attributes, parse("relatime").clear),
            (0, ACCESS_TIMES)
        );
        assert_eq!(parse("noatime,atime").clear, 0);
        assert_eq!(parse("sync,dirsync,lazytime,async").data.len(), 2);
    }

    #[test]
    fn propagation_has_a_kind_and_a_depth() {
        for (word, kind, recursive) in [
            ("private", PropagationKind::Private, false),
            ("rslave", PropagationKind::Slave, true),
            ("shared", PropagationKind::Shared, false),
            ("runbindable", PropagationKind::Unbindable, true),
        ] {
            let propagation = parse(&format!("bind,{word}")).propagation;
            assert_eq!(propagation, Some(Propagation { kind, recursive }), "{word}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (text, named) in [
            ("bind,remount,ro", "remount"),
            ("bind,size=3", "size"),
            ("bind,sync", "sync"),
            ("bind,create=fifo", "create=fifo"),
            ("bind,idmap=relative/path", "idmap=relative/path"),
            ("bind,relative,idmap=container", "idmap"),
            ("size=1m,idmap=container", "idmap"),
        ] {
            let error = MountOptions::parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_list_makes_the_parser_panic(text in "([a-z=/]{0,9},?){0,9}|.*") {
            let _ = MountOptions::parse(&text);
        }
    }
}
