//! Sessions on the container's terminals: who gets which, and what they are handed.

use std::os::fd::AsFd;

use super::Monitor;
use super::protocol::Answer;
use super::terminal::Terminal;
use crate::error::Result;

impl Monitor {
    /// Hands a terminal to a caller: its master, to write keys to and to tell the window size, and
    /// a pipe with what the guest shows.
    pub(super) fn view(&mut self, client: u64, tty: Option<u32>) {
        let number = match self.choose(tty) {
            Ok(number) => number,
            Err(refused) => return self.control.tell(client, &refused),
        };
        let pid = self.control.peer(client);
        let Some(terminal) = self.terminal(number) else {
            return;
        };
        match terminal.view(client, pid) {
            Ok(output) => {
                let Ok(master) = terminal.master().try_clone_to_owned() else {
                    return;
                };
                let answer = Answer::Terminal { tty: number };
                let fds = [master.as_fd(), output.as_fd()];
                self.control.tell_with(client, &answer, &fds);
            }
            Err(error) => {
                eprintln!("{}", error.chain());
                let message = error.chain();
                self.control.tell(client, &refusal(message));
            }
        }
    }

    /// Passes on what the guest has written.
    pub(super) fn relay_terminals(&mut self) {
        let mut stuck = self.console.relay();
        stuck.extend(self.ttys.iter_mut().flat_map(Terminal::relay));
        self.tell_stuck(&stuck);
    }

    /// The same at the guest's end: all of it.
    pub(super) fn finish_terminals(&mut self) {
        let mut stuck = self.console.finish();
        stuck.extend(self.ttys.iter_mut().flat_map(Terminal::finish));
        self.tell_stuck(&stuck);
    }

    fn tell_stuck(&mut self, clients: &[u64]) {
        for client in clients {
            self.control.tell(*client, &Answer::FellBehind);
        }
    }

    /// The console is for everybody, each other terminal for one.
    fn choose(&self, tty: Option<u32>) -> Result<u32, Answer> {
        let count = self.ttys.len();
        let user = |tty: &Terminal| tty.viewers().next().map(|viewer| viewer.pid);
        let refused = |message: String| Err(refusal(message));
        match tty {
            Some(0) => Ok(0),
            Some(number) => match self.ttys.get(number as usize - 1).map(user) {
                Some(None) => Ok(number),
                Some(Some(pid)) => refused(format!("its tty {number} is in use by process {pid}")),
                None if count == 0 => refused("it has no ttys (lxc.tty.max)".to_owned()),
                None => refused(format!(
                    "it has no tty {number}, only 1 to {count} (lxc.tty.max)"
                )),
            },
            None if count == 0 => refused("it has no ttys (lxc.tty.max)".to_owned()),
            None => match self.ttys.iter().position(|tty| user(tty).is_none()) {
                Some(free) => Ok(free as u32 + 1),
                None => {
                    let users: Vec<String> = self
                        .ttys
                        .iter()
                        .filter_map(|tty| Some(user(tty)?.to_string()))
                        .collect();
                    refused(format!(
                        "all {count} of its ttys are in use, by processes {}",
                        users.join(", ")
                    ))
                }
            },
        }
    }

    fn terminal(&mut self, number: u32) -> Option<&mut Terminal> {
        match number.checked_sub(1) {
            None => Some(&mut self.console),
            Some(index) => self.ttys.get_mut(index as usize),
        }
    }
}

fn refusal(message: String) -> Answer {
    Answer::Refused {
        message,
        hint: None,
    }
}
