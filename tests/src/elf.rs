//! Tiny static programs, written byte by byte: no compiler makes one for each ABI of a kernel.

use std::{os::unix::fs::PermissionsExt, path::Path};

/// By which entry a program calls the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abi {
    /// `syscall` of a 64-bit program.
    Amd64,
    /// The same with the bit of the x32 ABI in the number.
    X32,
    /// `int 0x80` of a 32-bit program.
    I386,
}

/// Where the file is in memory.
const BASE: u32 = 0x0040_0000;

/// Writes a program that makes one system call, every argument of it -1, and exits with its errno
/// (0 if it succeeds).
pub fn write_caller(path: &Path, abi: Abi, number: u32) {
    write(path, abi, &caller(abi, number));
}

/// Writes a program that exits with this code.
pub fn write_exit(path: &Path, abi: Abi, code: u8) {
    let code = match abi {
        // mov edi, code; mov eax, 60; syscall
        Abi::Amd64 | Abi::X32 => [&[0xbf, code, 0, 0, 0, 0xb8, 60, 0, 0, 0][..], &[0x0f, 0x05]],
        // mov ebx, code; mov eax, 1; int 0x80
        Abi::I386 => [&[0xbb, code, 0, 0, 0, 0xb8, 1, 0, 0, 0][..], &[0xcd, 0x80]],
    };
    write(path, abi, &code.concat());
}

fn caller(abi: Abi, number: u32) -> Vec<u8> {
    let number = if abi == Abi::X32 {
        number | 0x4000_0000
    } else {
        number
    };
    let load = [&[0xb8][..], &number.to_le_bytes()].concat();
    match abi {
        Abi::Amd64 | Abi::X32 => [
            // or rdi, -1; or rsi, -1; or rdx, -1; or r10, -1; or r8, -1; or r9, -1
            &[0x48, 0x83, 0xcf, 0xff, 0x48, 0x83, 0xce, 0xff][..],
            &[0x48, 0x83, 0xca, 0xff, 0x49, 0x83, 0xca, 0xff],
            &[0x49, 0x83, 0xc8, 0xff, 0x49, 0x83, 0xc9, 0xff],
            &load,
            // syscall; mov edi, eax; neg edi; cmovs edi, zero
            &[
                0x0f, 0x05, 0x89, 0xc7, 0x31, 0xc9, 0xf7, 0xdf, 0x0f, 0x48, 0xf9,
            ],
            // mov eax, 60; syscall
            &[0xb8, 60, 0, 0, 0, 0x0f, 0x05],
        ]
        .concat(),
        Abi::I386 => [
            // or ebx, -1; or ecx, -1; or edx, -1; or esi, -1; or edi, -1; or ebp, -1
            &[0x83, 0xcb, 0xff, 0x83, 0xc9, 0xff, 0x83, 0xca, 0xff][..],
            &[0x83, 0xce, 0xff, 0x83, 0xcf, 0xff, 0x83, 0xcd, 0xff],
            &load,
            // int 0x80; mov ebx, eax; xor ecx, ecx; neg ebx; cmovs ebx, ecx
            &[
                0xcd, 0x80, 0x89, 0xc3, 0x31, 0xc9, 0xf7, 0xdb, 0x0f, 0x48, 0xd9,
            ],
            // mov eax, 1; int 0x80
            &[0xb8, 1, 0, 0, 0, 0xcd, 0x80],
        ]
        .concat(),
    }
}

/// elf(5): a header, one segment that is the whole file, and the code.
fn write(path: &Path, abi: Abi, code: &[u8]) {
    let wide = abi != Abi::I386;
    let (header, segment) = if wide { (64u16, 56u16) } else { (52, 32) };
    let start = u32::from(header + segment);
    let size = start + code.len() as u32;
    let word = |n: u32| match wide {
        true => u64::from(n).to_le_bytes().to_vec(),
        false => n.to_le_bytes().to_vec(),
    };
    let (class, machine) = if wide { (2, 62u16) } else { (1, 3) };
    let mut file = vec![0x7f, b'E', b'L', b'F', class, 1, 1];
    file.resize(16, 0);
    file.extend(2u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend(word(BASE + start));
    file.extend(word(u32::from(header)));
    file.extend(word(0));
    file.extend(0u32.to_le_bytes());
    for number in [header, segment, 1, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    // Readable and executable.
    let (load, flags) = (1u32.to_le_bytes(), 5u32.to_le_bytes());
    file.extend(load);
    if wide {
        file.extend(flags);
    }
    for number in [0, BASE, BASE, size, size] {
        file.extend(word(number));
    }
    if !wide {
        file.extend(flags);
    }
    file.extend(word(0x1000));
    assert_eq!(file.len(), start as usize, "the headers of an ELF file");
    file.extend(code);
    std::fs::write(path, file).expect("a program");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}
