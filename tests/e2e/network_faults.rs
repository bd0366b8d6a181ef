//! kill -9 of the command, the monitor, the guest's init and the service of names at random moments
//! of everything that is done with networks.
//!
//! After each: what runs has its network or gets it by the next start, what does not run has left
//! nothing on the host. At the end the host is as it was. The seed is printed; SAMPAN_FAULT_SEED=N
//! repeats its choices, though not the machine's timing.

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sampan_tests::{
    Choices, Internet, internet::PEER_4, leaks, processes, processes_below, wait_until,
};
use serde_json::Value;

const KILLS: usize = 200;
const HOSTS: usize = 4;
/// How long things may take to come to rest after a kill.
const REST: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Command,
    Monitor,
    Init,
    Names,
}

const OPERATIONS: [&[&str]; 18] = [
    &["start", "web"],
    &["start", "web"],
    &["start", "db"],
    &["stop", "--kill", "web"],
    &["stop", "--kill", "db"],
    &["restart", "web"],
    &["destroy", "--force", "db"],
    &["network", "up", "sampan0"],
    &["network", "down", "sampan0"],
    &["network", "down", "lab"],
    &["network", "rm", "lab"],
    &["network", "attach", "lab", "web"],
    &["network", "detach", "lab", "web"],
    &["network", "set", "sampan0", "host-access=yes"],
    &["network", "set", "sampan0", "host-access=no"],
    &["network", "set", "lab", "dns=no"],
    &["forward", "web", "8080:80"],
    &["forward", "rm", "web", "8080"],
];

const VICTIMS: [Victim; 6] = [
    Victim::Command,
    Victim::Command,
    Victim::Command,
    Victim::Monitor,
    Victim::Init,
    Victim::Names,
];

#[test]
fn after_two_hundred_kills_networks_are_whole_and_in_the_end_nothing_of_them_is_left() {
    let seed = Choices::seed();
    thread::scope(|scope| {
        for number in 0..HOSTS {
            scope.spawn(move || {
                let mut subject = Subject {
                    world: Internet::new(),
                    choices: Choices::new(seed, number as u64),
                    took: BTreeMap::new(),
                    history: Vec::new(),
                };
                subject.all();
            });
        }
    });
}

struct Subject {
    world: Internet,
    choices: Choices,
    /// How long each operation last took where it was let alone.
    took: BTreeMap<String, Duration>,
    history: Vec<String>,
}

impl Subject {
    fn all(&mut self) {
        self.world.host.run("nft", &["add table inet mine"]);
        let (rules, interfaces) = (self.world.rules(), self.world.host.interfaces());
        // Not every one comes in time: what counts are those that hit somebody.
        let hits = (0..4 * KILLS / HOSTS).filter(|_| self.kill_something());
        let hits = hits.take(KILLS / HOSTS).count();
        self.must(hits == KILLS / HOSTS, "most kills come in time");

        for name in ["web", "db"] {
            if self.state_of(name) != "absent" {
                self.must_work(&["destroy", "--force", name]);
            }
        }
        self.must_work(&["network", "down", "--all"]);
        for network in ["sampan0", "lab"] {
            // Either may have been removed.
            let _ = self.world.sampan(&["network", "rm", network]);
        }
        let networks = self.world.sampan(&["network", "ls", "--format", "json"]);
        self.must(
            networks.ok().json() == Value::Array(vec![]),
            "no network is left",
        );
        self.must(self.world.rules() == rules, "the rules are as before");
        let left = self.world.host.interfaces();
        self.must(left == interfaces, &format!("{left:?} are {interfaces:?}"));
        let run = self.world.env.root().join("run/sampan/.networks");
        self.must(!run.exists(), "no run directory is left");
        let left = wait_until(REST, || self.own().is_empty().then_some(()));
        let what = format!("{:?}", self.own());
        self.must(left.is_some(), &format!("no process is left but {what}"));
    }

