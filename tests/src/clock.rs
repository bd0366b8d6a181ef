//! A wall clock that jumps, without the machine's own being touched.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    process::{Child, Command, Stdio},
};

use crate::{
    environment::{TestEnvironment, fixtures},
    process::{Background, Ran},
};

/// A mount namespace in whose /etc the dynamic linker is told to load the fixture that shifts the
/// clock: also into a monitor, whose environment is empty.
pub struct Clock<'a> {
    env: &'a TestEnvironment,
    /// Keeps the namespace. It ends with its input, and so with the test.
    holder: Child,
    offset: File,
}

impl<'a> Clock<'a> {
    /// One that is right as yet.
    #[track_caller]
    pub fn new(env: &'a TestEnvironment) -> Self {
        let library = fixtures().with_file_name("libclock.so");
        assert!(library.exists(), "run `cargo xtask fixtures`");
        let (file, etc) = (env.scratch().join("clock"), env.scratch().join("etc"));
        fs::write(&file, [0; 8]).expect("a file for the offset");
        let offset = File::options().write(true).open(&file).expect("that file");
        let script = "set -e
            cp -a /etc \"$1\"
            echo \"$2\" > \"$1/ld.so.preload\"
            ln -s \"$3\" \"$1/sampan-test-clock\"
            mount --bind \"$1\" /etc
            echo ready
            exec cat";
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-c", script, "sh"])
            .args([&etc, &library, &file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        assert!(read.is_ok() && line == "ready\n", "no /etc: {line:?}");
        Self {
            env,
            holder,
            offset,
        }
    }

    /// From now on it is off by so many seconds, also for what runs already.
    #[track_caller]
    pub fn set(&self, seconds: i64) {
        let bytes = seconds.to_ne_bytes();
        self.offset.write_all_at(&bytes, 0).expect("a new offset");
    }

    /// Starts `sampan` by this clock.
    #[track_caller]
    pub fn background(&self, arguments: &[&str]) -> Background {
        Background::start(self.command(&self.env.command(arguments)), b"")
    }

    /// Runs `sampan` by this clock to its end.
    #[track_caller]
    pub fn sampan(&self, arguments: &[&str]) -> Ran {
        self.background(arguments).wait()
    }

    /// The same command, by this clock.
    pub fn command(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => entered.env(key, value),
                None => entered.env_remove(key),
            };
        }
        entered
    }
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
