//! Whether this machine can run programs of an architecture.
//!
//! The kernel hands foreign programs to the interpreters in binfmt_misc
//! (Documentation/admin-guide/binfmt-misc.rst). Only one that it opened when it was registered,
//! flag `F`, can be had from within the sandbox, where no emulator is.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    errno::Errno,
    sys::memfd::{MFdFlags, memfd_create},
};
use sampan_core::{ErrorKind, TemplateError};

use crate::options::machine_arch;

/// Where the kernel lists the interpreters.
const BINFMT_MISC: &str = "/proc/sys/fs/binfmt_misc";

/// What Debian registers its emulators with.
const PACKAGES: &str = "install qemu-user-binfmt (before Debian 13: qemu-user-static and \
                        binfmt-support), or build for the machine's own architecture";

/// Why programs of `arch` do not run here, if they do not.
///
/// An architecture that is not known here counts as one that runs: its first program tells.
pub(crate) fn obstacle(arch: &str) -> Option<TemplateError> {
    look(arch, Path::new(BINFMT_MISC), |header| {
        // What cannot be tried counts as what runs, too.
        header.is_taken().unwrap_or(true)
    })
}

/// `is_taken` says whether anything takes a program with such a header, where no interpreters are
/// listed in `binfmt_misc`.
fn look(
    arch: &str,
    binfmt_misc: &Path,
    is_taken: impl FnOnce(&Header) -> bool,
) -> Option<TemplateError> {
    if runs_natively(arch, machine_arch()) {
        return None;
    }
    let header = Header::of(arch)?;
    let cannot = |why: String| {
        let message = format!("this machine cannot run programs of {arch}: {why}");
        TemplateError::new(ErrorKind::Unsupported, message)
    };
    let none = || {
        cannot("no emulator for them is registered with binfmt_misc".to_owned()).with_hint(PACKAGES)
    };
    // Within a container the interpreters work, but the list may not be mounted.
    if !binfmt_misc.join("status").exists() {
        return (!is_taken(&header)).then(none);
    }
    if !is_enabled(&read(&binfmt_misc.join("status"))) {
        let status = binfmt_misc.join("status");
        let why = format!("binfmt_misc is switched off in {}", status.display());
        let hint = format!("switch it on: echo 1 > {}", status.display());
        return Some(cannot(why).with_hint(hint));
    }
    let mut outside = None;
    for entry in std::fs::read_dir(binfmt_misc)
        .into_iter()
        .flatten()
        .flatten()
    {
        let Some(entry) = Entry::parse(&read(&entry.path())) else {
            continue;
        };
        if !entry.matches(&header.0) {
            continue;
        }
        if entry.opened {
            return None;
        }
        outside = Some(entry.interpreter);
    }
    Some(match outside {
        Some(interpreter) => cannot(format!(
            "{interpreter} is registered with binfmt_misc without the flag F, so that it is looked \
             for in the guest, where it is not"
        ))
        .with_hint(format!("register it with the flag F: {PACKAGES}")),
        None => none(),
    })
}

/// Few kernels and processors run no programs of 32 bits; there the first program tells.
fn runs_natively(arch: &str, machine: &str) -> bool {
    arch == machine
        || matches!(
            (machine, arch),
            ("amd64", "i386") | ("arm64", "armhf" | "armel")
        )
}

fn read(path: &Path) -> String {
    // An entry that is gone meanwhile matches nothing.
    std::fs::read_to_string(path).unwrap_or_default()
}

fn is_enabled(text: &str) -> bool {
    text.lines().next() == Some("enabled")
}

/// The first bytes of a program, as far as interpreters are chosen by them.
struct Header([u8; 20]);

impl Header {
    /// A program of `arch` (elf(5)): class and byte order, ET_EXEC, machine.
    fn of(arch: &str) -> Option<Self> {
        let (bits, little, machine): (u8, bool, u16) = match arch {
            "i386" => (32, true, 3),
            "armhf" | "armel" => (32, true, 40),
            "s390x" => (64, false, 22),
            "ppc64el" => (64, true, 21),
            "amd64" => (64, true, 62),
            "mips64el" => (64, true, 8),
            "arm64" => (64, true, 183),
            "riscv64" => (64, true, 243),
            "loong64" => (64, true, 258),
            _ => return None,
        };
        let bytes = |value: u16| match little {
            true => value.to_le_bytes(),
            false => value.to_be_bytes(),
        };
        let mut header = [0; 20];
        header[..4].copy_from_slice(b"\x7fELF");
        header[4] = if bits == 64 { 2 } else { 1 };
        header[5] = if little { 1 } else { 2 };
        header[6] = 1;
        header[16..18].copy_from_slice(&bytes(2));
        header[18..].copy_from_slice(&bytes(machine));
        Some(Self(header))
    }

