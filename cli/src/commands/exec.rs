//! `sampan exec`.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use sampan_runtime::{ExecRequest, Reason};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
};

/// A login shell in root's home: bash where there is one.
pub const LOGIN: &str = "cd; if command -v bash >/dev/null; then exec bash -l; fi; exec sh -l";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The exit code is the command's; 128 plus the number of the signal that ended it; 127 if it was not
found and 126 if it could not be executed.

Examples:
  sampan exec web -- systemctl status
  sampan exec -e LANG=C -w /tmp web -- ls -l
  tar -c site | sampan exec web -- tar -x -C /var/www")]
pub struct Args {
    /// The container
    pub name: String,
    /// A variable of the command's environment
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    environment: Vec<String>,
    /// The command's working directory [default: /]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// The user id inside
    #[arg(short, long, default_value_t = 0)]
    uid: u32,
    /// The group id inside
    #[arg(short, long, default_value_t = 0)]
    gid: u32,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    let request = ExecRequest {
        argv: args.command.clone(),
        environment: variables(&args.environment)?,
        uid: args.uid,
        gid: args.gid,
        directory: args.workdir.clone(),
    };
    in_container(context, &args.name, &request)
}

/// Variables as they are typed.
pub fn variables(words: &[String]) -> Outcome<Vec<(OsString, OsString)>> {
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
            _ => Err(Failure::new(format!("`{word}` is not KEY=VALUE"))),
        })
        .collect()
}

/// Runs a command in a running container and passes on its exit code.
pub fn in_container(context: &Context, name: &str, request: &ExecRequest) -> Outcome<ExitCode> {
    context.need_root("running a command in a container")?;
    let container = context.container(name)?;
    match container.exec(request) {
        Ok(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        Err(error) => {
            let code = match error.reason() {
                Reason::CommandNotFound => 127,
                Reason::CommandNotExecutable => 126,
                _ => return Err(error.into()),
            };
            eprint!("{}", Failure::from(error).words());
            Ok(ExitCode::from(code))
        }
    }
}
