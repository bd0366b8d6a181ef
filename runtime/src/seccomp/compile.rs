//! From a profile to a BPF program (linux/filter.h, seccomp(2)).

use std::collections::HashMap;

use libc::sock_filter;

use super::policy::{Call, Condition, Operator, Policy, Rule};
use super::syscalls::{Abi, NATIVE, number, rows};

/// `BPF_MAXINSNS`.
const LONGEST: usize = 4096;

/// `__X32_SYSCALL_BIT` (asm/unistd.h).
const X32: u32 = 0x4000_0000;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const ALWAYS: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const GREATER_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

// Offsets in struct seccomp_data (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Stands for "to the end of this rule" until its length is known.
const NEXT_RULE: u8 = u8::MAX;

/// The line of a call that no architecture here has, and its name.
pub(super) type Unknown = (usize, String);

/// The program, and the lines of system calls that no architecture here has.
pub(super) fn compile(policy: &Policy) -> Result<(Vec<sock_filter>, Vec<Unknown>), String> {
    let table: HashMap<&str, [Option<u32>; 4]> = rows().collect();
    let block = |abi| block(policy, abi, &table);
    let mut program = vec![statement(LOAD, ARCH)];
    for (audit, abis) in architectures() {
        let mut code = vec![statement(LOAD, NUMBER)];
        if let [first, x32] = abis {
            let first = block(*first);
            // Numbers of x32 are told by one bit.
            code.push(jump(SET, X32, 0, 1));
            code.push(statement(ALWAYS, first.len() as u32));
            code.extend(first);
            code.push(statement(AND, !X32));
            code.extend(block(*x32));
        } else {
            code.extend(block(abis[0]));
        }
        program.push(jump(EQUAL, audit, 1, 0));
        program.push(statement(ALWAYS, code.len() as u32));
        program.extend(code);
    }
    program.push(statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS));
    if program.len() > LONGEST {
        return Err(format!(
            "the profile makes {} instructions, and the kernel takes {LONGEST}",
            program.len()
        ));
    }
    let unknown = policy
        .rules
        .iter()
        .filter_map(|rule| match &rule.call {
            Call::Name(name) if !table.contains_key(name.as_str()) => {
                Some((rule.line, name.clone()))
            }
            _ => None,
        })
        .collect();
    Ok((program, unknown))
}

/// `AUDIT_ARCH_*` (linux/audit.h), and who is called by it.
fn architectures() -> Vec<(u32, &'static [Abi])> {
    match NATIVE {
        [Abi::Aarch64] => vec![(0xc000_00b7, NATIVE)],
        _ => vec![
            (0xc000_003e, &[Abi::X86_64, Abi::X32]),
            (0x4000_0003, &[Abi::I386]),
        ],
    }
}

/// The rules of one architecture. Begins and goes on with the number in the accumulator.
fn block(policy: &Policy, abi: Abi, table: &HashMap<&str, [Option<u32>; 4]>) -> Vec<sock_filter> {
    let mut code = Vec::new();
    for rule in &policy.rules {
        if rule.abi.is_some_and(|only| only != abi) {
            continue;
        }
        let called = match &rule.call {
            Call::Number(called) => Some(*called),
            Call::Name(name) => table.get(name.as_str()).and_then(|row| number(row, abi)),
        };
        // An architecture may lack a call that others have.
        if let Some(called) = called {
            code.extend(self::rule(rule, called));
        }
    }
    code.push(statement(RETURN, policy.otherwise));
    code
}

fn rule(rule: &Rule, called: u32) -> Vec<sock_filter> {
    let mut code = vec![jump(EQUAL, called, 0, NEXT_RULE)];
    for wanted in &rule.conditions {
        code.extend(condition(wanted));
    }
    code.push(statement(RETURN, rule.answer));
    let failed = code.len();
    if !rule.conditions.is_empty() {
        // Back from the arguments to the number.
        code.push(statement(LOAD, NUMBER));
    }
    let end = code.len();
    // Six conditions have 36 instructions: no jump is longer than 255.
    for (at, instruction) in code.iter_mut().enumerate() {
        // The first one still has the number, and needs no reload.
        let to = if at == 0 { end } else { failed };
        for target in [&mut instruction.jt, &mut instruction.jf] {
            if *target == NEXT_RULE {
                *target = (to - at - 1) as u8;
            }
        }
    }
    code
}

