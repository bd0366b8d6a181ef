//! `sampan events` beside a test.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{TestEnvironment, deadline_of};

/// `sampan events` in the background; killed at the end.
pub struct Watcher {
    child: Child,
    output: PathBuf,
}

impl Watcher {
    /// With these arguments; returns when it watches.
    #[track_caller]
    pub fn start(env: &TestEnvironment, arguments: &[&str]) -> Watcher {
        let number = fs::read_dir(env.scratch()).unwrap().count();
        let output = env.scratch().join(format!("events-{number}"));
        let told = env.scratch().join(format!("events-{number}.err"));
        let child = env
            .command(&[&["events"], arguments].concat())
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&told).unwrap())
            .spawn()
            .unwrap();
        let watcher = Watcher { child, output };
        deadline_of("the watcher watches", || {
            fs::read_to_string(&told)
                .is_ok_and(|text| text.contains("watching"))
                .then_some(())
        });
        watcher
    }

    /// What it has printed so far.
    #[track_caller]
    pub fn text(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Of all containers, as JSON.
    #[track_caller]
    pub fn json(env: &TestEnvironment) -> Watcher {
        Watcher::start(env, &["--format", "json"])
    }

    /// The events so far, of one that prints JSON.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The names of the events so far.
    pub fn names(&self) -> Vec<String> {
        let name = |event: &Value| event["event"].as_str().unwrap().to_owned();
        self.events().iter().map(name).collect()
    }

    /// Waits for an event of this name, and returns the first.
    #[track_caller]
    pub fn until(&self, name: &str) -> Value {
        let find = || self.events().into_iter().find(|e| e["event"] == name);
        deadline_of(&format!("the event {name}"), || find().map(drop));
        find().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
