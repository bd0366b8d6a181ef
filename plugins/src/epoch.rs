//! SOURCE_DATE_EPOCH, by which a person says when an image shall seem to be from
//! (reproducible-builds.org's specification).

use std::{
    ffi::OsStr,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::PluginError;

/// The environment variable.
pub(crate) const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// What the variable says, if it is set and not empty.
pub(crate) fn from_environment() -> Result<Option<i64>, PluginError> {
    match std::env::var_os(VARIABLE) {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => parse(&value).map(Some),
    }
}

fn parse(value: &OsStr) -> Result<i64, PluginError> {
    let refused = |reason| PluginError::SourceDateEpoch {
        value: value.to_string_lossy().escape_debug().to_string(),
        reason,
    };
    let seconds = value
        .to_str()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse::<i64>().ok())
        .ok_or_else(|| refused("it is not a whole number of seconds since 1970"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    if now.is_ok_and(|now| i128::from(seconds) > i128::from(now.as_secs())) {
        // Times of the build itself would then stay, and differ from build to build.
        return Err(refused("that time is still to come"));
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_seconds_of_the_past_are_taken() {
        assert_eq!(parse("1700000000".as_ref()).unwrap(), 1_700_000_000);
        assert_eq!(parse("0".as_ref()).unwrap(), 0);
        for bad in [
            "-1",
            "+1",
            "1.5",
            "today",
            " 1",
            "99999999999",
            "9".repeat(40).as_str(),
        ] {
            let error = parse(bad.as_ref()).unwrap_err().to_string();
            assert!(error.starts_with("SOURCE_DATE_EPOCH cannot be"), "{error}");
        }
    }
}