/// Goes on behind itself if it holds.
fn condition(wanted: &Condition) -> Vec<sock_filter> {
    let low = ARGUMENTS + 8 * wanted.index;
    let (high_value, low_value) = halves(wanted.value);
    let (load_high, load_low) = (statement(LOAD, low + 4), statement(LOAD, low));
    const FAIL: u8 = NEXT_RULE;
    match wanted.operator {
        Operator::Equal => vec![
            load_high,
            jump(EQUAL, high_value, 0, FAIL),
            load_low,
            jump(EQUAL, low_value, 0, FAIL),
        ],
        Operator::NotEqual => vec![
            load_high,
            jump(EQUAL, high_value, 0, 2),
            load_low,
            jump(EQUAL, low_value, FAIL, 0),
        ],
        Operator::Masked => {
            let (high_mask, low_mask) = halves(wanted.mask);
            vec![
                load_high,
                statement(AND, high_mask),
                jump(EQUAL, high_value, 0, FAIL),
                load_low,
                statement(AND, low_mask),
                jump(EQUAL, low_value, 0, FAIL),
            ]
        }
        Operator::Greater | Operator::GreaterOrEqual => vec![
            load_high,
            jump(GREATER, high_value, 3, 0),
            jump(EQUAL, high_value, 0, FAIL),
            load_low,
            match wanted.operator {
                Operator::Greater => jump(GREATER, low_value, 0, FAIL),
                _ => jump(GREATER_EQUAL, low_value, 0, FAIL),
            },
        ],
        Operator::Less | Operator::LessOrEqual => vec![
            load_high,
            jump(GREATER, high_value, FAIL, 0),
            jump(EQUAL, high_value, 0, 2),
            load_low,
            match wanted.operator {
                Operator::Less => jump(GREATER_EQUAL, low_value, FAIL, 0),
                _ => jump(GREATER, low_value, FAIL, 0),
            },
        ],
    }
}

fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

