//! A moment of the past, told by the clock of today.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::now;

/// When something happened. Also after the clock was set, it is as long ago as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// In seconds since 1970, as the clock was then.
    told: u64,
    /// Since the host booted, sleep included. `None`: it has no such clock.
    boot: Option<Duration>,
}

impl Moment {
    pub(super) fn now() -> Moment {
        Moment {
            told: now(),
            boot: since_boot(),
        }
    }

    /// In seconds since 1970, as the clock is now.
    pub(super) fn by_the_clock(self) -> u64 {
        self.told_at(now(), since_boot())
    }

    fn told_at(self, now: u64, boot: Option<Duration>) -> u64 {
        let age = boot
            .zip(self.boot)
            .map(|(now, then)| now.saturating_sub(then));
        let then = age.map_or(self.told, |age| now.saturating_sub(age.as_secs()));
        // What is rounded is no reason to tell another second each time.
        if then.abs_diff(self.told) <= 1 {
            self.told
        } else {
            then
        }
    }
}

fn since_boot() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .ok()
        .map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_an_hour_ago_still_was_when_the_clock_has_been_set() {
        let hour = Duration::from_secs(3600);
        let moment = Moment {
            told: 1_000_000,
            boot: Some(hour),
        };
        let later = Some(hour * 2);
        assert_eq!(moment.told_at(1_003_600, later), 1_000_000);
        assert_eq!(moment.told_at(1_003_601, later), 1_000_000);
        assert_eq!(moment.told_at(9_003_600, later), 9_000_000);
        assert_eq!(moment.told_at(503_600, later), 500_000);
        assert_eq!(moment.told_at(5, later), 0, "it cannot be told");
    }
}
