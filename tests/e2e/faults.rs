//! kill -9 of the command, the monitor and the guest's init at random moments of every operation.
//!
//! After each: the state told is true, nothing leaks, nothing is lost, the next command works. The
//! seed is printed; SAMPAN_FAULT_SEED=N repeats its choices, though not the machine's timing.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sampan_tests::{Choices, TestEnvironment, leaks, wait_until};

const KILLS: usize = 200;
const CLIENTS: usize = 4;
/// How long an operation may take to come to rest after a kill.
const REST: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Command,
    Monitor,
    Init,
}

/// What is done to a container meanwhile; whether it must run for that.
struct Operation {
    name: &'static str,
    arguments: fn(&str) -> Vec<String>,
    victims: &'static [Victim],
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn create(name: &str, storage: &[&str]) -> Vec<String> {
    let program = "program=/bin/busybox";
    let create = ["-q", "create", name, "-t", "naughty", "-o", program];
    words(&[&create[..], &["--storage"], storage].concat())
}

const ABSENT: [Operation; 3] = [
    Operation {
        name: "create",
        arguments: |name| create(name, &["dir"]),
        victims: &[Victim::Command],
    },
    Operation {
        name: "create on an overlay",
        arguments: |name| create(name, &["overlay"]),
        victims: &[Victim::Command],
    },
    Operation {
        name: "create in a loop",
        arguments: |name| create(name, &["loop", "--size", "16M"]),
        victims: &[Victim::Command],
    },
];

const STOPPED: [Operation; 6] = [
    Operation {
        name: "start",
        arguments: |name| words(&["start", name]),
        victims: &[Victim::Command, Victim::Monitor, Victim::Init],
    },
    Operation {
        name: "destroy",
        arguments: |name| words(&["destroy", "--snapshots", name]),
        victims: &[Victim::Command],
    },
    Operation {
        name: "copy",
        arguments: |name| words(&["copy", name, &format!("{name}copy")]),
        victims: &[Victim::Command],
    },
    Operation {
        name: "copy that shares",
        arguments: |name| words(&["copy", "--snapshot", name, &format!("{name}copy")]),
        victims: &[Victim::Command],
    },
    Operation {
        name: "snapshot",
        arguments: |name| words(&["snapshot", "create", name, "kept"]),
        victims: &[Victim::Command],
    },
    // Without a snapshot it only says so.
    Operation {
        name: "restore",
        arguments: |name| words(&["snapshot", "restore", name, "kept"]),
        victims: &[Victim::Command],
    },
];

const RUNNING: [Operation; 4] = [
    Operation {
        name: "exec",
        arguments: |name| words(&["exec", name, "--", "sleep", "30"]),
        victims: &[Victim::Command, Victim::Monitor, Victim::Init],
    },
    Operation {
        name: "stop",
        arguments: |name| words(&["stop", "--kill", name]),
        victims: &[Victim::Command, Victim::Monitor, Victim::Init],
    },
    Operation {
        name: "destroy",
        arguments: |name| words(&["destroy", "--force", "--snapshots", name]),
        victims: &[Victim::Command, Victim::Monitor, Victim::Init],
    },
    Operation {
        name: "ls",
        arguments: |_| words(&["ls"]),
        victims: &[Victim::Command, Victim::Monitor, Victim::Init],
    },
];

#[test]
fn after_two_hundred_kills_the_state_told_is_true_nothing_leaks_and_the_next_command_works() {
    let seed = Choices::seed();
    let env = TestEnvironment::new();
    // The image that all share, and how long things take here.
    let begun = Instant::now();
    env.small_guest("first");
    let whole = begun.elapsed();
    env.sampan(&["destroy", "--force", "first"]).ok();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let env = &env;
            // Also of this process, as cgroups are looked up by name.
            let name = format!("fault{}x{number}", std::process::id());
            let choices = Choices::new(seed, number as u64);
            scope.spawn(move || {
                let mut subject = Subject {
                    env,
                    name,
                    choices,
                    took: BTreeMap::new(),
                    whole,
                    history: Vec::new(),
                };
                // Not every one comes in time: what counts are those that hit somebody.
                let hits = (0..4 * KILLS / CLIENTS).filter(|_| subject.kill_something());
                let hits = hits.take(KILLS / CLIENTS).count();
                assert_eq!(hits, KILLS / CLIENTS, "most kills came too late");
            });
        }
    });
    env.sampan(&["image", "verify"]).ok();
    // Whoever works there next removes what the killed ones had begun.
    env.small_guest("last");
    let names = env.state().read_dir().unwrap().flatten();
    let begun: Vec<_> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".new-") || name.starts_with(".old-"))
        .collect();
    assert!(begun.is_empty(), "{begun:?}");
}

