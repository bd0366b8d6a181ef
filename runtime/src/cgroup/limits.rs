//! Putting limits in force.

use std::fs;
use std::io;

use super::Cgroup;
use super::devices::{self, DeviceRules};
use super::keys::{self, Others, Version, Wanted, Write};
use crate::config::CgroupSetting;
use crate::error::{Error, Result};

const MEMORY_1: &str = "memory.limit_in_bytes";
const MEMORY_AND_SWAP_1: &str = "memory.memsw.limit_in_bytes";

/// A file of a config's vocabulary, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Whether the host has its controller in version 2.
    pub(crate) version_2: bool,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// What was in force before a change.
#[derive(Debug)]
#[must_use]
pub(crate) struct Undo(Vec<Write>);

impl Cgroup {
    /// Everything that a config asks for, before a container starts. `privileged`: device rules
    /// begin with a list that holds the usual devices only.
    pub(crate) fn apply(&self, settings: &[CgroupSetting], privileged: bool) -> Result<()> {
        let mut rules = if privileged {
            DeviceRules::usual()
        } else {
            DeviceRules::default()
        };
        let wanted: Vec<Wanted<'_>> = settings.iter().map(wanted_of).collect();
        let mut writes = Vec::new();
        for (setting, one) in settings.iter().zip(&wanted) {
            let place =
                |error: Error| error.wrap(format!("could not set the limit of {}", setting.place));
            if let Some(allow) = devices::direction(&setting.key) {
                rules.push(allow, &setting.value).map_err(place)?;
                continue;
            }
            let translated =
                keys::translate(&self.hierarchies, *one, Others(&wanted)).map_err(place)?;
            writes.extend(translated.into_iter().map(|write| (write, setting)));
        }
        // Memory and swap together can be no less than memory alone.
        writes.sort_by_key(|(write, _)| write.file == MEMORY_AND_SWAP_1);
        for (write, setting) in &writes {
            self.write(write).map_err(|error| {
                error.wrap(format!("could not set the limit of {}", setting.place))
            })?;
        }
        if rules.is_empty() {
            return Ok(());
        }
        rules.apply(self)
    }

    /// Sets a key of one version's vocabulary on the hierarchy that has its controller.
    pub(crate) fn set(&self, version: Version, key: &str, value: &str) -> Result<()> {
        let wanted = Wanted {
            version,
            key,
            value,
        };
        for write in keys::translate(&self.hierarchies, wanted, Others(&[]))? {
            self.write(&write)?;
        }
        Ok(())
    }

