//! One command in place of an init.

use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::Settings;
use crate::error::{Error, Result, Tried};
use crate::exec::ExecRequest;
use crate::sandbox::c_string;
use crate::sandbox::in_root::program_of;
use crate::sys::plan::{Plan, Step};

/// A command that a container runs, and ends with.
pub(crate) struct Execution {
    pub(crate) request: ExecRequest,
    /// The command's standard streams that are not the console.
    pub(crate) streams: Vec<(i32, OwnedFd)>,
}

/// The end of a plan whose standard streams are the console.
pub(super) fn add(plan: &mut Plan, settings: &Settings, execution: &Execution) -> Result<()> {
    let request = &execution.request;
    plan.step(
        "start a process for the command",
        Step::ForkCommand {
            arguments: own_arguments()?,
        },
    );
    plan.step("start a session", Step::Setsid);
    if execution.streams.len() < 3 && !settings.console.none {
        plan.step("take the console as its terminal", Step::ControllingTty(0));
    }
    for (number, stream) in &execution.streams {
        let copy = || "copy a descriptor".to_owned();
        let fd = plan.keep_borrowed(stream.as_fd()).tried(copy)?;
        plan.step(format!("pass descriptor {number}"), Step::Dup2(fd, *number));
    }
    plan.step("close descriptors", Step::CloseOnExecFrom(3));
    if (request.uid, request.gid) != (0, 0) {
        plan.step(
            format!("become user {} and group {}", request.uid, request.gid),
            Step::SetIds {
                uid: request.uid,
                gid: request.gid,
                groups: Vec::new(),
            },
        );
    }
    let directory = request.directory.as_deref();
    let directory = directory.or(settings.init_directory.as_deref());
    let directory = directory.unwrap_or(Path::new("/"));
    plan.step(
        format!("change to the directory {}", directory.display()),
        Step::Chdir(c_string(directory.as_os_str().as_bytes())?),
    );
    let command = request.argv.first().cloned().unwrap_or_default();
    plan.step(
        format!("execute {} in the container", command.to_string_lossy()),
        Step::Exec(program_of(&request.argv, &environment(settings, request))?),
    );
    Ok(())
}

fn environment(settings: &Settings, request: &ExecRequest) -> Vec<(OsString, OsString)> {
    let mut variables = super::environment(settings);
    variables.push(("HOME".into(), "/root".into()));
    for (key, value) in &request.environment {
        variables.retain(|(known, _)| known != key);
        variables.push((key.clone(), value.clone()));
    }
    variables
}

/// Where this process's arguments lie (proc(5), fields 48 and 49 of `stat`).
fn own_arguments() -> Result<Range<usize>> {
    let file = "/proc/self/stat";
    let text = fs::read_to_string(file).tried(|| format!("read {file}"))?;
    let wrong = || Error::internal(format!("{file} is not as proc(5) describes it"));
    // The name, in parentheses, may contain anything.
    let (_, rest) = text.rsplit_once(')').ok_or_else(wrong)?;
    let field = |number: usize| {
        let word = rest.split_whitespace().nth(number - 3);
        word.and_then(|word| word.parse::<usize>().ok())
            .ok_or_else(wrong)
    };
    Ok(field(48)?..field(49)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_arguments_somewhere() {
        let range = own_arguments().unwrap();
        let written = fs::read("/proc/self/cmdline").unwrap().len();
        assert_eq!(range.len(), written);
    }
}
