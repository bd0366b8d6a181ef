//! `sampan shell`.

use std::process::ExitCode;

use sampan_runtime::ExecRequest;

use super::exec::{self, LOGIN};
use crate::{context::Context, failure::Outcome};

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
