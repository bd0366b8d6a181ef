//! Running commands with a deadline.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// No single command of a test takes longer.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// How a command ended and what it wrote.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The exit code, or 128 plus the signal's number.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The same, after a check that it succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "it failed:\n{}{}", self.stdout, self.stderr);
        self
    }

    /// The same, after a check that it failed with exit code 1.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert_eq!(
            self.code, 1,
            "it did not fail as it should:\n{}{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("not JSON ({error}):\n{}\n{}", self.stdout, self.stderr),
        }
    }
}

/// A command that runs on while the test does something else.
pub struct Background {
    child: Child,
    output: mpsc::Receiver<(bool, Vec<u8>)>,
    what: String,
}

impl Background {
    /// Starts it with this standard input.
    #[track_caller]
    pub fn start(mut command: Command, input: &[u8]) -> Self {
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
        let (sender, output) = mpsc::channel();
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_vec();
            // A command that does not read its input is no failure of the test.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        for (is_stderr, stream) in [
            (
                false,
                child
                    .stdout
                    .take()
                    .map(|s| Box::new(s) as Box<dyn Read + Send>),
            ),
            (
                true,
                child
                    .stderr
                    .take()
                    .map(|s| Box::new(s) as Box<dyn Read + Send>),
            ),
        ] {
            let Some(mut stream) = stream else { continue };
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                let _ = sender.send((is_stderr, bytes));
            });
        }
        Self {
            child,
            output,
            what,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(id), signal);
    }

    /// Waits for its end, which must come before the deadline.
    #[track_caller]
    pub fn wait(self) -> Ran {
        self.wait_for(DEADLINE)
    }

    /// The same with another deadline, for the programs that Sampan is compared with.
    #[track_caller]
    pub fn wait_for(mut self, deadline: Duration) -> Ran {
        use std::os::unix::process::ExitStatusExt;
        let status = wait_until(deadline, || self.child.try_wait().ok().flatten());
        let Some(status) = status else {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
            panic!("not done within {deadline:?}: {}", self.what);
        };
        let mut ran = Ran {
            code: status
                .code()
                .or(status.signal().map(|s| 128 + s))
                .unwrap_or(-1),
            stdout: String::new(),
            stderr: String::new(),
        };
        for _ in 0..2 {
            // Something that outlives the command may hold its output open.
            if let Ok((is_stderr, bytes)) = self.output.recv_timeout(Duration::from_secs(5)) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                *if is_stderr {
                    &mut ran.stderr
                } else {
                    &mut ran.stdout
                } = text;
            }
        }
        ran
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Asks again and again until there is an answer; `None` after the deadline.
pub fn wait_until<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A deadline for events that take milliseconds on an idle machine.
pub fn deadline_of(what: &str, ask: impl FnMut() -> Option<()>) {
    assert!(
        wait_until(Duration::from_secs(60), ask).is_some(),
        "not within a minute: {what}"
    );
}
