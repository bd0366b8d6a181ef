//! Our own terminal while its keys belong to somebody else.

use std::io::IsTerminal;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::error::{Result, Tried};
use crate::sys::standard_stream;

/// Standard input without line editing and signal keys, as it was again when dropped.
pub(super) struct RawInput {
    saved: Termios,
}

impl RawInput {
    /// `None` if standard input is no terminal.
    pub(super) fn begin() -> Result<Option<RawInput>> {
        let what = || "set up the terminal".to_owned();
        let input = standard_stream(0);
        if !input.is_terminal() {
            return Ok(None);
        }
        let saved = tcgetattr(input).tried(what)?;
        let mut raw = saved.clone();
        cfmakeraw(&mut raw);
        let raw_input = RawInput { saved };
        tcsetattr(input, SetArg::TCSANOW, &raw).tried(what)?;
        Ok(Some(raw_input))
    }
}

impl Drop for RawInput {
    fn drop(&mut self) {
        // Not after output has drained: it may never.
        let _ = tcsetattr(standard_stream(0), SetArg::TCSANOW, &self.saved);
    }
}
