//! Which devices a container may use.
//!
//! The rules are version 1's, in both vocabularies, and mean what they mean to that controller
//! (security/device_cgroup.c), in the order in which they stand. Where there is a unified hierarchy
//! they become a BPF program there, also on a hybrid host: root of a privileged container can mount
//! the version 1 hierarchy and lift its own list, but without bpf(2), which is refused to it, not
//! the program.

use super::{Cgroup, Hierarchies, Version};
use crate::error::{Error, Result, Tried};
use crate::sys::bpf::{Instruction, attach_device_program, load};
use std::os::fd::AsFd;

const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const EVERYTHING: u8 = MKNOD | READ | WRITE;

/// Making any node; null, zero, full, random, urandom; tty, console, ptmx; and pseudo-terminals.
const USUAL: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Whether a key of a cgroup file is about devices; then, whether it allows.
pub(super) fn direction(key: &str) -> Option<bool> {
    match key {
        "devices.allow" => Some(true),
        "devices.deny" => Some(false),
        _ => None,
    }
}

/// Rules in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeviceRules {
    given: Vec<(bool, Rule)>,
}

/// `a`, or `c|b MAJOR:MINOR ACCESS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    All,
    Some(Devices),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Devices {
    block: bool,
    /// `None` is any.
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

impl DeviceRules {
    /// For a guest whose root is the host's: it may make any node but open only the usual devices,
    /// as LXC's default has it.
    pub(crate) fn usual() -> DeviceRules {
        let mut rules = DeviceRules::default();
        rules.given.push((false, Rule::All));
        let usual = USUAL.iter().filter_map(|text| Rule::parse(text));
        rules.given.extend(usual.map(|rule| (true, rule)));
        rules
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Appends a rule.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn push(&mut self, allow: bool, text: &str) -> Result<()> {
        let rule = Rule::parse(text).ok_or_else(|| {
            Error::user(format!("\"{text}\" is not a device rule"))
                .with_hint("write \"a\" for all devices, or as \"c 10:229 rwm\": c or b, MAJOR:MINOR (or *), and of r, w and m")
        })?;
        self.given.push((allow, rule));
        Ok(())
    }

    /// Puts them in force.
    pub(crate) fn apply(&self, cgroup: &Cgroup) -> Result<()> {
        let Some(directory) = cgroup.open_unified()? else {
            return self.apply_to_version_1(cgroup);
        };
        let attached = attach_device_program(directory.as_fd(), &self.program());
        match attached {
            Err(_) if has_version_1(&cgroup.hierarchies) => self.apply_to_version_1(cgroup),
            other => other.tried(|| {
                format!(
                    "attach a device program to the cgroup {}",
                    cgroup.name.display()
                )
            }),
        }
    }

    /// Whether the kernel takes such a program at all.
    pub(crate) fn try_loading(&self) -> std::io::Result<()> {
        load(&self.program()).map(drop)
    }

    fn apply_to_version_1(&self, cgroup: &Cgroup) -> Result<()> {
        for (allow, rule) in &self.given {
            let file = if *allow {
                "devices.allow"
            } else {
                "devices.deny"
            };
            cgroup.set(Version::One, file, &rule.to_string())?;
        }
        Ok(())
    }

    /// What is so unless an exception says otherwise, and the exceptions.
    fn folded(&self) -> (bool, Vec<Devices>) {
        let (mut allowed, mut exceptions) = (true, Vec::<Devices>::new());
        for (allow, rule) in &self.given {
            match rule {
                Rule::All => {
                    allowed = *allow;
                    exceptions.clear();
                }
                // Back to what is so anyway: only an exception for the very same devices goes.
                Rule::Some(devices) if *allow == allowed => {
                    for known in &mut exceptions {
                        if known.same_devices(devices) {
                            known.access &= !devices.access;
                        }
                    }
                    exceptions.retain(|known| known.access != 0);
                }
                Rule::Some(devices) => {
                    match exceptions.iter_mut().find(|k| k.same_devices(devices)) {
                        Some(known) => known.access |= devices.access,
                        None => exceptions.push(*devices),
                    }
                }
            }
        }
        (allowed, exceptions)
    }

    fn program(&self) -> Vec<Instruction> {
        let (allowed, exceptions) = self.folded();
        // r2 the kind, r3 the access, r4 and r5 the numbers (struct bpf_cgroup_dev_ctx).
        let mut program = vec![
            load_word(2, 0),
            copy(3, 2),
            operate(AND, 2, 0xffff),
            operate(SHIFT_RIGHT, 3, 16),
            load_word(4, 4),
            load_word(5, 8),
        ];
        for exception in exceptions {
            program.extend(exception.block(!allowed));
        }
        program.extend(answer(allowed));
        program
    }
}

fn has_version_1(hierarchies: &Hierarchies) -> bool {
    matches!(hierarchies.find("devices"), Some((_, Version::One)))
}

impl Rule {
    fn parse(text: &str) -> Option<Rule> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (kind, numbers, access) = match words[..] {
            ["a"] => return Some(Rule::All),
            // As the kernel: the rest of such a rule says nothing.
            ["a", "*:*", access] if !access.is_empty() => return Some(Rule::All),
            [kind, numbers, access] => (kind, numbers, access),
            _ => return None,
        };
        let (major, minor) = numbers.split_once(':')?;
        let number = |word: &str| match word {
            "*" => Some(None),
            // The kernel has 12 bits for the one and 20 for the other.
            _ => word.parse::<u32>().ok().filter(|n| *n < 1 << 20).map(Some),
        };
        let mut bits = 0;
        for letter in access.chars() {
            bits |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return None,
            };
        }
        Some(Rule::Some(Devices {
            block: match kind {
                "b" => true,
                "c" => false,
                _ => return None,
            },
            major: number(major)?,
            minor: number(minor)?,
            access: bits,
        }))
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Rule::Some(devices) = self else {
            return f.write_str("a");
        };
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        write!(
            f,
            "{} {}:{} ",
            if devices.block { 'b' } else { 'c' },
            number(devices.major),
            number(devices.minor)
        )?;
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            if devices.access & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl Devices {
    fn same_devices(&self, other: &Devices) -> bool {
        (self.block, self.major, self.minor) == (other.block, other.major, other.minor)
    }

    /// Answers `allow` where this matches: to be allowed, everything that is wanted must be; to be
    /// denied, any of it.
    fn block(&self, allow: bool) -> Vec<Instruction> {
        let answer = answer(allow);
        let mut tests = vec![(JUMP_UNLESS_EQUAL, 2, if self.block { 1 } else { 2 })];
        tests.extend(self.major.map(|major| (JUMP_UNLESS_EQUAL, 4, major as i32)));
        tests.extend(self.minor.map(|minor| (JUMP_UNLESS_EQUAL, 5, minor as i32)));
        let access = if allow {
            (EVERYTHING & !self.access, JUMP_UNLESS_EQUAL)
        } else {
            (self.access, JUMP_IF_EQUAL)
        };
        // Over the rest of the tests, the two that make the access's operand, and the answer.
        let mut left = tests.len() + 2 + 1 + answer.len();
        let mut block = Vec::new();
        for (code, register, value) in tests {
            left -= 1;
            block.push(jump(code, register, value, left as i16));
        }
        block.push(copy(0, 3));
        block.push(operate(AND, 0, i32::from(access.0)));
        block.push(jump(access.1, 0, 0, answer.len() as i16));
        block.extend(answer);
        block
    }
}

const LOAD_WORD: u8 = 0x61;
const COPY: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

fn load_word(register: u8, offset: i16) -> Instruction {
    instruction(LOAD_WORD, register | 1 << 4, offset, 0)
}

fn copy(to: u8, from: u8) -> Instruction {
    instruction(COPY, to | from << 4, 0, 0)
}

fn operate(code: u8, register: u8, value: i32) -> Instruction {
    instruction(code, register, 0, value)
}

fn jump(code: u8, register: u8, value: i32, offset: i16) -> Instruction {
    instruction(code, register, offset, value)
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        operate(SET, 0, i32::from(allow)),
        instruction(EXIT, 0, 0, 0),
    ]
}

fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers,
        offset,
        immediate,
    }
}

#[cfg(test)]
#[path = "devices_tests.rs"]
mod tests;
