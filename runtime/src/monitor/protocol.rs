//! What the monitor and its callers say: one JSON object per line.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Reason};
use crate::sys::pidfd::Ended;

/// To whoever started it, once, over its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    Running {
        pid: i32,
    },
    Failed {
        kind: String,
        running: bool,
        message: String,
        hint: Option<String>,
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
            running: error.reason() == Reason::Running,
            message: error.chain(),
            hint: error.hint().map(str::to_owned),
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
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Status(Status),
    /// How the guest was asked; by no signal if it was killed.
    Stopping {
        signal: Option<i32>,
    },
    Ended(HowEnded),
    /// With it come the terminal's master, and a pipe with what the guest shows.
    Terminal {
        tty: u32,
    },
    /// It cannot be; the message goes on after "container X: ".
    Refused {
        message: String,
    },
    /// The caller did not read what the guest showed.
    FellBehind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) init_pid: i32,
    pub(crate) started_at: u64,
    pub(crate) stopping: bool,
    /// The host's ids of the guest's root, and whether these are the host's root: as it was started,
    /// whatever its config says by now.
    pub(crate) root_uid: u32,
    pub(crate) root_gid: u32,
    pub(crate) privileged: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HowEnded {
    Exited(i32),
    Signaled(i32),
}

impl From<Ended> for HowEnded {
    fn from(ended: Ended) -> HowEnded {
        match ended {
            Ended::Exited(code) => HowEnded::Exited(code),
            Ended::Signaled(signal) => HowEnded::Signaled(signal),
        }
    }
}
