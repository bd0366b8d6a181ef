//! The text of a profile.
//!
//! Version 2: the number 2; `allowlist` or `denylist` and the answer to all other calls; then
//! rules `NAME [ANSWER] [[INDEX,VALUE,OPERATOR[,MASK]]…]`, below headings as `[x86_64]` for one
//! architecture. Version 1: the number 1, `allowlist`, and the numbers of the calls allowed.

use super::syscalls::Abi;

/// A profile, understood.
#[derive(Debug, PartialEq)]
pub(super) struct Policy {
    /// The answer to calls without a rule.
    pub(super) otherwise: u32,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) line: usize,
    /// `None` is all architectures.
    pub(super) abi: Option<Abi>,
    pub(super) call: Call,
    /// `SECCOMP_RET_*`.
    pub(super) answer: u32,
    /// All of them must hold.
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Call {
    Name(String),
    /// Of the machine's own architecture.
    Number(u32),
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Condition {
    pub(super) index: u32,
    pub(super) operator: Operator,
    pub(super) value: u64,
    /// For [`Operator::Masked`].
    pub(super) mask: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    Masked,
}

/// The error is the number of a line, and what is wrong with it.
type Wrong = (usize, String);

const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

pub(super) fn parse(text: &str) -> Result<Policy, Wrong> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()));
    let (_, version) = lines.next().unwrap_or((1, ""));
    let (at, kind) = lines.next().unwrap_or((2, ""));
    let (word, rest) = kind.split_once(char::is_whitespace).unwrap_or((kind, ""));
    let allow = match word {
        "allowlist" | "whitelist" => true,
        "denylist" | "blacklist" => false,
        _ => return Err((at, format!("\"{word}\" is neither allowlist nor denylist"))),
    };
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    match version {
        "1" if allow => numbers(lines),
        "1" => Err((at, "version 1 knows allowlist only".to_owned())),
        "2" => {
            let (otherwise, usual) = if allow { (KILL, ALLOW) } else { (ALLOW, KILL) };
            let otherwise = match rest.trim() {
                "" => otherwise,
                rest => answer(rest, otherwise).map_err(|what| (at, what))?.0,
            };
            let rules = rules(lines, usual)?;
            Ok(Policy { otherwise, rules })
        }
        other => Err((
            1,
            format!("\"{other}\" is not version 1 or 2 of such a file"),
        )),
    }
}

fn numbers<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Policy, Wrong> {
    let rules = lines
        .map(|(line, text)| {
            let number = text.parse();
            let number = number.map_err(|_| (line, format!("\"{text}\" is not a number")))?;
            Ok(Rule {
                line,
                abi: Some(super::syscalls::NATIVE[0]),
                call: Call::Number(number),
                answer: ALLOW,
                conditions: Vec::new(),
            })
        })
        .collect::<Result<_, Wrong>>()?;
    Ok(Policy {
        otherwise: KILL,
        rules,
    })
}

/// What rules are for.
enum Section {
    All,
    One(Abi),
    /// An architecture that this machine does not have.
    Foreign,
}

fn rules<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    usual: u32,
) -> Result<Vec<Rule>, Wrong> {
    let mut section = Section::All;
    let mut rules = Vec::new();
    for (at, line) in lines {
        let line = match line.find(" #").or(line.find("\t#")) {
            Some(end) => line[..end].trim_end(),
            None => line,
        };
        if line.starts_with('[') {
            section = heading(line).ok_or((at, format!("{line} is no architecture")))?;
            continue;
        }
        // Always in force.
        if line.starts_with("reject_force_umount") {
            continue;
        }
        let abi = match &section {
            Section::All => None,
            Section::One(abi) => Some(*abi),
            Section::Foreign => continue,
        };
        let wrong = |what| (at, what);
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (answer, rest) = answer(rest, usual).map_err(wrong)?;
        rules.push(Rule {
            line: at,
            abi,
            call: Call::Name(name.to_owned()),
            answer,
            conditions: conditions(rest).map_err(wrong)?,
        });
    }
    Ok(rules)
}

fn heading(line: &str) -> Option<Section> {
    let name = line
        .strip_prefix('[')?
        .strip_suffix(']')?
        .to_ascii_lowercase();
    let abi = match name.as_str() {
        "all" => return Some(Section::All),
        "x86_64" | "amd64" => Abi::X86_64,
        "x32" => Abi::X32,
        "x86" | "i386" => Abi::I386,
        "arm64" | "aarch64" => Abi::Aarch64,
        "arm" | "ppc" | "ppc64" | "ppc64le" | "mips" | "mips64" | "mips64n32" | "mipsel"
        | "mipsel64" | "mipsel64n32" | "s390x" | "riscv64" | "loongarch64" => {
            return Some(Section::Foreign);
        }
        _ => return None,
    };
    Some(match super::syscalls::NATIVE.contains(&abi) {
        true => Section::One(abi),
        false => Section::Foreign,
    })
}

