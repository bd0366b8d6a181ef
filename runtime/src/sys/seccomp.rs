//! Seccomp filters: small hand-written BPF programs behind one dispatch on the architecture.
//!
//! libseccomp cannot be linked on a fresh machine and seccompiler knows one architecture per
//! filter, which would leave the 32-bit entry points of an amd64 kernel open or dead. A call from
//! an architecture that the filter does not know kills the process.

use libc::sock_filter;

/// What a filter refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// A container: LXC's list; the kernel log; and bpf, performance counters and userfaultfd, which
    /// no guest needs to boot and which, with the host's root inside, reach the whole machine.
    Container,
    /// Template code: also keys.
    Sandbox,
    /// Answer success to fsync and its kin without doing it.
    NoSync,
}

/// The numbers of one architecture's system calls; `None` where it lacks the call.
struct Architecture {
    /// `AUDIT_ARCH_*` (linux/audit.h).
    audit: u32,
    /// Bits to ignore in the number: x32 calls are amd64's with one bit set.
    ignore: u32,
    container: &'static [u32],
    sandbox: &'static [u32],
    sync: &'static [u32],
    umount2: u32,
}

// In each: kexec_load, kexec_file_load, open_by_handle_at, init_module, finit_module,
// delete_module, syslog, bpf, perf_event_open, userfaultfd; then add_key, request_key, keyctl; then
// fsync, fdatasync, sync, syncfs, sync_file_range (arch/*/entry/syscalls/*.tbl).

#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        audit: 0xc000_003e,
        ignore: 0x4000_0000,
        // 528 is x32's own kexec_load.
        container: &[246, 528, 320, 304, 175, 313, 176, 103, 321, 298, 323],
        sandbox: &[248, 249, 250],
        sync: &[74, 75, 162, 306, 277],
        umount2: 166,
    },
    Architecture {
        audit: 0x4000_0003,
        ignore: 0,
        container: &[283, 342, 128, 350, 129, 103, 357, 336, 374],
        sandbox: &[286, 287, 288],
        sync: &[118, 148, 36, 344, 314],
        umount2: 52,
    },
];

#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        audit: 0xc000_00b7,
        ignore: 0,
        container: &[104, 294, 265, 105, 273, 106, 116, 280, 241, 282],
        sandbox: &[217, 218, 219],
        sync: &[82, 83, 81, 267, 84],
        umount2: 39,
    },
    Architecture {
        audit: 0x4000_0028,
        ignore: 0,
        container: &[347, 401, 371, 128, 379, 129, 103, 386, 364, 388],
        sandbox: &[309, 310, 311],
        sync: &[118, 148, 36, 373, 341],
        umount2: 52,
    },
];

pub(super) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
pub(super) const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub(super) const JUMP_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
pub(super) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

// Offsets in struct seccomp_data (linux/seccomp.h); little-endian, so the low half of an argument
// comes first.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCH: u32 = 4;
pub(super) const SECOND_ARGUMENT: u32 = 24;

/// Builds the program of a filter.
pub(crate) fn program(filter: Filter) -> Vec<sock_filter> {
    let mut program = vec![statement(LOAD, ARCH)];
    for arch in ARCHITECTURES {
        let block = block(filter, arch);
        // Blocks are far shorter than the 255 that a conditional jump can skip (tested below).
        program.push(jump(JUMP_EQUAL, arch.audit, 0, block.len() as u8));
        program.extend(block);
    }
    program.push(statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS));
    program
}

fn block(filter: Filter, arch: &Architecture) -> Vec<sock_filter> {
    let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut block = vec![statement(LOAD, NUMBER)];
    if arch.ignore != 0 {
        block.push(statement(AND, !arch.ignore));
    }
    let (numbers, answer) = match filter {
        Filter::Container => (arch.container.to_vec(), errno(libc::EPERM)),
        Filter::Sandbox => ([arch.container, arch.sandbox].concat(), errno(libc::EPERM)),
        Filter::NoSync => (arch.sync.to_vec(), errno(0)),
    };
    for number in numbers {
        block.push(jump(JUMP_EQUAL, number, 0, 1));
        block.push(statement(RETURN, answer));
    }
    if filter == Filter::Container {
        // LXC's `reject_force_umount`: it aborts requests of file systems that others use too.
        block.push(jump(JUMP_EQUAL, arch.umount2, 0, 3));
        block.push(statement(LOAD, SECOND_ARGUMENT));
        block.push(jump(JUMP_SET, libc::MNT_FORCE as u32, 0, 1));
        block.push(statement(RETURN, errno(libc::EACCES)));
    }
    block.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
    block
}

