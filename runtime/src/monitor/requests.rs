//! What the monitor does when it is asked.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::Monitor;
use super::halt::{self, Unheard};
use super::protocol::{Answer, Killed, Request, Status};
use crate::container::State;
use crate::events::Change;
use crate::exit::signal_name;
use crate::sys::pidfd;

/// How long who is to stop at once may take with another signal than SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// A freeze that has begun.
pub(super) struct Freezing {
    pub(super) give_up_at: Instant,
    /// Who wants to know.
    clients: Vec<u64>,
}

impl Monitor {
    pub(super) fn answer_requests(&mut self) {
        for (client, request) in self.control.requests() {
            let answer = match request {
                Request::Status => Some(Answer::Status(self.status())),
                Request::Stop => Some(Answer::Stopping {
                    signal: self.stop(),
                }),
                Request::Kill => {
                    self.kill(Killed::AsAsked);
                    Some(Answer::Stopping { signal: None })
                }
                Request::View { tty } => {
                    self.view(client, tty);
                    continue;
                }
                Request::Signal { signal } => {
                    if let Some(init) = &self.init {
                        // It has ended already: then that is being noticed.
                        let _ = pidfd::signal_number(init.pidfd.as_fd(), signal);
                    }
                    None
                }
                Request::Reboot => Some(self.reboot(client)),
                Request::Freeze { milliseconds } => {
                    self.freeze(client, Duration::from_millis(milliseconds))
                }
                Request::Thaw => Some(self.thaw_as_asked()),
                Request::Connect { network } => Some(self.connect(network)),
                Request::Disconnect { network } => Some(self.disconnect(network)),
            };
            if let Some(answer) = answer {
                self.control.tell(client, &answer);
            }
        }
    }

    fn status(&self) -> Status {
        let (root_uid, root_gid) = self.settings.root_ids();
        Status {
            state: match (&self.init, self.stopping, self.frozen) {
                (_, true, _) => State::Stopping,
                (None, ..) => State::Restarting,
                (_, _, true) => State::Frozen,
                _ => State::Running,
            },
            init_pid: self.init.as_ref().map(|init| init.pid),
            started_at: self.started_at.by_the_clock(),
            restarts: self.restarts.count(),
            root_uid,
            root_gid,
            privileged: self.settings.privileged(),
        }
    }

    /// Asks the guest to halt; a guest that cannot be asked is killed.
    pub(super) fn stop(&mut self) -> Option<i32> {
        let Some(pid) = self.init_pid() else {
            self.stopping = true;
            return None;
        };
        let signal = halt::signal_to_halt(self.settings.halt_signal, pid);
        match signal {
            Some(signal) => {
                self.begin_to_stop(Some(signal));
                // Only who runs can halt.
                self.thaw();
                self.ask_to_halt(signal);
            }
            None => self.kill(Killed::Deaf),
        }
        signal
    }

    pub(super) fn kill(&mut self, why: Killed) {
        self.begin_to_stop(None);
        self.killed.get_or_insert(why);
        self.unheard = None;
        match self.settings.stop_signal {
            Some(signal) if signal != libc::SIGKILL && self.kill_at.is_none() => {
                self.signal_init(signal);
                self.kill_at = Some(Instant::now() + STOP_GRACE);
            }
            _ => self.signal_init(libc::SIGKILL),
        }
        // Version 1's frozen processes do not die otherwise.
        self.thaw();
    }

    /// Kills what got another signal to stop (`lxc.signal.stop`) and has not.
    pub(super) fn follow_up_kill(&mut self) {
        if self.kill_at.is_some_and(|at| Instant::now() >= at) {
            self.kill_at = None;
            self.signal_init(libc::SIGKILL);
        }
    }

