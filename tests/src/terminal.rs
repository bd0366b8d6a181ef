//! A command on a real pseudo terminal.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::process::{DEADLINE, wait_until};

/// A command whose controlling terminal is one of the test's, and what that shows.
pub struct Terminal {
    child: Child,
    master: File,
    /// Kept, so that the terminal outlives the command.
    slave: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    initial: String,
}

impl Terminal {
    /// Starts it in a window of 24 lines and 80 columns.
    #[track_caller]
    pub fn start(command: &Command) -> Self {
        let pair = openpty(None, None).expect("a pseudo terminal");
        // Before there is a command that could change them.
        stty(&pair.slave, &["rows", "24", "columns", "80"]);
        let initial = stty(&pair.slave, &["-g"]);
        let slave = || Stdio::from(pair.slave.try_clone().expect("another descriptor"));
        // setsid(1) executes the command in its place: the child is no leader of a group.
        let mut wrapped = Command::new("setsid");
        wrapped
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        wrapped.stdin(slave()).stdout(slave()).stderr(slave());
        let child = wrapped.spawn().expect("setsid");
        let master = File::from(pair.master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, shared) = (master.try_clone().expect("a copy"), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n) = reader.read(&mut buffer) {
                match shared.lock() {
                    Ok(mut seen) => seen.extend_from_slice(&buffer[..n]),
                    Err(_) => return,
                }
            }
        });
        Self {
            child,
            master,
            slave: pair.slave,
            seen,
            initial,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Presses keys.
    pub fn press(&self, keys: &str) {
        let written = (&self.master).write_all(keys.as_bytes());
        written.expect("the terminal takes keys");
    }

    /// All that it has shown so far.
    pub fn shown(&self) -> String {
        let seen = self.seen.lock().expect("no reader has panicked");
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Waits until it shows this.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let found = wait_until(Duration::from_secs(30), || {
            self.shown().contains(text).then_some(())
        });
        assert!(found.is_some(), "no {text:?} in:\n{}", self.shown());
    }

    /// Changes the window.
    #[track_caller]
    pub fn resize(&self, lines: u16, columns: u16) {
        let (lines, columns) = (lines.to_string(), columns.to_string());
        stty(&self.slave, &["rows", &lines, "columns", &columns]);
    }

    /// The terminal's settings, as stty(1) writes them.
    #[track_caller]
    pub fn settings(&self) -> String {
        stty(&self.slave, &["-g"])
    }

    /// The same before the command was started.
    pub fn initial_settings(&self) -> &str {
        &self.initial
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(id), signal);
    }

    /// Waits for its end: the exit code, or 128 plus the signal's number.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = wait_until(DEADLINE, || self.child.try_wait().ok().flatten());
        let Some(status) = status else {
            panic!("not done within {DEADLINE:?}:\n{}", self.shown());
        };
        status
            .code()
            .or(status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn stty(terminal: &OwnedFd, arguments: &[&str]) -> String {
    let terminal = terminal.try_clone().expect("another descriptor");
    let ran = Command::new("stty")
        .args(arguments)
        .stdin(terminal)
        .output()
        .expect("stty");
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}
