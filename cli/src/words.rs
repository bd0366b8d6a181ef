//! Sizes and times for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{BinaryBytes, HumanDuration};

/// A number of bytes, such as `31.6 MiB`.
pub fn bytes(count: u64) -> String {
    BinaryBytes(count).to_string()
}

/// How long ago a moment was, such as `3 minutes ago`.
pub fn ago(seconds_since_1970: u64) -> String {
    let then = UNIX_EPOCH + Duration::from_secs(seconds_since_1970);
    match SystemTime::now().duration_since(then) {
        Ok(age) if age.as_secs() == 0 => "now".to_owned(),
        Ok(age) => format!("{} ago", HumanDuration(Duration::from_secs(age.as_secs()))),
        Err(_) => "in the future".to_owned(),
    }
}

/// A time, such as `3 minutes`.
pub fn duration(seconds: u64) -> String {
    HumanDuration(Duration::from_secs(seconds)).to_string()
}