    fn signal_init(&self, signal: i32) {
        if let Some(init) = &self.init
            && let Err(error) = pidfd::signal_number(init.pidfd.as_fd(), signal)
            // It has ended already: then that is being noticed.
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            eprintln!("{} to init: {error}", signal_name(signal));
        }
    }

    fn begin_to_stop(&mut self, signal: Option<i32>) {
        if !self.stopping || signal.is_none() && self.killed.is_none() {
            self.tell(Change::Stopping { signal });
        }
        self.stopping = true;
    }

    fn ask_to_halt(&mut self, signal: i32) {
        let Some(init) = &self.init else { return };
        let heard = halt::is_heard(signal, init.pid);
        self.unheard = match self.unheard {
            _ if heard => None,
            Some(unheard) if unheard.signal == signal => Some(unheard),
            _ => Some(Unheard::new(signal, self.booted_at)),
        };
        self.signal_init(signal);
    }

    /// Sends a signal to halt again that init did not listen to, or gives it up.
    pub(super) fn follow_up_halt(&mut self) {
        let (Some(Unheard { signal, give_up_at }), Some(pid)) = (self.unheard, self.init_pid())
        else {
            return;
        };
        if halt::is_heard(signal, pid) {
            return self.ask_to_halt(signal);
        }
        if Instant::now() < give_up_at {
            return;
        }
        match halt::heard_signal_to_halt(pid).filter(|other| *other != signal) {
            Some(other) => {
                eprintln!(
                    "init does not listen to {}; it gets {}",
                    signal_name(signal),
                    signal_name(other)
                );
                self.unheard = None;
                self.ask_to_halt(other);
            }
            None => {
                eprintln!(
                    "init does not listen to {}; it is killed",
                    signal_name(signal)
                );
                self.kill(Killed::Deaf);
            }
        }
    }

    /// Asks the guest to reboot. [`Answer::Rebooted`] follows when it has.
    fn reboot(&mut self, client: u64) -> Answer {
        let Some(init) = &self.init else {
            return refused("it is between two starts", "try again");
        };
        if self.stopping {
            return refused("it is being stopped", "start it when it has: sampan start");
        }
        let Some(signal) = halt::signal_to_reboot(self.settings.reboot_signal, init.pid) else {
            return refused(
                "its init listens to no signal to reboot",
                "stop and start it: sampan restart; or name the signal: lxc.signal.reboot",
            );
        };
        if let Err(error) = pidfd::signal_number(init.pidfd.as_fd(), signal) {
            return refused(
                &format!("could not send {}: {error}", signal_name(signal)),
                "see `sampan info`",
            );
        }
        self.thaw();
        self.reboot_waiters.push(client);
        Answer::Rebooting { signal }
    }

    /// Begins to freeze; answered when that is done, if it takes a moment.
    fn freeze(&mut self, client: u64, patience: Duration) -> Option<Answer> {
        if self.stopping || self.init.is_none() {
            return Some(refused(
                "it does not run at the moment",
                "see its state: sampan info",
            ));
        }
        if self.frozen {
            return Some(Answer::Frozen { already: true });
        }
        if let Err(error) = self.cgroup.freeze() {
            return Some(Answer::Refused {
                message: error.chain(),
                hint: error.hint().map(str::to_owned),
            });
        }
        self.freezing
            .get_or_insert(Freezing {
                give_up_at: Instant::now() + patience,
                clients: Vec::new(),
            })
            .clients
            .push(client);
        self.follow_up_freeze();
        None
    }

    /// Looks whether a freeze is done, or will not be.
    pub(super) fn follow_up_freeze(&mut self) {
        let Some(freezing) = &self.freezing else {
            return;
        };
        let answer = match self.cgroup.is_frozen() {
            Ok(true) => {
                self.frozen = true;
                Answer::Frozen { already: false }
            }
            Ok(false) if Instant::now() < freezing.give_up_at => return,
            Ok(false) => {
                let awake = self.cgroup.not_freezing();
                let who = match awake.is_empty() {
                    true => "not all of its processes froze in time".to_owned(),
                    false => format!("process {} did not freeze in time", awake.join(", ")),
                };
                refused(
                    &format!("{who}; it was thawed again"),
                    "a process that waits for a device or a network file system cannot be frozen: see its state in `ps`",
                )
            }
            Err(error) => refused(&error.chain(), "see `sampan info`"),
        };
        let clients = self.freezing.take().map(|f| f.clients).unwrap_or_default();
        if self.frozen {
            self.tell(Change::Frozen);
        } else if let Err(error) = self.cgroup.thaw() {
            eprintln!("{}", error.chain());
        }
        for client in clients {
            self.control.tell(client, &answer);
        }
    }

    fn thaw_as_asked(&mut self) -> Answer {
        let already = !self.frozen && self.freezing.is_none();
        self.thaw();
        Answer::Thawed { already }
    }

    /// Lets everything run again; whoever waits for a freeze is told.
    pub(super) fn thaw(&mut self) {
        if !self.frozen && self.freezing.is_none() {
            return;
        }
        if let Err(error) = self.cgroup.thaw() {
            eprintln!("{}", error.chain());
        }
        let was_frozen = std::mem::take(&mut self.frozen);
        let clients = self.freezing.take().map(|f| f.clients).unwrap_or_default();
        for client in clients {
            let answer = refused("it was thawed meanwhile", "try again");
            self.control.tell(client, &answer);
        }
        if was_frozen && !self.stopping {
            self.tell(Change::Thawed);
        }
    }

    pub(super) fn init_pid(&self) -> Option<i32> {
        self.init.as_ref().map(|init| init.pid)
    }
}

pub(super) fn refused(message: &str, hint: &str) -> Answer {
    Answer::Refused {
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    }
}