    /// Whether there was somebody to kill still.
    fn kill_something(&mut self) -> bool {
        self.make_what_lacks();
        let operation = *self.choices.of(&OPERATIONS);
        let victim = *self.choices.of(&VICTIMS);
        let words = operation.join(" ");
        let usual = Duration::from_millis(100);
        let span = *self.took.get(&words).unwrap_or(&usual);
        let moment = self.choices.moment(span);
        self.history
            .push(format!("{words} with {victim:?} killed after {moment:?}"));

        let begun = Instant::now();
        let command = self.world.background(operation);
        let id = command.id();
        let gone = move || (!Path::new(&format!("/proc/{id}/exe")).exists()).then_some(());
        let _ = wait_until(moment, gone);
        let mut hit = false;
        match victim {
            Victim::Command => command.signal(Signal::SIGKILL),
            Victim::Monitor => {
                for pid in leaks::monitors(self.world.env.root(), "web") {
                    hit |= end(pid as i32);
                }
            }
            Victim::Init => hit = self.init("web").is_some_and(end),
            // A supervisor, or its server.
            Victim::Names => {
                let all: Vec<u32> = self
                    .own()
                    .into_iter()
                    .filter(|(_, words)| words.contains("network-service"))
                    .flat_map(|(pid, _)| processes_below(pid))
                    .collect();
                hit = !all.is_empty() && end(*self.choices.of(&all) as i32);
            }
        }
        let ran = command.wait_for(REST);
        if victim == Victim::Command {
            hit = ran.code == 128 + Signal::SIGKILL as i32;
        }
        if ran.code == 0 {
            self.took.insert(words, begun.elapsed());
        }
        self.history
            .push(format!("it ended with {}: {}", ran.code, ran.stderr.trim()));
        self.check();
        hit
    }

    /// So that each operation finds something.
    fn make_what_lacks(&mut self) {
        for name in ["web", "db"] {
            if self.state_of(name) == "absent" {
                self.world.create(name, &["sampan0"]);
            }
        }
        if self.world.sampan(&["network", "show", "lab"]).code != 0 {
            self.world.sampan(&["network", "create", "lab"]).ok();
        }
    }

    fn check(&mut self) {
        for name in ["web", "db"] {
            let mut why = String::new();
            let rests = wait_until(REST, || {
                let state = self.state_of(name);
                let monitors = leaks::monitors(self.world.env.root(), name).len();
                let begin = format!("{name}-");
                let interfaces = self.world.host.interfaces();
                let ends = interfaces.iter().filter(|i| i.starts_with(&begin)).count();
                let rules = self.world.rules();
                let rules: Vec<_> = rules.lines().filter(|r| r.contains(&begin)).collect();
                why = format!(
                    "{name} is {state}, with {monitors} monitors, {ends} interfaces, rules: {rules:?}"
                );
                match state.as_str() {
                    "running" => monitors == 1 && ends > 0,
                    _ => monitors == 0 && ends == 0 && rules.is_empty(),
                }
                .then_some(())
            });
            self.must(rests.is_some(), &why);
        }
        // Now and then, since it puts right what the kills have broken.
        if self.choices.below(5) == 0 {
            if self.state_of("web") != "running" {
                self.must_work(&["start", "web"]);
            } else {
                self.must_work(&["network", "up", "sampan0"]);
            }
            let web = self.world.running("web");
            self.must(web.pings(PEER_4, None), "it reaches the outside");
            let gateway = self.world.gateway("sampan0", "ipv4");
            self.must(web.resolves("web.sampan", &gateway), "names are answered");
        }
    }

    fn must_work(&self, words: &[&str]) {
        let ran = self.world.sampan(words);
        self.must(ran.code == 0, &format!("{words:?}: {}", ran.stderr));
    }

    /// The processes of this host.
    fn own(&self) -> Vec<(u32, String)> {
        let root = self.world.env.root().display().to_string();
        let mut all = processes();
        all.retain(|(_, words)| words.contains(&root));
        all
    }

    /// In the network of this host, where what is left is looked for.
    fn info(&self, name: &str) -> Value {
        let ran = self.world.sampan(&["info", name, "--format", "json"]);
        serde_json::from_str(&ran.stdout).unwrap_or_default()
    }

    fn state_of(&self, name: &str) -> String {
        let info = self.info(name);
        info["state"].as_str().unwrap_or("absent").to_owned()
    }

    fn init(&self, name: &str) -> Option<i32> {
        self.info(name)["init_pid"].as_i64().map(|pid| pid as i32)
    }

    #[track_caller]
    fn must(&self, holds: bool, what: &str) {
        assert!(holds, "{what}\n{}", self.history.join("\n"));
    }
}

fn end(pid: i32) -> bool {
    kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}
