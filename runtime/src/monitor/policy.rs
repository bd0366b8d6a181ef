//! Whether, and how soon, a container whose init ended is started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::{ConfigFile, effective, values_of};
use crate::error::{Error, Result};

/// The key in a container's config.
const KEY: &str = "sampan.restart";

/// The delay before the first restart. It doubles with every further one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// Who has run for this long has recovered: the next delay is the first one again.
const RECOVERED: Duration = Duration::from_secs(10);

/// `sampan.restart = no | on-failure | always [max N in SECONDS]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    when: When,
    /// So many restarts in this time are enough.
    most: Option<(u32, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    OnFailure,
    Always,
}

impl RestartPolicy {
    /// What a config says; without a word, never.
    ///
    /// # Errors
    /// A line that is not understood, with its place.
    pub fn of(config: &ConfigFile) -> Result<RestartPolicy> {
        let lines = values_of(effective(config)?, KEY);
        let Some(line) = lines.last() else {
            return Ok(NEVER);
        };
        RestartPolicy::parse(&line.value).ok_or_else(|| {
            Error::user(format!(
                "{}: {KEY} = {} is not understood",
                line.place(),
                line.value
            ))
            .with_hint(format!(
                "write {KEY} = no, on-failure or always, perhaps with a limit: {KEY} = on-failure max 5 in 60"
            ))
        })
    }
}

impl RestartPolicy {
    /// Reads a value.
    pub(crate) fn parse(value: &str) -> Option<RestartPolicy> {
        parse(value)
    }
}

pub(super) const NEVER: RestartPolicy = RestartPolicy {
    when: When::Never,
    most: None,
};

fn parse(value: &str) -> Option<RestartPolicy> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let (first, rest) = match words.split_first() {
        None => return Some(NEVER),
        Some((first, rest)) => (*first, rest),
    };
    let when = match first {
        "no" => When::Never,
        "on-failure" => When::OnFailure,
        "always" => When::Always,
        _ => return None,
    };
    let most = match rest {
        [] => None,
        ["max", number, "in", seconds] => {
            let seconds: u32 = seconds.parse().ok()?;
            Some((number.parse().ok()?, Duration::from_secs(seconds.into())))
        }
        _ => return None,
    };
    Some(RestartPolicy { when, most })
}

/// The restarts of one monitor's life.
pub(super) struct Restarts {
    policy: RestartPolicy,
    count: u32,
    recent: VecDeque<Instant>,
    delay: Duration,
}

/// What is to be done about an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// That was all.
    Stop,
    /// It has been tried often enough.
    GiveUp,
    /// Start again after this time.
    RestartAfter(Duration),
}

impl Restarts {
    pub(super) fn new(policy: RestartPolicy) -> Restarts {
        Restarts {
            policy,
            count: 0,
            recent: VecDeque::new(),
            delay: FIRST_DELAY,
        }
    }

    /// How many there have been.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Whether an end of this kind is followed by another start.
    pub(super) fn apply_to(&self, failure: bool) -> bool {
        match self.policy.when {
            When::Never => false,
            When::OnFailure => failure,
            When::Always => true,
        }
    }

    /// Decides about an end after this long a run.
    pub(super) fn decide(&mut self, failure: bool, ran: Duration, now: Instant) -> Decision {
        if !self.apply_to(failure) {
            return Decision::Stop;
        }
        if let Some((number, period)) = self.policy.most {
            self.recent
                .retain(|at| now.saturating_duration_since(*at) < period);
            if self.recent.len() >= number as usize {
                return Decision::GiveUp;
            }
            self.recent.push_back(now);
        }
        if ran >= RECOVERED {
            self.delay = FIRST_DELAY;
        }
        let delay = self.delay;
        self.delay = (delay * 2).min(LONGEST_DELAY);
        self.count += 1;
        Decision::RestartAfter(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn restarts(value: &str) -> Restarts {
        Restarts::new(parse(value).unwrap())
    }

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn a_policy_says_which_ends_are_followed_by_a_start() {
        assert!(!restarts("no").apply_to(true));
        assert!(restarts("on-failure").apply_to(true));
        assert!(!restarts("on-failure").apply_to(false));
        assert!(restarts("always").apply_to(false));
        assert!(!restarts("").apply_to(true));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for value in [
            "perhaps",
            "always max",
            "always max x in 3",
            "on-failure 5",
            "no no",
        ] {
            let text = format!("lxc.uts.name = web\nsampan.restart = {value}\n");
            let config = ConfigFile::parse(Path::new("/x/config"), &text);
            let error = RestartPolicy::of(&config).unwrap_err();
            assert!(
                error.chain().starts_with("/x/config:2: sampan.restart = "),
                "{error:?}"
            );
        }
    }

    #[test]
    fn delays_double_up_to_a_bound_and_begin_again_after_a_long_run() {
        let mut restarts = restarts("always");
        let now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..12 {
            let Decision::RestartAfter(delay) = restarts.decide(true, SHORT, now) else {
                panic!("no restart");
            };
            delays.push(delay);
        }
        assert_eq!(delays[..3], [1, 2, 4].map(|n| FIRST_DELAY * n));
        assert_eq!(delays.last(), Some(&LONGEST_DELAY));
        assert_eq!(
            restarts.decide(true, RECOVERED, now),
            Decision::RestartAfter(FIRST_DELAY)
        );
        assert_eq!(restarts.count(), 13);
    }

    #[test]
    fn a_limit_counts_only_what_is_recent() {
        let mut restarts = restarts("on-failure max 2 in 60");
        let now = Instant::now();
        for _ in 0..2 {
            assert!(matches!(
                restarts.decide(true, SHORT, now),
                Decision::RestartAfter(_)
            ));
        }
        assert_eq!(restarts.decide(true, SHORT, now), Decision::GiveUp);
        let later = now + Duration::from_secs(61);
        assert!(matches!(
            restarts.decide(true, SHORT, later),
            Decision::RestartAfter(_)
        ));
    }
}
