//! What the monitor does when it is asked.

use std::os::fd::AsFd;

use nix::sys::signal::Signal;

use super::protocol::{Answer, Request, Status};
use super::{Monitor, halt};
use crate::sys::pidfd;

impl Monitor {
    pub(super) fn answer_requests(&mut self) {
        for (client, request) in self.control.requests() {
            let answer = match request {
                Request::Status => Answer::Status(self.status()),
                Request::Stop => Answer::Stopping {
                    signal: self.stop(),
                },
                Request::Kill => {
                    self.kill();
                    Answer::Stopping { signal: None }
                }
                Request::View { tty } => {
                    self.view(client, tty);
                    continue;
                }
            };
            self.control.tell(client, &answer);
        }
    }

    fn status(&self) -> Status {
        let (root_uid, root_gid) = self.settings.root_ids();
        Status {
            init_pid: self.init.pid,
            started_at: self.started_at,
            stopping: self.stopping,
            root_uid,
            root_gid,
            privileged: self.settings.privileged(),
        }
    }

    /// Asks the guest to halt; a guest that cannot be asked is killed.
    pub(super) fn stop(&mut self) -> Option<i32> {
        self.stopping = true;
        let signal = halt::signal_for(self.settings.halt_signal, self.init.pid);
        match signal {
            Some(signal) => self.ask_to_halt(signal),
            None => self.kill(),
        }
        signal
    }

    pub(super) fn ask_to_halt(&mut self, signal: i32) {
        let heard = halt::is_heard(signal, self.init.pid);
        self.unheard = (!heard).then_some(signal);
        if let Err(error) = pidfd::signal_number(self.init.pidfd.as_fd(), signal) {
            eprintln!("signal {signal} to init: {error}");
        }
    }

    fn kill(&mut self) {
        self.stopping = true;
        // It has ended already: then that is being noticed.
        let _ = pidfd::signal(self.init.pidfd.as_fd(), Signal::SIGKILL);
    }
}