fn statement(code: u16, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::super::policy::parse;
    use super::*;

    /// A small interpreter of the instructions used here.
    fn evaluate(program: &[sock_filter], arch: u32, number: u32, arguments: &[u64]) -> u32 {
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let i = program[at];
            at += 1;
            let branch = |taken| usize::from(if taken { i.jt } else { i.jf });
            match i.code {
                LOAD if i.k == NUMBER => accumulator = number,
                LOAD if i.k == ARCH => accumulator = arch,
                LOAD => {
                    let (index, high) = ((i.k - ARGUMENTS) / 8, (i.k - ARGUMENTS) % 8 == 4);
                    let (high_half, low_half) = halves(arguments[index as usize]);
                    accumulator = if high { high_half } else { low_half };
                }
                AND => accumulator &= i.k,
                ALWAYS => at += i.k as usize,
                EQUAL => at += branch(accumulator == i.k),
                GREATER => at += branch(accumulator > i.k),
                GREATER_EQUAL => at += branch(accumulator >= i.k),
                SET => at += branch(accumulator & i.k != 0),
                RETURN => return i.k,
                other => panic!("instruction {other}"),
            }
        }
    }

    fn compiled(text: &str) -> Vec<sock_filter> {
        compile(&parse(text).unwrap()).unwrap().0
    }

    fn native(program: &[sock_filter], number: i64, arguments: &[u64]) -> u32 {
        let audit = architectures()[0].0;
        evaluate(program, audit, number as u32, arguments)
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | 1;

    #[test]
    fn a_denylist_refuses_what_it_names_and_an_allowlist_all_the_rest() {
        let deny = compiled("2\ndenylist\n[all]\nmount errno 1\nreboot kill\n");
        assert_eq!(native(&deny, libc::SYS_mount, &[]), REFUSED);
        assert_eq!(native(&deny, libc::SYS_reboot, &[]), KILL);
        assert_eq!(native(&deny, libc::SYS_read, &[]), ALLOW);
        let allow = compiled("2\nallowlist errno 1\nread\nwrite log\n");
        assert_eq!(native(&allow, libc::SYS_read, &[]), ALLOW);
        assert_eq!(native(&allow, libc::SYS_write, &[]), libc::SECCOMP_RET_LOG);
        assert_eq!(native(&allow, libc::SYS_mount, &[]), REFUSED);
        let numbers = compiled(&format!("1\nallowlist\n{}\n", libc::SYS_read));
        assert_eq!(native(&numbers, libc::SYS_read, &[]), ALLOW);
        assert_eq!(native(&numbers, libc::SYS_write, &[]), KILL);
        assert_eq!(evaluate(&deny, 0x1234, 0, &[]), KILL);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_architecture_has_its_own_numbers() {
        let all = compiled("2\ndenylist\n[all]\nkexec_load errno 1\n");
        assert_eq!(evaluate(&all, 0xc000_003e, 246, &[]), REFUSED);
        assert_eq!(evaluate(&all, 0xc000_003e, X32 | 528, &[]), REFUSED);
        assert_eq!(evaluate(&all, 0x4000_0003, 283, &[]), REFUSED);
        assert_eq!(evaluate(&all, 0x4000_0003, 246, &[]), ALLOW);
        let one = compiled("2\ndenylist\n[x86]\nkexec_load errno 1\n");
        assert_eq!(evaluate(&one, 0xc000_003e, 246, &[]), ALLOW);
        assert_eq!(evaluate(&one, 0x4000_0003, 283, &[]), REFUSED);
    }

    #[test]
    fn arguments_are_compared_as_64_bit_numbers() {
        type Compare = fn(u64, u64) -> bool;
        let operators: [(&str, Compare); 6] = [
            ("!=", |a, b| a != b),
            ("<", |a, b| a < b),
            ("<=", |a, b| a <= b),
            ("==", |a, b| a == b),
            (">=", |a, b| a >= b),
            (">", |a, b| a > b),
        ];
        let values = [0, 1, 5, 6, 1 << 32, (1 << 32) + 5, 5 << 32, u64::MAX];
        for (operator, holds) in operators {
            for wanted in values {
                let program = compiled(&format!(
                    "2\ndenylist\nread errno 1 [2,{wanted},{operator}]\n"
                ));
                for value in values {
                    let expected = if holds(value, wanted) { REFUSED } else { ALLOW };
                    let answer = native(&program, libc::SYS_read, &[0, 0, value]);
                    assert_eq!(answer, expected, "{value} {operator} {wanted}");
                }
            }
        }
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold_and_the_next_rule_sees_the_number_again() {
        let program = compiled(
            "2\ndenylist\nsocket errno 1 [0,16,==][1,0x2,&=,0x3]\nmount kill\nsocket errno 1 [0,40,==]\n",
        );
        let socket = |arguments: &[u64]| native(&program, libc::SYS_socket, arguments);
        assert_eq!(socket(&[16, 6]), REFUSED);
        assert_eq!(socket(&[16, 3]), ALLOW);
        assert_eq!(socket(&[2, 2]), ALLOW);
        assert_eq!(socket(&[40, 0]), REFUSED);
        assert_eq!(native(&program, libc::SYS_mount, &[0, 0]), KILL);
    }

    #[test]
    fn an_unknown_call_is_told_and_a_profile_that_is_too_long_refused() {
        let policy = parse("2\ndenylist\nread errno 1\nreaad errno 1\n").unwrap();
        let (_, unknown) = compile(&policy).unwrap();
        assert_eq!(unknown, [(4, "reaad".to_owned())]);
        let long = format!("2\ndenylist\n{}", "read errno 1\n".repeat(3000));
        assert!(
            compile(&parse(&long).unwrap())
                .unwrap_err()
                .contains("4096")
        );
    }
}
