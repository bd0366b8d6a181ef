//! The numbers of system calls by name.

/// An architecture of system calls. The 32-bit one of arm64 has no table here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    X86_64,
    X32,
    I386,
    Aarch64,
}

/// Those of this machine's kernel.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: &[Abi] = &[Abi::X86_64, Abi::X32, Abi::I386];
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: &[Abi] = &[Abi::Aarch64];

const TABLE: &str = include_str!("syscalls.txt");

/// The table's rows.
pub(super) fn rows() -> impl Iterator<Item = (&'static str, [Option<u32>; 4])> {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?;
            let mut numbers = [None; 4];
            for (number, word) in numbers.iter_mut().zip(words) {
                *number = word.parse().ok();
            }
            Some((name, numbers))
        })
}

/// The number in one architecture.
pub(super) fn number(row: &[Option<u32>; 4], abi: Abi) -> Option<u32> {
    row[match abi {
        Abi::X86_64 => 0,
        Abi::X32 => 1,
        Abi::I386 => 2,
        Abi::Aarch64 => 3,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_c_library_and_is_sorted() {
        let native = |name: &str| {
            let row = rows().find(|(known, _)| *known == name).unwrap().1;
            i64::from(number(&row, NATIVE[0]).unwrap())
        };
        for (name, expected) in [
            ("read", libc::SYS_read),
            ("mount", libc::SYS_mount),
            ("umount2", libc::SYS_umount2),
            ("init_module", libc::SYS_init_module),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("keyctl", libc::SYS_keyctl),
            ("clone3", libc::SYS_clone3),
            ("mount_setattr", libc::SYS_mount_setattr),
        ] {
            assert_eq!(native(name), expected, "{name}");
        }
        let names: Vec<_> = rows().map(|(name, _)| name).collect();
        assert!(names.is_sorted() && names.len() > 400);
    }
}
