//! `sampan config edit`: on a copy, in an editor, and taken only if it can be obeyed.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{BufRead, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use sampan_runtime::{Error, Replaced};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The editor is $VISUAL, else $EDITOR, else sensible-editor or vi. What it leaves is checked as a whole.
If it cannot be obeyed nothing is changed: on a terminal you may go on editing, elsewhere the text is
kept and the message says where.

Example:
  EDITOR=nano sampan config edit web")]
pub struct Args {
    /// The container
    name: String,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    context.need_root("changing a container's config")?;
    let name = &args.name;
    let container = context.container(name)?;
    let before = container.config()?;
    let copy = Copy::new(name, &before.to_string())?;
    loop {
        if let Err(failure) = copy.edit() {
            return Err(copy.keep_if_changed(&before.to_string(), failure));
        }
        let text = match copy.text() {
            Ok(text) => text,
            Err(failure) => return Err(copy.keep(failure)),
        };
        let refused = match container.replace_config(&before, &text) {
            Ok(Replaced::Done(edited)) => {
                copy.remove();
                super::report(context, name, &edited);
                return Ok(());
            }
            Ok(Replaced::Refused(problems)) => refusal(name, &problems),
            Err(error) => return Err(copy.keep(error.into())),
        };
        if !again(&refused)? {
            return Err(copy.keep(refused));
        }
    }
}

/// All problems of a text, a line each.
fn refusal(name: &str, problems: &[Error]) -> Failure {
    let mut message = format!("the config of {name} was not changed: ");
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| match problem.hint() {
            Some(hint) => format!("{} ({hint})", problem.chain()),
            None => problem.chain(),
        })
        .collect();
    message.push_str(&lines.join("\n       "));
    Failure::new(output::printable(&message))
}

/// Asks whether to go on, if somebody can answer.
fn again(refused: &Failure) -> Outcome<bool> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !(stdin.is_terminal() && stderr.is_terminal()) {
        return Ok(false);
    }
    let asked = write!(stderr, "{}Edit it again? [Y/n] ", refused.words())
        .and_then(|()| stderr.flush())
        .and_then(|()| {
            let mut answer = String::new();
            stdin
                .lock()
                .read_line(&mut answer)
                .map(|read| (read, answer))
        });
    let (read, answer) =
        asked.map_err(|error| Failure::new(format!("cannot ask on the terminal: {error}")))?;
    Ok(read > 0 && !answer.trim_start().to_ascii_lowercase().starts_with('n'))
}

/// The text that is being edited, in a file that nobody else can read.
struct Copy {
    path: PathBuf,
}

impl Copy {
    fn new(name: &str, text: &str) -> Outcome<Self> {
        let directory = std::env::temp_dir();
        let failed = |path: &Path, error: std::io::Error| {
            Failure::new(format!("cannot write {}: {error}", path.display()))
        };
        let mut number = 0;
        loop {
            let file = format!("sampan-{name}-{}-{number}.conf", std::process::id());
            let path = directory.join(file);
            let opened = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match opened {
                Ok(mut file) => {
                    let copy = Self { path };
                    return match file.write_all(text.as_bytes()) {
                        Ok(()) => Ok(copy),
                        Err(error) => {
                            let failure = failed(&copy.path, error);
                            copy.remove();
                            Err(failure)
                        }
                    };
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 100 => {
                    number += 1;
                }
                Err(error) => return Err(failed(&path, error)),
            }
        }
    }

    /// Runs the editor on it.
    fn edit(&self) -> Outcome {
        let editor = ["VISUAL", "EDITOR"]
            .into_iter()
            .filter_map(std::env::var_os)
            .find(|editor| !editor.is_empty());
        // A shell, as the variables may hold arguments too.
        let mut script = editor.unwrap_or_else(|| {
            OsString::from("$(command -v sensible-editor || command -v vi || echo vi)")
        });
        let shown = script.to_string_lossy().into_owned();
        script.push(" \"$1\"");
        let status = Command::new("/bin/sh")
            .arg("-c")
            .arg(script)
            .arg("sampan-config-edit")
            .arg(&self.path)
            .status()
            .map_err(|error| Failure::new(format!("cannot start the editor: {error}")))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the editor ({shown}) failed, and nothing was changed: {status}"
        ))
        .hint("choose another one with $EDITOR"))
    }

    fn text(&self) -> Outcome<String> {
        let path = self.path.display();
        let bytes = fs::read(&self.path)
            .map_err(|error| Failure::new(format!("cannot read {path} again: {error}")))?;
        String::from_utf8(bytes)
            .map_err(|_| Failure::new(format!("{path} is not UTF-8, and nothing was changed")))
    }

    fn remove(self) {
        // What cannot be removed is a copy of what root may read anyway.
        let _ = fs::remove_file(&self.path);
    }

    /// Leaves it there, and says so.
    fn keep(self, failure: Failure) -> Failure {
        failure.hint(format!("what you wrote is in {}", self.path.display()))
    }

    /// As [`Copy::keep`], if something was written.
    fn keep_if_changed(self, before: &str, failure: Failure) -> Failure {
        if fs::read(&self.path).is_ok_and(|now| now == before.as_bytes()) {
            self.remove();
            return failure;
        }
        self.keep(failure)
    }
}
