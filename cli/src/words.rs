//! Sizes and times for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{BinaryBytes, HumanDuration};

/// A number of bytes, such as `31.6 MiB`.
pub fn bytes(count: u64) -> String {
    BinaryBytes(count).to_string()
}

/// A moment as date and time (UTC), to the millisecond.
pub fn moment(seconds_since_1970: f64) -> String {
    let milliseconds = (seconds_since_1970 * 1000.0).round() as u64;
    let (days, of_day) = (milliseconds / 86_400_000, milliseconds % 86_400_000);
    // Years that begin in March, counted from a year that 400 divides: the leap day is the last.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + next;
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, rest) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{rest:03}Z")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_date_that_the_calendar_says() {
        assert_eq!(moment(0.0), "1970-01-01 00:00:00.000Z");
        assert_eq!(moment(951_782_399.25), "2000-02-28 23:59:59.250Z");
        assert_eq!(moment(951_782_400.0), "2000-02-29 00:00:00.000Z");
        assert_eq!(moment(1_764_030_155.5), "2025-11-25 00:22:35.500Z");
        assert_eq!(moment(4_107_542_400.0), "2100-03-01 00:00:00.000Z");
    }
}
