//! How fast a terminal is read: what a guest writes costs processor time and disk writes of the host.
//!
//! Beyond the allowance nothing is read until there is enough of it again, and the guest's own buffer
//! fills: it is slowed down as by a slow terminal, and loses nothing.

use std::time::{Duration, Instant};

/// A guest may write this much at once, however fast. No boot writes as much.
const BURST: u64 = 16 << 20;
/// From then on bytes in a second, if nobody looks.
const UNWATCHED: u64 = 1 << 20;
/// The same while somebody does.
const WATCHED: u64 = 32 << 20;
/// Reading goes on when there is this much: a few bytes at a time would cost more than they are worth.
const WORTHWHILE: u64 = 64 << 10;

/// A bucket that fills by the clock and is emptied by what is read.
pub(super) struct Allowance {
    left: u64,
    /// Until when it has been filled.
    at: Instant,
    /// It was used up and has not got enough for going on.
    exhausted: bool,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Allowance {
        Allowance {
            left: BURST,
            at: now,
            exhausted: false,
        }
    }

    /// How much may be read now.
    pub(super) fn left(&mut self, now: Instant, watched: bool) -> u64 {
        self.fill(now, watched);
        match self.exhausted {
            true => 0,
            false => self.left,
        }
    }

    /// So much has been read; what is more than was left counts as what was left.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            self.exhausted = true;
        }
    }

    /// When reading goes on; `None`: it goes on now.
    pub(super) fn resumes(&self, watched: bool) -> Option<Instant> {
        self.exhausted.then(|| {
            let missing = WORTHWHILE.saturating_sub(self.left);
            self.at + Duration::from_micros((missing * 1_000_000).div_ceil(rate(watched)))
        })
    }

    fn fill(&mut self, now: Instant, watched: bool) {
        let passed = now.saturating_duration_since(self.at).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let more = passed.saturating_mul(rate(watched)) / 1_000_000;
        // A part of a byte is not lost: it stays in the time that has not been counted.
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.at = now;
        }
        if self.left >= WORTHWHILE {
            self.exhausted = false;
        }
    }
}

fn rate(watched: bool) -> u64 {
    if watched { WATCHED } else { UNWATCHED }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much is read in this time of a guest that always has something to show.
    fn read_in(time: Duration, watched: bool) -> u64 {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        let (mut now, mut read) = (begun, 0);
        while now < begun + time {
            let bytes = allowance.left(now, watched).min(16_384);
            allowance.spend(bytes);
            read += bytes;
            // A loop that sleeps when it is told to, and takes ten microseconds for a read.
            now = match allowance.resumes(watched) {
                Some(at) if bytes == 0 => at.max(now + Duration::from_micros(1)),
                _ => now + Duration::from_micros(10),
            };
        }
        read
    }

    #[test]
    fn a_boot_is_never_held_up_and_a_flood_is_as_fast_as_it_may_be() {
        assert!(read_in(Duration::from_millis(50), false) >= BURST);
        let minute = read_in(Duration::from_secs(60), false);
        let allowed = BURST + 60 * UNWATCHED;
        assert!(
            minute <= allowed && minute >= allowed - (1 << 20),
            "{minute}"
        );
        let watched = read_in(Duration::from_secs(4), true);
        assert!(watched >= 4 * WATCHED, "{watched}");
    }

    #[test]
    fn what_is_exhausted_says_when_it_goes_on_and_keeps_to_it() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        assert_eq!(allowance.resumes(false), None);
        allowance.spend(BURST);
        let at = allowance.resumes(false).unwrap();
        assert_eq!(allowance.left(at - Duration::from_millis(2), false), 0);
        let at = allowance.resumes(false).unwrap();
        assert!(allowance.left(at, false) >= WORTHWHILE);
        assert_eq!(allowance.resumes(false), None);
    }

    #[test]
    fn an_hour_of_silence_gives_no_more_than_one_burst() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        allowance.spend(BURST);
        assert_eq!(
            allowance.left(begun + Duration::from_secs(3600), false),
            BURST
        );
    }
}
