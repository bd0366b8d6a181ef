//! What the monitor and its callers say: one JSON object per line.

use serde::{Deserialize, Serialize};

use crate::container::State;
use crate::error::{Error, ErrorKind, Reason};
use crate::exit::Exit;

/// To whoever started it, once, over its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    Running {
        pid: i32,
    },
    Failed {
        kind: String,
        reason: Reason,
        message: String,
        hint: Option<String>,
        console: Option<String>,
    },
}

impl Report {
    pub(super) fn failure(error: &Error) -> Report {
        let kind = match error.kind() {
            ErrorKind::User => "user",
            ErrorKind::Environment => "environment",
            ErrorKind::Internal => "internal",
        };
        Report::Failed {
            kind: kind.to_owned(),
            reason: error.reason(),
            message: error.chain(),
            hint: error.hint().map(str::to_owned),
            console: error.console().map(str::to_owned),
        }
    }
}

/// To the monitor, over its control socket.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Answered by [`Answer::Status`].
    Status,
    /// Ask the guest to halt: [`Answer::Stopping`], then, at the end, [`Answer::Ended`].
    Stop,
    /// Kill the guest: the same answers.
    Kill,
    /// Show a terminal: the console (0), a tty, or the first tty that is free. Answered by
    /// [`Answer::Terminal`] or [`Answer::Refused`], and by [`Answer::FellBehind`] when the monitor
    /// ends the session.
    View { tty: Option<u32> },
    /// Send this to the first process. No answer.
    Signal { signal: i32 },
    /// Ask the guest to reboot: [`Answer::Rebooting`], then [`Answer::Rebooted`]; or
    /// [`Answer::Refused`].
    Reboot,
    /// Freeze everything, in this time: [`Answer::Frozen`] or [`Answer::Refused`].
    Freeze { milliseconds: u64 },
    /// Let everything run again: [`Answer::Thawed`].
    Thaw,
    /// Connect the network of this number, which its config has by now: [`Answer::Connected`] or
    /// [`Answer::Refused`].
    Connect { network: u32 },
    /// Take a network away: the same answers.
    Disconnect { network: u32 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Status(Status),
    /// How the guest was asked; by no signal if it was killed.
    Stopping {
        signal: Option<i32>,
    },
    /// With it come the terminal's master, and a pipe with what the guest shows.
    Terminal {
        tty: u32,
    },
    /// The caller did not read what the guest showed.
    FellBehind,
    /// It has stopped.
    Ended {
        exit: Exit,
        killed: Option<Killed>,
    },
    Rebooting {
        signal: i32,
    },
    Rebooted,
    Frozen {
        already: bool,
    },
    Thawed {
        already: bool,
    },
    /// Its networks are as asked.
    Connected,
    /// It cannot be; the message goes on after "container X: ".
    Refused {
        message: String,
        hint: Option<String>,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) state: State,
    /// None between two starts.
    pub(crate) init_pid: Option<i32>,
    pub(crate) started_at: u64,
    pub(crate) restarts: u32,
    /// The host's ids of the guest's root, and whether these are the host's root: as it was started,
    /// whatever its config says by now.
    pub(crate) root_uid: u32,
    pub(crate) root_gid: u32,
    pub(crate) privileged: bool,
}

/// Why the monitor killed init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Killed {
    AsAsked,
    /// It listens to no signal to halt.
    Deaf,
}
