//! `sampan console`.

use std::{io::IsTerminal, process::ExitCode};

use sampan_runtime::{SessionEnd, Tty};

use crate::{context::Context, failure::Outcome};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ctrl-a q leaves; Ctrl-a Ctrl-a sends one Ctrl-a. Any number of sessions share the console; a tty is
for one at a time. With input from a pipe or file no key is special, and the session lasts until the
container stops.

Examples:
  sampan console web
  sampan console -t auto web          a tty of its own, if lxc.tty.max says there are some
  sampan console -e ^] web            Ctrl-] q leaves
  timeout 10 sampan console web </dev/null >boot.txt")]
pub struct Args {
    /// The container
    pub name: String,
    /// The terminal: 0 is the console, 1 and more are ttys, `auto` is the first tty that is free
    #[arg(short, long, value_name = "N|auto", default_value = "0", value_parser = tty)]
    tty: Tty,
    /// The key that leaves when q follows: `^a`, or `a` for the same; `none`
    #[arg(short, long, value_name = "KEY", default_value = "^a", value_parser = key)]
    escape: Key,
}

/// A control key, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub Option<u8>);

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    context.need_root("opening a console")?;
    let container = context.container(&args.name)?;
    let name = &args.name;
    let interactive = std::io::stdin().is_terminal();
    let key = args.escape.0.filter(|_| interactive);
    let banner = |number: u32| {
        let terminal = match number {
            0 => "the console".to_owned(),
            _ => format!("tty {number}"),
        };
        let leave = key.map_or(String::new(), |key| {
            let key = key_name(key);
            format!("; {key} q leaves, {key} {key} sends one {key}")
        });
        if interactive {
            context
                .console
                .say(&format!("connected to {terminal} of {name}{leave}"));
        }
    };
    let end = container.console(args.tty, key, banner)?;
    let say = |what: &str| {
        if interactive {
            context.console.say_below(&format!("{what} {name}"));
        }
    };
    Ok(match end {
        SessionEnd::Signaled(signal) => {
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
        SessionEnd::Stopped => {
            say("the container stopped:");
            ExitCode::SUCCESS
        }
        _ => {
            say("left");
            ExitCode::SUCCESS
        }
    })
}

fn tty(word: &str) -> Result<Tty, String> {
    match word {
        "auto" => Ok(Tty::Free),
        "0" => Ok(Tty::Console),
        number => number
            .parse()
            .map(Tty::Number)
            .map_err(|_| "it is neither a number nor `auto`".to_owned()),
    }
}

/// A key as people write it: `^a`, `^A`, `a`; `none`.
pub fn key(word: &str) -> Result<Key, String> {
    if word == "none" {
        return Ok(Key(None));
    }
    let letter = match word.strip_prefix('^').unwrap_or(word).as_bytes() {
        [letter] => letter.to_ascii_uppercase(),
        _ => 0,
    };
    match letter {
        b'A'..=b'Z' | b'[' | b'\\' | b']' | b'^' | b'_' => Ok(Key(Some(letter & 0x1f))),
        _ => Err("it is no control key such as `^a` or `^]`".to_owned()),
    }
}

/// A key for people.
pub fn key_name(key: u8) -> String {
    format!("Ctrl-{}", char::from(key | 0x40).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_people_and_lxc_write_them() {
        assert_eq!(key("^a"), Ok(Key(Some(1))));
        assert_eq!(key("a"), Ok(Key(Some(1))));
        assert_eq!(key("^]"), Ok(Key(Some(0x1d))));
        assert_eq!(key("none"), Ok(Key(None)));
        assert!(key("").is_err() && key("^1").is_err() && key("ab").is_err());
        assert_eq!(key_name(1), "Ctrl-a");
        assert_eq!(key_name(0x1d), "Ctrl-]");
    }
}