pub(super) fn statement(code: u16, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

pub(super) fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Installs a program in the calling thread. Async-signal-safe.
pub(super) fn install_filter(filter: &[sock_filter]) -> Result<(), i32> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel only reads the program, whose length is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &program,
        )
    };
    if result < 0 {
        // SAFETY: the C library's errno of this thread.
        return Err(unsafe { *libc::__errno_location() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small interpreter of the instructions used here.
    fn evaluate(program: &[sock_filter], arch: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let i = program[at];
            at += 1;
            match i.code {
                LOAD => {
                    accumulator = match i.k {
                        NUMBER => number,
                        ARCH => arch,
                        SECOND_ARGUMENT => argument,
                        other => panic!("load of {other}"),
                    }
                }
                AND => accumulator &= i.k,
                JUMP_EQUAL => at += usize::from(if accumulator == i.k { i.jt } else { i.jf }),
                JUMP_SET => at += usize::from(if accumulator & i.k != 0 { i.jt } else { i.jf }),
                RETURN => return i.k,
                other => panic!("instruction {other}"),
            }
        }
    }

    const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

    #[test]
    fn every_listed_call_is_refused_and_others_pass_on_every_architecture() {
        for filter in [Filter::Container, Filter::Sandbox] {
            let program = program(filter);
            for arch in ARCHITECTURES {
                for number in arch.container {
                    assert_eq!(evaluate(&program, arch.audit, *number, 0), REFUSED);
                }
                let keys = evaluate(&program, arch.audit, arch.sandbox[0], 0);
                assert_eq!(keys == REFUSED, filter == Filter::Sandbox);
                assert_eq!(
                    evaluate(&program, arch.audit, 1, 0),
                    libc::SECCOMP_RET_ALLOW
                );
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn x32_calls_are_seen_as_their_64_bit_twins() {
        let program = program(Filter::Container);
        assert_eq!(
            evaluate(&program, 0xc000_003e, 0x4000_0000 | 103, 0),
            REFUSED
        );
    }

    /// The numbers of system calls, as the C library's headers have them.
    #[cfg(target_arch = "x86_64")]
    fn number_of(header: &str, call: &str) -> Option<u32> {
        let path = format!("/usr/include/x86_64-linux-gnu/asm/unistd_{header}.h");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        text.lines().find_map(|line| {
            let rest = line.strip_prefix("#define __NR_")?.strip_prefix(call)?;
            let number = rest.trim().strip_prefix("(__X32_SYSCALL_BIT + ");
            match number {
                Some(number) => Some(0x4000_0000 | number.strip_suffix(')')?.parse::<u32>().ok()?),
                None if rest.starts_with(' ') => rest.trim().parse().ok(),
                None => None,
            }
        })
    }

    /// LXC's default list, from the installed package where there is one.
    #[cfg(target_arch = "x86_64")]
    fn refused_by_lxc() -> Vec<String> {
        let installed = std::fs::read_to_string("/usr/share/lxc/config/common.seccomp");
        let text = installed.unwrap_or_else(|e| {
            eprintln!("LXC is not installed ({e}): comparing with the list of LXC 5.0.2");
            "kexec_load errno 1\nopen_by_handle_at errno 1\ninit_module errno 1\n\
             finit_module errno 1\ndelete_module errno 1\n"
                .to_owned()
        });
        text.lines()
            .filter_map(|line| Some(line.strip_suffix(" errno 1")?.to_owned()))
            .collect()
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_lxc_refuses_and_what_is_refused_beyond_is_refused_on_all_three_abis() {
        let program = program(Filter::Container);
        let lxc = refused_by_lxc();
        assert!(lxc.len() >= 5, "{lxc:?}");
        let more = [
            "syslog",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "kexec_file_load",
        ];
        for call in lxc.iter().map(String::as_str).chain(more) {
            for (header, arch) in [
                ("64", 0xc000_003e),
                ("32", 0x4000_0003),
                ("x32", 0xc000_003e),
            ] {
                match number_of(header, call) {
                    Some(number) => assert_eq!(
                        evaluate(&program, arch, number, 0),
                        REFUSED,
                        "{call} ({number}) of ABI {header}"
                    ),
                    None => assert_eq!((header, call), ("32", "kexec_file_load")),
                }
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_a_systemd_guest_needs_passes() {
        let program = program(Filter::Container);
        for call in [
            "mount",
            "umount2",
            "fsopen",
            "move_mount",
            "mount_setattr",
            "open_tree",
            "pivot_root",
            "unshare",
            "setns",
            "clone3",
            "keyctl",
            "seccomp",
            "name_to_handle_at",
            "ptrace",
            "io_uring_setup",
            "fanotify_init",
            "memfd_create",
            "reboot",
            "sethostname",
            "mknod",
        ] {
            for (header, arch) in [("64", 0xc000_003e), ("32", 0x4000_0003)] {
                let number = number_of(header, call).unwrap_or_else(|| panic!("no {call}"));
                assert_eq!(
                    evaluate(&program, arch, number, 0),
                    libc::SECCOMP_RET_ALLOW,
                    "{call} of ABI {header}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_architecture_is_killed() {
        for filter in [Filter::Container, Filter::Sandbox, Filter::NoSync] {
            assert_eq!(
                evaluate(&program(filter), 0x1234, 1, 0),
                libc::SECCOMP_RET_KILL_PROCESS
            );
        }
    }

    #[test]
    fn only_forced_umount_is_refused() {
        let program = program(Filter::Container);
        for arch in ARCHITECTURES {
            assert_eq!(
                evaluate(&program, arch.audit, arch.umount2, libc::MNT_DETACH as u32),
                libc::SECCOMP_RET_ALLOW
            );
            assert_eq!(
                evaluate(&program, arch.audit, arch.umount2, libc::MNT_FORCE as u32),
                libc::SECCOMP_RET_ERRNO | libc::EACCES as u32
            );
        }
    }

    #[test]
    fn sync_calls_answer_success_without_being_made() {
        let program = program(Filter::NoSync);
        for arch in ARCHITECTURES {
            for number in arch.sync {
                assert_eq!(
                    evaluate(&program, arch.audit, *number, 0),
                    libc::SECCOMP_RET_ERRNO
                );
            }
        }
    }

    #[test]
    fn blocks_are_short_enough_to_be_jumped_over() {
        for arch in ARCHITECTURES {
            for filter in [Filter::Container, Filter::Sandbox, Filter::NoSync] {
                assert!(block(filter, arch).len() < 255);
            }
        }
    }
}
