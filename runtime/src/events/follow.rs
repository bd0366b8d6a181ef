//! Reading the journal along, and noticing monitors that could not write any more.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::journal::{Journal, Volume};
use super::{Change, Event};
use crate::containers::Containers;
use crate::error::{Result, Tried};
use crate::name::ContainerName;

/// A line of ours is much shorter.
const LINE: usize = 64 << 10;

/// A stream of events, from the moment it was opened on.
pub struct Events {
    containers: Containers,
    journal: Journal,
    inotify: Inotify,
    volume: Volume,
    /// The beginning of a line.
    rest: Vec<u8>,
    events: VecDeque<Event>,
    /// Of running containers: becomes readable when the monitor ends. One that is killed writes no
    /// event; whoever notices cleans up after it, and that writes one.
    monitors: BTreeMap<ContainerName, OwnedFd>,
}

impl Events {
    pub(crate) fn open(containers: &Containers) -> Result<Events> {
        let run = &containers.directories().run;
        let journal = Journal::new(run);
        // The position first: what happens from here on is told.
        let volume = journal.open_at_end()?;
        let what = || format!("watch {}", run.display());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).tried(what)?;
        inotify
            .add_watch(run, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO)
            .tried(what)?;
        let mut events = Events {
            containers: containers.clone(),
            journal,
            inotify,
            volume,
            rest: Vec::new(),
            events: VecDeque::new(),
            monitors: BTreeMap::new(),
        };
        for name in containers.names()? {
            events.look_after(name);
        }
        Ok(events)
    }

    /// The next event, waited for until then. `None`: there was none.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Option<Event>> {
        loop {
            self.read()?;
            if let Some(event) = self.events.pop_front() {
                if let Ok(name) = event.container.parse() {
                    match event.change {
                        Change::Running { .. } => self.look_after(name),
                        Change::Stopped { .. } | Change::StartFailed { .. } => {
                            self.monitors.remove(&name);
                        }
                        _ => {}
                    }
                }
                return Ok(Some(event));
            }
            if !self.wait(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Whether something may have happened before the deadline.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<bool> {
        let patience = match deadline {
            None => PollTimeout::NONE,
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(false);
                }
                PollTimeout::try_from(left.as_millis().min(60_000) as i32 + 1)
                    .unwrap_or(PollTimeout::MAX)
            }
        };
        let ended: Vec<ContainerName> = {
            let mut fds = vec![PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            fds.extend(
                self.monitors
                    .values()
                    .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
            );
            match poll(&mut fds, patience) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e).tried(|| "wait for events".to_owned()),
            }
            let ready = fds[1..].iter().map(|fd| fd.any().unwrap_or(false));
            self.monitors
                .keys()
                .zip(ready)
                .filter(|(_, ready)| *ready)
                .map(|(name, _)| name.clone())
                .collect()
        };
        // What they say does not matter: the journal does.
        while self.inotify.read_events().is_ok() {}
        for name in ended {
            self.monitors.remove(&name);
            if let Ok(container) = self.containers.open(&name) {
                // If it was killed, this tells so; what cannot be removed, the next start says.
                let _ = container.sweep();
            }
        }
        Ok(true)
    }

    fn look_after(&mut self, name: ContainerName) {
        let Ok(container) = self.containers.open(&name) else {
            return;
        };
        match container.run_directory().monitor() {
            Ok(Some(monitor)) => {
                self.monitors.insert(name, monitor);
            }
            // It may have been killed already.
            _ => {
                let _ = container.sweep();
            }
        }
    }

    /// Takes what has been written.
    fn read(&mut self) -> Result<()> {
        let what = || "read the journal".to_owned();
        loop {
            // Asked first: what was replaced before is complete now.
            let next = self.journal.after(&self.volume).tried(what)?;
            self.volume.file.read_to_end(&mut self.rest).tried(what)?;
            self.split();
            let Some((volume, lost)) = next else {
                return Ok(());
            };
            if lost {
                self.events.push_back(Event {
                    time: 0.0,
                    container: String::new(),
                    change: Change::Missed,
                });
            }
            self.rest.clear();
            self.volume = volume;
        }
    }

    fn split(&mut self) {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            if self.rest.len() > LINE {
                self.rest.clear();
            }
            return;
        };
        let rest = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, rest);
        self.events.extend(
            lines
                .split(|byte| *byte == b'\n')
                // One that is not understood is of a later version.
                .filter_map(|line| serde_json::from_slice(line).ok()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::Directories;
    use std::time::Duration;

    fn world() -> (tempfile::TempDir, Containers) {
        let dir = tempfile::tempdir().unwrap();
        let containers = Containers::new(Directories {
            state: dir.path().join("state"),
            run: dir.path().join("run"),
            log: dir.path().join("log"),
        });
        (dir, containers)
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(20))
    }

    #[test]
    fn what_was_before_is_not_told_and_what_comes_after_is() {
        let (_dir, containers) = world();
        let journal = Journal::new(&containers.directories().run);
        journal.append("old", Change::Created).unwrap();
        let mut events = Events::open(&containers).unwrap();
        assert!(events.next(Some(Instant::now())).unwrap().is_none());
        journal.append("web", Change::Starting).unwrap();
        let event = events.next(soon()).unwrap().unwrap();
        assert_eq!(
            (event.container.as_str(), event.change),
            ("web", Change::Starting)
        );
    }

    #[test]
    fn an_event_wakes_a_reader_that_waits() {
        let (_dir, containers) = world();
        let mut events = Events::open(&containers).unwrap();
        let run = containers.directories().run.clone();
        let writer = std::thread::spawn(move || {
            Journal::new(&run).append("web", Change::Frozen).unwrap();
        });
        assert_eq!(events.next(soon()).unwrap().unwrap().change, Change::Frozen);
        writer.join().unwrap();
    }

    #[test]
    fn many_writers_lose_nothing_when_the_journal_is_replaced() {
        let (_dir, containers) = world();
        let mut events = Events::open(&containers).unwrap();
        let run = containers.directories().run.clone();
        let told = std::thread::scope(|scope| {
            for writer in 0..4 {
                let run = run.clone();
                scope.spawn(move || {
                    let journal = Journal::of_size(&run, 100_000);
                    for number in 0..500 {
                        let init_pid = writer * 1000 + number;
                        journal.append("web", Change::Running { init_pid }).unwrap();
                    }
                });
            }
            let mut told = Vec::new();
            while told.len() < 2000 {
                match events.next(soon()).unwrap().unwrap().change {
                    Change::Running { init_pid } => told.push(init_pid),
                    other => panic!("{other:?}"),
                }
            }
            told
        });
        let mut sorted = told.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 2000);
        assert!(run.join(".events.1").exists());
        assert!(events.next(Some(Instant::now())).unwrap().is_none());
    }

    #[test]
    fn a_reader_that_was_too_slow_is_told_and_goes_on() {
        let (_dir, containers) = world();
        let mut events = Events::open(&containers).unwrap();
        let journal = Journal::of_size(&containers.directories().run, 1000);
        for init_pid in 0..200 {
            journal.append("web", Change::Running { init_pid }).unwrap();
        }
        let mut told = Vec::new();
        while let Some(event) = events.next(Some(Instant::now())).unwrap() {
            told.push(event.change);
        }
        assert!(told.contains(&Change::Missed));
        assert_eq!(told.last(), Some(&Change::Running { init_pid: 199 }));
        let files = std::fs::read_dir(&containers.directories().run).unwrap();
        assert_eq!(files.count(), 2);
    }
}
