//! Choices that look random and can be repeated.

use std::time::{Duration, SystemTime};

/// xorshift64: choices that a seed repeats.
pub struct Choices(u64);

impl Choices {
    /// A seed for several of them, which is printed; SAMPAN_FAULT_SEED=N is taken instead.
    #[must_use]
    pub fn seed() -> u64 {
        let seed = match std::env::var("SAMPAN_FAULT_SEED") {
            Ok(seed) => seed.parse().expect("a number"),
            Err(_) => {
                let since = SystemTime::UNIX_EPOCH.elapsed();
                since.expect("a clock after 1970").as_nanos() as u64
            }
        };
        eprintln!("SAMPAN_FAULT_SEED={seed}");
        seed
    }

    /// Those of one of several that have a seed in common.
    #[must_use]
    pub fn new(seed: u64, number: u64) -> Self {
        Self((seed ^ (number + 1).wrapping_mul(0x9e37_79b9)).max(1))
    }

    /// A number.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    /// A moment within this time.
    pub fn moment(&mut self, span: Duration) -> Duration {
        Duration::from_micros(self.below((span.as_micros() as u64).max(1)))
    }
}
