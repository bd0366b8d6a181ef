use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::cgroup::PARENT;

fn rules(given: &[(bool, &str)]) -> DeviceRules {
    let mut rules = DeviceRules::default();
    for (allow, text) in given {
        rules.push(*allow, text).unwrap();
    }
    rules
}

/// What the version 1 controller answers, straight from its description.
fn expected(rules: &DeviceRules, block: bool, major: u32, minor: u32, access: u8) -> bool {
    let (allowed, exceptions) = rules.folded();
    let matches = exceptions.iter().any(|e| {
        e.block == block
            && e.major.is_none_or(|m| m == major)
            && e.minor.is_none_or(|m| m == minor)
            && if allowed {
                access & e.access != 0
            } else {
                access & !e.access == 0
            }
    });
    matches != allowed
}

/// A small interpreter of the instructions used here.
fn evaluate(program: &[Instruction], block: bool, major: u32, minor: u32, access: u8) -> bool {
    let context = [
        u32::from(access) << 16 | if block { 1 } else { 2 },
        major,
        minor,
    ];
    let mut registers = [0u64; 6];
    let mut at = 0;
    loop {
        let i = program[at];
        at += 1;
        let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
        let equal = registers[to] == i.immediate as u64;
        match i.code {
            LOAD_WORD => registers[to] = u64::from(context[i.offset as usize / 4]),
            COPY => registers[to] = registers[from],
            SET => registers[to] = i.immediate as u64,
            AND => registers[to] &= i.immediate as u64,
            SHIFT_RIGHT => registers[to] >>= i.immediate,
            JUMP_IF_EQUAL if equal => at += i.offset as usize,
            JUMP_UNLESS_EQUAL if !equal => at += i.offset as usize,
            JUMP_IF_EQUAL | JUMP_UNLESS_EQUAL => {}
            EXIT => return registers[0] != 0,
            other => panic!("instruction {other}"),
        }
    }
}

#[test]
fn rules_mean_what_they_mean_to_the_version_1_controller() {
    let usual = DeviceRules::usual();
    let asks = |rules: &DeviceRules, block, major, minor, access| {
        evaluate(&rules.program(), block, major, minor, access)
    };
    assert!(asks(&usual, false, 1, 3, READ | WRITE));
    assert!(asks(&usual, false, 136, 77, READ | WRITE));
    assert!(asks(&usual, true, 8, 0, MKNOD));
    assert!(!asks(&usual, true, 8, 0, READ));
    assert!(!asks(&usual, false, 1, 11, WRITE), "kernel messages");
    let fuse = rules(&[
        (false, "a"),
        (true, "c 10:229 rw"),
        (false, "c 10:229 w"),
        (false, "c 10:* r"),
    ]);
    assert!(asks(&fuse, false, 10, 229, READ), "only equal rules undo");
    assert!(!asks(&fuse, false, 10, 229, READ | WRITE));
    let no_disk = rules(&[(false, "b 8:* w")]);
    assert!(asks(&no_disk, true, 8, 1, READ));
    assert!(!asks(&no_disk, true, 8, 1, READ | WRITE));
    assert!(asks(&no_disk, false, 8, 1, READ | WRITE));
}

#[test]
fn what_is_no_rule_is_refused() {
    for text in [
        "",
        "c",
        "x 1:3 r",
        "c 1 r",
        "c 1:3 x",
        "c 1:-3 r",
        "c *:* r w",
    ] {
        assert!(DeviceRules::default().push(true, text).is_err(), "{text}");
    }
}

fn rule() -> impl Strategy<Value = (bool, String)> {
    let number = prop_oneof![Just("*".to_owned()), (0u32..4).prop_map(|n| n.to_string())];
    let some = (
        "[bc]",
        number.clone(),
        number,
        prop_oneof![Just("r"), Just("w"), Just("m"), Just("rw"), Just("rwm")],
    )
        .prop_map(|(kind, major, minor, access)| format!("{kind} {major}:{minor} {access}"));
    (
        any::<bool>(),
        prop_oneof![1 => Just("a".to_owned()), 8 => some],
    )
}

proptest! {
    #[test]
    fn the_program_answers_as_the_rules_do(
        given in prop::collection::vec(rule(), 0..12),
        block: bool, major in 0u32..4, minor in 0u32..4, access in 1u8..8,
    ) {
        let given: Vec<(bool, &str)> = given.iter().map(|(a, t)| (*a, t.as_str())).collect();
        let rules = rules(&given);
        prop_assert_eq!(
            evaluate(&rules.program(), block, major, minor, access),
            expected(&rules, block, major, minor, access)
        );
    }

    #[test]
    fn a_rule_is_written_as_it_is_read(given in rule()) {
        let rule = Rule::parse(&given.1).unwrap();
        prop_assert_eq!(Rule::parse(&rule.to_string()), Some(rule));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".*") {
        Rule::parse(&text);
    }
}

/// Removed with its test.
struct Made(Cgroup);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.remove();
    }
}

/// Whether a shell in the cgroup can do it.
fn can(cgroup: &Cgroup, script: &str) -> bool {
    let script = format!("read go && {{ {script}; }} 2>/dev/null");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    cgroup.add(child.id() as i32).unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"go\n").unwrap();
    child.wait().unwrap().success()
}

#[test]
fn the_kernel_obeys_the_program_and_the_version_1_list_alike() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tried: making cgroups needs root");
        return;
    }
    let found = Hierarchies::discover().unwrap();
    let with_program = Hierarchies {
        version_1: Vec::new(),
        ..found.clone()
    };
    let with_list = Hierarchies {
        unified: None,
        ..found
    };
    let mut tried = 0;
    for hierarchies in [with_program, with_list] {
        if hierarchies.unified.is_none() && !has_version_1(&hierarchies) {
            continue;
        }
        tried += 1;
        let name = format!("devices-test-{:08x}", rand::random::<u32>());
        let cgroup = Made(Cgroup {
            hierarchies,
            name: Path::new(PARENT).join(name),
        });
        cgroup.0.create().unwrap();
        let null = "exec 3<>/dev/null";
        let random = "exec 3</dev/urandom";
        assert!(can(&cgroup.0, null) && can(&cgroup.0, random));
        let mut rules = DeviceRules::usual();
        rules.push(false, "c 1:9 rw").unwrap();
        rules.apply(&cgroup.0).unwrap();
        assert!(can(&cgroup.0, null));
        assert!(!can(&cgroup.0, random), "urandom was taken away");
        assert!(!can(&cgroup.0, "exec 3</dev/kmsg"), "kernel messages");
    }
    assert!(tried > 0, "this host has neither");
}
