//! The clock: signatures of what is fetched are valid at a time.

use std::time::SystemTime;

use super::{Finding, Host};

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    let program = host.subject.monitor_program.metadata();
    let installed = program.and_then(|metadata| metadata.modified());
    vec![compare(SystemTime::now(), installed.ok())]
}

fn compare(now: SystemTime, installed: Option<SystemTime>) -> Finding {
    let name = "time.clock";
    let Some(installed) = installed else {
        return Finding::unknown(name, "there is no file of Sampan's to compare it with");
    };
    match installed.duration_since(now) {
        // Files of a network file system or an archive may be a little ahead.
        Ok(ahead) if ahead.as_secs() > 24 * 3600 => Finding::problem(
            name,
            format!(
                "the clock is {} days before Sampan was made: signatures will seem to be of the future",
                ahead.as_secs() / (24 * 3600)
            ),
            "timedatectl set-ntp true",
        ),
        _ => Finding::ok(name, "it is after this release"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clock_before_the_release_is_wrong() {
        let now = SystemTime::now();
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        assert_eq!(compare(now, Some(now - days(9))).level, Level::Ok);
        assert_eq!(
            compare(now, Some(now + Duration::from_secs(60))).level,
            Level::Ok
        );
        let wrong = compare(now, Some(now + days(9)));
        assert_eq!(wrong.level, Level::Problem);
        assert!(wrong.found.contains("9 days"), "{}", wrong.found);
        assert_eq!(compare(now, None).level, Level::Unknown);
    }
}
