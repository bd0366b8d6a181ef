//! Errors of all crates as words on the terminal. The only place that does so.

use std::fmt::Write as _;

use sampan_plugins::PluginError;
use sampan_runtime::ErrorKind;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    internal: bool,
    /// The last lines of a container's console.
    console: Option<String>,
    code: u8,
}

/// What a command answers.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure in words: what was tried, on what, why it failed.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            internal: false,
            console: None,
            code: 1,
        }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with what was being done put in front.
    #[must_use]
    pub fn context(mut self, doing: &str) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// The same with another exit code than 1.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The exit code of a command that ends by it.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// All of it, as it goes to standard error.
    pub fn words(&self) -> String {
        let mut words = format!("error: {}\n", self.message);
        // Writing to a string does not fail.
        if let Some(console) = &self.console {
            words.push_str("the last lines of its console:\n");
            for line in console.lines() {
                let _ = writeln!(words, "    {line}");
            }
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(words, "hint: {hint}");
        }
        if self.internal {
            words.push_str(
                "This looks like a fault in Sampan or in a template; please report it.\n",
            );
        }
        words
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint(),
            internal: error.failure() == sampan_plugins::Failure::Internal,
            console: None,
            code: 1,
        }
    }
}

impl From<sampan_runtime::Error> for Failure {
    fn from(error: sampan_runtime::Error) -> Self {
        Self {
            message: error.chain(),
            hint: error.hint().map(str::to_owned),
            internal: error.kind() == ErrorKind::Internal,
            console: error.console().map(str::to_owned),
            code: 1,
        }
    }
}