struct Subject<'a> {
    env: &'a TestEnvironment,
    name: String,
    choices: Choices,
    /// How long each operation last took where it was let alone; of a creation, all in all.
    took: BTreeMap<&'static str, Duration>,
    whole: Duration,
    history: Vec<String>,
}

impl Subject<'_> {
    /// Whether there was somebody to kill still.
    fn kill_something(&mut self) -> bool {
        let before = self.rest();
        let operation = match before.as_str() {
            "absent" => self.choices.of(&ABSENT),
            "stopped" => self.choices.of(&STOPPED),
            _ => self.choices.of(&RUNNING),
        };
        let victim = *self.choices.of(operation.victims);
        let span = self.took.get(operation.name).unwrap_or(&self.whole);
        let moment = self.choices.moment(*span);
        self.history.push(format!(
            "{before}: {} with {victim:?} killed after {moment:?}",
            operation.name
        ));

        let arguments = (operation.arguments)(&self.name);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let init = self.init();
        let begun = Instant::now();
        let command = self.env.background(&arguments);
        let id = command.id();
        let gone = move || (!Path::new(&format!("/proc/{id}/exe")).exists()).then_some(());
        let _ = wait_until(moment, gone);
        let killed = |pid: i32| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
        let mut hit = false;
        match victim {
            Victim::Command => command.signal(Signal::SIGKILL),
            Victim::Monitor => {
                for pid in leaks::monitors(self.env.root(), &self.name) {
                    hit |= killed(pid as i32);
                }
            }
            // Of a start, the one that it has got to so far.
            Victim::Init => hit = init.or_else(|| self.init()).is_some_and(killed),
        }
        if operation.name == "exec" && victim != Victim::Command {
            // It may have been killed before it got in: then it sleeps on in a sound guest.
            command.signal(Signal::SIGTERM);
        }
        let ran = command.wait_for(REST);
        if victim == Victim::Command {
            hit = ran.code == 128 + Signal::SIGKILL as i32;
        }
        if ran.code == 0 {
            self.took.insert(operation.name, begun.elapsed());
        }
        self.history
            .push(format!("it ended with {}: {}", ran.code, ran.stderr.trim()));

        let after = self.rest();
        self.history.push(format!("then {after}"));
        let allowed: &[&str] = match (operation.name, victim) {
            (create, _) if create.starts_with("create") => &["absent", "stopped"],
            ("start", _) => &["stopped", "running"],
            ("destroy", _) => &["absent", &before, "stopped"],
            ("copy" | "copy that shares" | "snapshot" | "restore", _) => &["stopped"],
            ("exec" | "ls", Victim::Command) => &["running"],
            _ => &["running", "stopped"],
        };
        self.must(allowed.contains(&after.as_str()), "the state is possible");
        if operation.name.starts_with("copy") {
            // Before the next start: what lies under others does not start.
            let copy = format!("{}copy", self.name);
            let told = self.env.state_of(&copy);
            self.must(matches!(told.as_str(), "absent" | "stopped"), &told);
            if told == "stopped" {
                self.next(&["destroy", &copy]);
            }
        }
        match after.as_str() {
            "running" => self.check_running(victim),
            _ => self.check_at_rest(&after),
        }
        if matches!(operation.name, "snapshot" | "restore") {
            let name = self.name.clone();
            // It lists what is whole, and only that can be gone back to.
            let listed = self.env.sampan(&["snapshot", "ls", &name]);
            self.must(listed.code == 0, &listed.stderr);
            if self.env.state_of(&name) == "stopped" && listed.stdout.contains("kept") {
                self.next(&["snapshot", "restore", &name, "kept"]);
                self.check_files();
            }
        }
        hit
    }

    /// The state that is told once nothing is under way any more.
    fn rest(&self) -> String {
        let mut told = String::new();
        let at_rest = wait_until(REST, || {
            told = self.env.state_of(&self.name);
            let monitors = leaks::monitors(self.env.root(), &self.name).len();
            match told.as_str() {
                "running" => monitors == 1,
                "stopped" | "absent" => monitors == 0,
                _ => false,
            }
            .then_some(())
        });
        let monitors = leaks::monitors(self.env.root(), &self.name);
        let what = format!("\"{told}\" is told while there are the monitors {monitors:?}");
        self.must(at_rest.is_some(), &what);
        told
    }

    fn check_running(&mut self, victim: Victim) {
        let ran = self.env.sampan(&["exec", &self.name, "--", "true"]);
        if ran.code != 0 && victim != Victim::Command {
            // The state was told before the kill had its effect. That comes now.
            let stopped = wait_until(REST, || (self.rest() == "stopped").then_some(()));
            let what = format!("it is stopped once exec fails with {}", ran.stderr);
            self.must(stopped.is_some(), &what);
            return self.check_at_rest("stopped");
        }
        self.must(ran.code == 0, &format!("exec works: {}", ran.stderr));
        self.check_files();
    }

    fn check_at_rest(&mut self, state: &str) {
        // Another client's command may be at it, and then this one's leaves it to that.
        let mut left = Vec::new();
        let clean = wait_until(REST, || {
            left = leaks::leaks(self.env.root(), &self.name);
            left.is_empty().then_some(())
        });
        self.must(clean.is_some(), &format!("nothing leaks, but {left:?}"));
        if state != "stopped" {
            return;
        }
        self.check_files();
        // Half of the time, so that other operations get a stopped one.
        if self.choices.below(2) == 0 {
            let name = self.name.clone();
            self.next(&["start", &name]);
            self.next(&["exec", &name, "--", "true"]);
        }
    }

    /// What a container is made of is there for as long as it exists.
    fn check_files(&self) {
        let told = self.env.sampan(&["info", &self.name, "--format", "json"]);
        self.must(told.code == 0, &told.stderr);
        let told = told.json();
        let path = |field: &str| PathBuf::from(told[field].as_str().unwrap_or_default());
        let rootfs = path("rootfs");
        let mut all = vec![path("config")];
        match told["storage"].as_str() {
            // What is in the file is tried by starting it.
            Some("loop") => all.push(rootfs),
            Some("overlay") => {
                self.must(rootfs.is_dir(), "it has a directory for what it changes");
                let image = told["lower"][0].as_str().map(PathBuf::from);
                all.push(image.unwrap_or_default().join("bin/busybox"));
            }
            _ => all.extend(["bin/busybox", "etc/passwd"].map(|file| rootfs.join(file))),
        }
        for path in all {
            let size = path.symlink_metadata().map_or(0, |found| found.len());
            self.must(size > 0, &format!("{} is whole", path.display()));
        }
    }

    fn next(&self, arguments: &[&str]) {
        let ran = self.env.sampan(arguments);
        let what = format!("the next command, {arguments:?}, works: {}", ran.stderr);
        self.must(ran.code == 0, &what);
    }

    fn init(&self) -> Option<i32> {
        let told = self.env.sampan(&["info", &self.name, "--format", "json"]);
        if told.code != 0 {
            return None;
        }
        i32::try_from(told.json()["init_pid"].as_i64()?).ok()
    }

    #[track_caller]
    fn must(&self, holds: bool, what: &str) {
        let from = self.history.len().saturating_sub(9);
        assert!(
            holds,
            "not so: {what}\n{}:\n{}",
            self.name,
            self.history[from..].join("\n")
        );
    }
}
