//! What a check found.

use serde::Serialize;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Unknown,
    /// Something is limited, or will be.
    Warning,
    /// Something does not work.
    Problem,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its stable name, as `kernel.overlay`.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found, in words.
    pub found: String,
    /// The command that mends it; every warning and problem has one.
    pub mend: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding {
            check,
            level: Level::Ok,
            found: found.into(),
            mend: None,
        }
    }

    /// It could not be looked at, and why.
    pub fn unknown(check: &'static str, why: impl Into<String>) -> Finding {
        Finding {
            level: Level::Unknown,
            ..Finding::ok(check, why)
        }
    }

    /// Something is limited.
    pub fn warning(
        check: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        Finding {
            level: Level::Warning,
            mend: Some(mend.into()),
            ..Finding::ok(check, found)
        }
    }

    /// Something does not work.
    pub fn problem(
        check: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        Finding {
            level: Level::Problem,
            ..Finding::warning(check, found, mend)
        }
    }
}