/// The answer at the beginning of a text (or the usual one), and what comes after it.
fn answer(text: &str, usual: u32) -> Result<(u32, &str), String> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('[') {
        return Ok((usual, text));
    }
    let end = text.find([' ', '\t', '[']).unwrap_or(text.len());
    let (word, rest) = (&text[..end], text[end..].trim_start());
    let answer = match word {
        "kill" => KILL,
        "trap" => libc::SECCOMP_RET_TRAP,
        "allow" => ALLOW,
        "log" => libc::SECCOMP_RET_LOG,
        "errno" => {
            let end = rest.find([' ', '\t', '[']).unwrap_or(rest.len());
            let number: u16 = rest[..end]
                .parse()
                .ok()
                .filter(|number| *number < 4096)
                .ok_or_else(|| format!("\"errno {}\" is not an errno", &rest[..end]))?;
            return Ok((
                libc::SECCOMP_RET_ERRNO | u32::from(number),
                rest[end..].trim_start(),
            ));
        }
        "notify" | "trace" => {
            return Err(format!(
                "the answer \"{word}\" is not supported: nobody is there to be asked"
            ));
        }
        _ => {
            return Err(format!(
                "\"{word}\" is not an answer: kill, trap, allow, log, errno N"
            ));
        }
    };
    Ok((answer, rest))
}

fn conditions(mut text: &str) -> Result<Vec<Condition>, String> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let wrong = || format!("\"{text}\" is not [INDEX,VALUE,OPERATOR] or [INDEX,VALUE,&=,MASK]");
        let end = text.find(']').ok_or_else(wrong)?;
        let inner = text[..end].strip_prefix('[').ok_or_else(wrong)?;
        let fields: Vec<&str> = inner.split(',').map(str::trim).collect();
        let (index, value, operator, mask) = match fields[..] {
            [index, value, operator] => (index, value, operator, None),
            [index, value, operator, mask] => (index, value, operator, Some(mask)),
            _ => return Err(wrong()),
        };
        let operator = operator_of(operator).ok_or_else(wrong)?;
        let mask = match (operator, mask) {
            (Operator::Masked, None) => return Err(wrong()),
            (_, mask) => integer(mask.unwrap_or("0")).ok_or_else(wrong)?,
        };
        found.push(Condition {
            index: index
                .parse()
                .ok()
                .filter(|index| *index < 6)
                .ok_or_else(wrong)?,
            operator,
            value: integer(value).ok_or_else(wrong)?,
            mask,
        });
        text = text[end + 1..].trim_start();
    }
    Ok(found)
}

fn operator_of(word: &str) -> Option<Operator> {
    Some(match word {
        "SCMP_CMP_NE" | "!=" => Operator::NotEqual,
        "SCMP_CMP_LT" | "<" => Operator::Less,
        "SCMP_CMP_LE" | "<=" => Operator::LessOrEqual,
        "SCMP_CMP_EQ" | "==" => Operator::Equal,
        "SCMP_CMP_GE" | ">=" => Operator::GreaterOrEqual,
        "SCMP_CMP_GT" | ">" => Operator::Greater,
        "SCMP_CMP_MASKED_EQ" | "&=" => Operator::Masked,
        _ => return None,
    })
}

/// As in C: decimal, 0x or 0 for octal, and negative ones as the kernel sees them.
fn integer(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let value = match lower.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None if lower.len() > 1 && lower.starts_with('0') => u64::from_str_radix(&lower, 8).ok()?,
        None => lower.parse().ok()?,
    };
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_of_lxc_itself_is_read() {
        let text = "2\ndenylist\nreject_force_umount  # comment this to allow umount -f;  not recommended\n[all]\nkexec_load errno 1\nopen_by_handle_at errno 1\n";
        let policy = parse(text).unwrap();
        assert_eq!(policy.otherwise, ALLOW);
        assert_eq!(policy.rules.len(), 2);
        assert_eq!(policy.rules[1].answer, libc::SECCOMP_RET_ERRNO | 1);
        assert_eq!(policy.rules[1].line, 6);
    }

    #[test]
    fn answers_conditions_and_comments_are_told_apart() {
        let text = "2\nallowlist errno 38\nread\n# no\nsocket errno 13 [0,16,SCMP_CMP_EQ][1,0x3,&=,07]  # netlink\n[ppc64le]\nmount\n";
        let policy = parse(text).unwrap();
        assert_eq!(policy.otherwise, libc::SECCOMP_RET_ERRNO | 38);
        assert_eq!(
            policy.rules.len(),
            2,
            "another architecture's rules are passed over"
        );
        assert_eq!(policy.rules[0].answer, ALLOW);
        let socket = &policy.rules[1];
        assert_eq!(socket.answer, libc::SECCOMP_RET_ERRNO | 13);
        assert_eq!(
            (socket.conditions[0].value, socket.conditions[1].mask),
            (16, 7)
        );
        assert_eq!(integer("-1"), Some(u64::MAX));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line) in [
            ("3\ndenylist\n", 1),
            ("2\nsomelist\n", 2),
            ("1\ndenylist\n5\n", 2),
            ("1\nallowlist\nread\n", 3),
            ("2\ndenylist\nmount errno\n", 3),
            ("2\ndenylist\nmount notify\n", 3),
            ("2\ndenylist\n\nmount errno 1 [9,1,==]\n", 4),
            ("2\ndenylist\nmount errno 1 [0,1,&=]\n", 3),
            ("2\ndenylist\n[vax]\n", 3),
            ("", 1),
        ] {
            assert!(
                matches!(parse(text), Err((at, _)) if at == line || text.is_empty()),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(2\ndenylist|1\nallowlist|)[ -~\n]{0,80}") {
            let _ = parse(&text);
        }
    }
}
