//! Hooks that run on the host, by the monitor or the command line.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Context, Output, TIME_LIMIT, sentence};
use crate::config::{Hook, HookKind, Settings};
use crate::error::{Error, Result, Tried};
use crate::sys::pidfd::{self, Ended};
use crate::sys::plan::{Exec, Plan, Step};
use crate::sys::spawn::{Running, spawn};

/// Runs the hooks of a moment, one after the other, until one fails.
pub(crate) fn run_all(
    context: &Context,
    settings: &Settings,
    kind: HookKind,
    more: &[String],
    output: &mut Output,
) -> Result<()> {
    for hook in settings.hooks.of(kind) {
        run(context, hook, more, output, TIME_LIMIT)?;
    }
    Ok(())
}

/// Runs one program as hooks are run. `sentence` completes "could not …".
pub(crate) fn run_script(program: Exec, sentence: &str, output: &mut Output) -> Result<()> {
    execute(program, sentence, output, TIME_LIMIT)
}

fn run(
    context: &Context,
    hook: &Hook,
    more: &[String],
    output: &mut Output,
    limit: Duration,
) -> Result<()> {
    execute(context.program(hook, more)?, &sentence(hook), output, limit)
}

fn execute(program: Exec, sentence: &str, output: &mut Output, limit: Duration) -> Result<()> {
    output.begin();
    let copy = || "copy a descriptor".to_owned();
    let null = std::fs::File::open("/dev/null").tried(|| "open /dev/null".to_owned())?;
    let mut plan = Plan::new().tried(|| "open pipes".to_owned())?;
    let null = plan.keep(&OwnedFd::from(null)).tried(copy)?;
    let write = plan.keep(output.write_end()).tried(copy)?;
    plan.step("start a session", Step::Setsid);
    plan.step("bind its life to its caller's", Step::DieWithParent);
    for (from, to) in [(null, 0), (write, 1), (write, 2)] {
        plan.step(format!("pass descriptor {to}"), Step::Dup2(from, to));
    }
    plan.step("change to the directory /", Step::Chdir(c"/".to_owned()));
    plan.step("close descriptors", Step::CloseOnExecFrom(3));
    plan.step("execute /bin/sh", Step::Exec(program));
    let failed = |how: String| Error::user(format!("could not {sentence}: {how}"));
    let running = spawn(plan, 0, None)?
        .wait_for_exec()
        .map_err(|failure| Error::from(failure).wrap(format!("could not {sentence}")))?;
    match wait(&running, output, limit)? {
        Some(ended) if ended.success() => Ok(()),
        Some(Ended::Exited(code)) => Err(failed(format!("it ended with status {code}"))),
        Some(Ended::Signaled(signal)) => Err(failed(format!("it was killed by signal {signal}"))),
        None => Err(failed(format!(
            "it did not end within {} s and was killed",
            limit.as_secs()
        ))),
    }
    .map_err(|error| output.explain(error))
}

/// How it ended; `None` if it was killed because it took too long.
fn wait(running: &Running, output: &mut Output, limit: Duration) -> Result<Option<Ended>> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [
            PollFd::new(running.pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(output.read_end(), PollFlags::POLLIN),
        ];
        let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, patience) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e).tried(|| "wait for a hook".to_owned()),
        }
        let ended = fds[0].any().unwrap_or(false);
        output.take();
        if ended {
            let ended = pidfd::wait(running.pidfd.as_fd());
            return ended.map(Some).tried(|| "wait for a hook".to_owned());
        }
        if left.is_zero() {
            // Its session has its number, which nobody else has while it is not reaped.
            let _ = killpg(Pid::from_raw(running.pid), Signal::SIGKILL);
            let _ = pidfd::wait(running.pidfd.as_fd());
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(version: u32, command: &str, limit: Duration) -> (Result<()>, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut output = Output::new(&log).unwrap();
        let context = Context {
            name: "web".to_owned(),
            version,
            variables: vec![("LXC_NAME".into(), "web".into())],
        };
        let hook = Hook {
            kind: HookKind::PreStart,
            command: command.to_owned(),
            place: "/x/config:3".to_owned(),
        };
        let result = run(&context, &hook, &["more".to_owned()], &mut output, limit);
        (result, std::fs::read_to_string(&log).unwrap())
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn version_0_tells_by_arguments_and_version_1_by_the_environment() {
        let script = r#"sh -c 'echo "$0 $* $LXC_NAME $LXC_HOOK_TYPE $LXC_HOOK_SECTION"'"#;
        let (result, log) = call(0, script, MINUTE);
        result.unwrap();
        assert_eq!(log, "web lxc pre-start more web  \n");
        let (result, log) = call(1, script, MINUTE);
        result.unwrap();
        assert_eq!(log, "sh  web pre-start lxc\n");
    }

    #[test]
    fn a_hook_that_fails_is_named_with_its_status_and_last_words() {
        let (result, log) = call(0, "sh -c 'echo no disk >&2; exit 7'", MINUTE);
        let error = result.unwrap_err();
        assert!(
            error
                .chain()
                .ends_with("(/x/config:3): it ended with status 7"),
            "{}",
            error.chain()
        );
        assert!(error.chain().contains("lxc.hook.pre-start = sh -c"));
        assert_eq!(error.hint(), Some("its last words: no disk"));
        assert_eq!(log, "no disk\n");
        let (result, _) = call(0, "/no/such/hook", MINUTE);
        assert!(result.unwrap_err().chain().contains("status 127"));
    }

    #[test]
    fn a_hook_that_does_not_end_is_killed_with_what_it_started() {
        let begun = Instant::now();
        let (result, _) = call(
            1,
            "sh -c 'sleep 600 & sleep 600'",
            Duration::from_millis(100),
        );
        assert!(begun.elapsed() < MINUTE);
        let error = result.unwrap_err().chain();
        assert!(error.contains("did not end within"), "{error}");
    }

    #[test]
    fn what_a_hook_leaves_running_is_not_waited_for() {
        let begun = Instant::now();
        let (result, log) = call(1, "sh -c 'sleep 60 & echo $!'", MINUTE);
        let left = log.trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
        result.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