    /// Changes limits of a running container: all of them or none.
    pub(crate) fn change(&self, wanted: &[Wanted<'_>]) -> Result<Undo> {
        let mut writes = Vec::new();
        for one in wanted {
            writes.extend(keys::translate(&self.hierarchies, *one, Others(wanted))?);
        }
        let undo = Undo(
            writes
                .iter()
                .filter_map(|write| self.before(write))
                .collect(),
        );
        match self.write_all(&writes) {
            Ok(()) => Ok(undo),
            Err(error) => {
                // The error that counts is the first one.
                let _ = self.undo(undo);
                Err(error)
            }
        }
    }

    /// Puts back what was in force.
    pub(crate) fn undo(&self, undo: Undo) -> Result<()> {
        self.write_all(&undo.0)
    }

    /// For each of the wanted, the lines that say the same in the words of the version that this
    /// host has.
    pub(crate) fn lines(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Vec<Line>>> {
        let unified = self.hierarchies.unified.as_ref();
        wanted
            .iter()
            .map(|one| {
                let writes = keys::translate(&self.hierarchies, *one, Others(wanted))?;
                let line = |write: Write| Line {
                    version_2: unified.is_some_and(|unified| unified.root == write.root),
                    key: write.file,
                    value: write.value,
                };
                Ok(writes.into_iter().map(line).collect())
            })
            .collect()
    }

    /// The version in which the host has a controller.
    pub(crate) fn version_of(&self, controller: &str) -> Option<Version> {
        Some(self.find(controller)?.1)
    }

    /// What lifts a limit of processors: all that the cgroup above has.
    pub(crate) fn every_cpu(&self) -> String {
        match self.find("cpuset") {
            Some((directory, Version::One)) => {
                let above = directory.parent().unwrap_or(&directory).join("cpuset.cpus");
                fs::read_to_string(above)
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            }
            _ => String::new(),
        }
    }

    /// Whether the cgroup has a file of a controller.
    pub(crate) fn has(&self, controller: &str, file: &str) -> bool {
        self.find(controller)
            .is_some_and(|(directory, _)| directory.join(file).exists())
    }

    /// Of two limits that bound each other the one that is in the way is set first.
    fn write_all(&self, writes: &[Write]) -> Result<()> {
        let mut later = Vec::new();
        for write in writes {
            match self.try_write(write) {
                Err(e) if write.file == MEMORY_1 && e.raw_os_error() == Some(libc::EINVAL) => {
                    later.push(write);
                }
                other => other.map_err(|e| self.failure(write, e))?,
            }
        }
        later.into_iter().try_for_each(|write| self.write(write))
    }

    fn write(&self, write: &Write) -> Result<()> {
        self.try_write(write).map_err(|e| self.failure(write, e))
    }

    fn try_write(&self, write: &Write) -> io::Result<()> {
        let file = write.root.join(&self.name).join(&write.file);
        // Nothing would be written at all.
        let value = if write.value.is_empty() {
            "\n"
        } else {
            &write.value
        };
        fs::write(&file, value)
    }

    fn failure(&self, write: &Write, e: io::Error) -> Error {
        let Write { root, file, value } = write;
        let hint = match e.raw_os_error() {
            Some(libc::EBUSY) if file.starts_with("memory.") => Some(format!(
                "the container uses {} bytes of memory now, and the kernel cannot take back enough of it; stop something inside, or choose a higher limit",
                self.memory().unwrap_or(0)
            )),
            Some(libc::ENOENT) if file.contains("weight") => Some(
                "the scheduler of this host's disks knows no weights; limit bytes instead: io-max=DEVICE:rbps=…".to_owned(),
            ),
            Some(libc::ENOENT | libc::EOPNOTSUPP) => {
                Some("this kernel was built, or started, without that limit".to_owned())
            }
            Some(libc::ENODEV) => Some(
                "the device must be a whole disk, as \"8:0\"; see `lsblk`".to_owned(),
            ),
            Some(libc::EINVAL | libc::ERANGE | libc::ENOSPC | libc::EACCES) if file.starts_with("cpuset.") => {
                let online = fs::read_to_string("/sys/devices/system/cpu/online");
                Some(format!(
                    "the processors of this host are {}",
                    online.unwrap_or_default().trim()
                ))
            }
            Some(libc::EINVAL) => Some(format!("the kernel does not accept this value for {file}")),
            _ => None,
        };
        let path = root.join(&self.name).join(file);
        let error = Error::os(
            format!("could not write \"{value}\" to {}", path.display()),
            e,
        );
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// What to write to have what is in force now. `None` where the file is not there to be read.
    fn before(&self, write: &Write) -> Option<Write> {
        let text = fs::read_to_string(write.root.join(&self.name).join(&write.file)).ok()?;
        let per_device = write.file == "io.max" || write.file.ends_with("_device");
        let value = if per_device {
            let device = write.value.split(' ').next()?;
            let known = text
                .lines()
                .find(|line| line.split(' ').next() == Some(device));
            match known {
                Some(line) => line.to_owned(),
                None if write.file == "io.max" => {
                    format!("{device} rbps=max wbps=max riops=max wiops=max")
                }
                None => format!("{device} 0"),
            }
        } else {
            text.trim().to_owned()
        };
        Some(Write {
            value,
            ..write.clone()
        })
    }
}

fn wanted_of(setting: &CgroupSetting) -> Wanted<'_> {
    Wanted {
        version: if setting.version_2 {
            Version::Two
        } else {
            Version::One
        },
        key: &setting.key,
        value: &setting.value,
    }
}