    /// Whether the kernel has anything that takes such a program: starts one that is nothing but a
    /// header. The machine's own loader refuses it, an emulator starts and gives it up.
    fn is_taken(&self) -> io::Result<bool> {
        let program = File::from(memfd_create(c"sampan-foreign", MFdFlags::MFD_CLOEXEC)?);
        (&program).write_all(&self.0)?;
        // The kernel loads at least as much as the largest header.
        program.set_len(4096)?;
        let path = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        // Nothing is run that is open for writing.
        let read_only = File::open(path(&program))?;
        drop(program);
        let child = Command::new(path(&read_only))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(mut child) => {
                child.wait()?;
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(Errno::ENOEXEC as i32) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// One enabled interpreter.
struct Entry {
    interpreter: String,
    /// Flag F.
    opened: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Option<Vec<u8>>,
}

impl Entry {
    /// What an entry's file says; `None` when it is switched off or goes by file names.
    fn parse(text: &str) -> Option<Self> {
        if !is_enabled(text) {
            return None;
        }
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        Some(Self {
            interpreter: value("interpreter")?.to_owned(),
            opened: value("flags:").is_some_and(|flags| flags.contains('F')),
            offset: value("offset")?.parse().ok()?,
            magic: bytes(value("magic")?)?,
            mask: match value("mask") {
                Some(mask) => Some(bytes(mask)?),
                None => None,
            },
        })
    }

    fn matches(&self, header: &[u8]) -> bool {
        let mask = |at: usize| match &self.mask {
            Some(mask) => mask.get(at).copied().unwrap_or(0),
            None => 0xff,
        };
        header.get(self.offset..).is_some_and(|header| {
            header.len() >= self.magic.len()
                && self
                    .magic
                    .iter()
                    .zip(header)
                    .enumerate()
                    .all(|(at, (magic, byte))| (magic ^ byte) & mask(at) == 0)
        })
    }
}

/// Bytes from pairs of hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An architecture that is foreign to every machine that runs these tests.
    const FOREIGN: &str = "s390x";
    const S390X: &str = "enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: POF\noffset 0\n\
                         magic 7f454c4602020100000000000000000000020016\n\
                         mask ffffffffffffff00fffffffffffffffffffeffff\n";

    fn kernel(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text);
        write("status", "enabled\n").unwrap();
        write("register", "").unwrap();
        for (name, text) in entries {
            write(name, text).unwrap();
        }
        directory
    }

    fn told(entries: &[(&str, &str)]) -> Option<(String, String)> {
        let error = look(FOREIGN, kernel(entries).path(), |_| unreachable!())?;
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let hint = error.hint().unwrap_or_default().to_owned();
        Some((error.message().to_owned(), hint))
    }

    #[test]
    fn the_machines_own_programs_need_no_emulator() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(look(machine_arch(), nowhere, |_| false), None);
        assert!(runs_natively("i386", "amd64"));
        assert!(runs_natively("armhf", "arm64"));
        assert!(!runs_natively("amd64", "i386"));
    }

    #[test]
    fn an_emulator_that_the_kernel_holds_open_will_do() {
        assert_eq!(told(&[("qemu-s390x", S390X)]), None);
    }

    #[test]
    fn without_an_emulator_it_says_what_to_install() {
        let of_another = S390X.replace("0016", "0017");
        let off = S390X.replace("enabled", "disabled");
        let by_name = "enabled\ninterpreter /usr/bin/jar\nflags: \nextension .jar\n";
        for entries in [
            &[][..],
            &[("another", of_another.as_str())],
            &[("off", off.as_str())],
            &[("jar", by_name)],
        ] {
            let (message, hint) = told(entries).unwrap();
            assert!(message.contains("no emulator"), "{message}");
            assert!(
                hint.contains("qemu-user-static and binfmt-support"),
                "{hint}"
            );
            assert!(hint.contains("qemu-user-binfmt"), "{hint}");
        }
    }

    #[test]
    fn where_no_list_is_mounted_a_program_is_tried() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(look(FOREIGN, nowhere, |_| true), None);
        let error = look(FOREIGN, nowhere, |_| false).unwrap();
        assert!(error.message().contains("no emulator"), "{error:?}");
        // No machine and no emulator takes this one.
        let mut nobodys = Header::of(FOREIGN).unwrap();
        nobodys.0[18..].copy_from_slice(&[0xfe, 0xfe]);
        assert!(!nobodys.is_taken().unwrap());
    }

    #[test]
    fn an_emulator_that_the_guest_would_need_to_hold_is_named() {
        let (message, _) = told(&[("qemu-s390x", &S390X.replace("POF", "PO"))]).unwrap();
        assert!(message.contains("/usr/bin/qemu-s390x-static"), "{message}");
        assert!(message.contains("flag F"), "{message}");
    }

    #[test]
    fn a_switched_off_binfmt_misc_is_told_apart() {
        let kernel = kernel(&[("qemu-s390x", S390X)]);
        std::fs::write(kernel.path().join("status"), "disabled\n").unwrap();
        let error = look(FOREIGN, kernel.path(), |_| true).unwrap();
        assert!(error.message().contains("switched off"), "{error:?}");
    }

    #[test]
    fn an_endless_or_odd_magic_matches_nothing_and_breaks_nothing() {
        for magic in ["7", "zz", "\u{e4}\u{e4}", &"7f".repeat(300)] {
            let odd = S390X.replace("7f454c4602020100000000000000000000020016", magic);
            assert!(told(&[("odd", &odd)]).is_some(), "{magic}");
        }
    }
}
