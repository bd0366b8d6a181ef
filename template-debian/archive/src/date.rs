//! Dates as archives write them, and as people read them.
//!
//! A Release file has `Sat, 21 Nov 2026 09:15:44 UTC` (RFC 2822 with the zone always UTC).

/// Seconds since 1970 of a date such as `Sat, 21 Nov 2026 09:15:44 UTC`. The day of the week is
/// not compared with the date. `None` when it is not such a date.
pub fn parse(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_ascii_whitespace();
    let weekday = words.next()?;
    if !weekday.ends_with(',') {
        return None;
    }
    let day: i64 = digits(words.next()?, 2)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let year: i64 = digits(words.next()?, 4)?;
    let mut clock = words.next()?.split(':').map(|part| digits(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if clock.next().is_some() || !matches!(words.next()?, "UTC" | "GMT" | "+0000") {
        return None;
    }
    let valid = (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61
        && year >= 1970
        && words.next().is_none();
    valid.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// `2026-11-21 09:15:44 UTC`.
pub fn format(seconds: i64) -> String {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let clock = seconds.rem_euclid(86_400);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        clock / 3_600,
        clock / 60 % 60,
        clock % 60
    )
}

/// `Sat, 21 Nov 2026 09:15:44 UTC`, as [`parse`] reads it.
pub fn format_release(seconds: i64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let day_number = seconds.div_euclid(86_400);
    let (year, month, day) = civil(day_number);
    let clock = seconds.rem_euclid(86_400);
    let weekday = WEEKDAYS[day_number.rem_euclid(7) as usize];
    let month = MONTHS[(month - 1) as usize];
    format!(
        "{weekday}, {day:02} {month} {year:04} {:02}:{:02}:{:02} UTC",
        clock / 3_600,
        clock / 60 % 60,
        clock % 60
    )
}

/// Seconds since 1970, now. A clock before 1970 reads as 1970.
pub fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

fn digits(text: &str, most: usize) -> Option<i64> {
    let plain = !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Days since 1970-01-01 (Howard Hinnant's days_from_civil: years begin in March).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let shifted = (month + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_release_date_is_read() {
        assert_eq!(parse("Sat, 21 Nov 2026 09:15:44 UTC"), Some(1_795_252_544));
        assert_eq!(format(1_795_252_544), "2026-11-21 09:15:44 UTC");
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
    }

    #[test]
    fn other_zones_and_trailing_words_are_refused() {
        assert_eq!(parse("Sat, 21 Nov 2026 09:15:44 CET"), None);
        assert_eq!(parse("Sat, 21 Nov 2026 09:15:44 UTC x"), None);
        assert_eq!(parse("Sat, +1 Nov 2026 09:15:44 UTC"), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read_back(seconds in 0_i64..200_000_000_000) {
            prop_assert_eq!(parse(&format_release(seconds)), Some(seconds));
        }
    }
}
