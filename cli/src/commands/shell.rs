//! `sampan shell`.

use std::process::ExitCode;

use sampan_runtime::ExecRequest;

use super::exec;
use crate::{context::Context, failure::Outcome};

/// A login shell in root's home: bash where there is one.
const LOGIN: &str = "cd; if command -v bash >/dev/null; then exec bash -l; fi; exec sh -l";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container
    pub name: String,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    let request = ExecRequest {
        argv: ["/bin/sh", "-c", LOGIN].map(Into::into).to_vec(),
        ..ExecRequest::default()
    };
    exec::in_container(context, &args.name, &request)
}
